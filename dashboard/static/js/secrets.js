// @ts-check
/** "Read them now": asks all workers and shows what each one answered. */

import { ask } from "./ask.js";
import { words } from "./words.js";

const button = /** @type {HTMLElement} */ (document.getElementById("refresh"));
const said = /** @type {HTMLElement} */ (document.getElementById("refresh-said"));
const list = /** @type {HTMLElement} */ (document.getElementById("refresh-answers"));

/** @param {string} worker @param {string} text */
function line(worker, text) {
  const item = document.createElement("li");
  const name = document.createElement("code");
  name.textContent = worker;
  item.append(name, ` ${text}`);
  return item;
}

/** @param {{ answers: { worker: string, is_done: boolean, text: string }[], silent: string[] }} found */
function tell({ answers, silent }) {
  const done = answers.filter((answer) => answer.is_done).length;
  const workers = answers.length + silent.length;
  if (workers === 0) said.textContent = words("secrets.js.nobody");
  else if (done === workers) said.textContent = words("secrets.js.all", { count: workers });
  else said.textContent = words("secrets.js.some", { done, workers });
  list.replaceChildren(
    ...answers.map(({ worker, is_done: isDone, text }) =>
      line(worker, `${words(isDone ? "secrets.js.done" : "secrets.js.not_done")}: ${text}`)),
    ...silent.map((worker) => line(worker, words("secrets.js.silent"))),
  );
}

button.addEventListener("click", async () => {
  if (button.getAttribute("aria-disabled") === "true") return;
  button.setAttribute("aria-disabled", "true");
  said.textContent = words("secrets.js.refreshing");
  list.replaceChildren();
  try {
    tell(await ask("POST", "/api/secrets/refresh", {}));
  } catch (error) {
    said.textContent = error instanceof Error ? error.message : String(error);
  } finally {
    button.removeAttribute("aria-disabled");
  }
});
