// @ts-check
/**
 * A key or a password that was made is shown this once, in a dialog of its own; when that closes, the page is loaded
 * again, and nothing here has it any more.
 */

import { carry } from "./carried.js";
import { words } from "./words.js";

const dialog = /** @type {HTMLDialogElement} */ (document.getElementById("shown-once"));
const value = /** @type {HTMLInputElement} */ (document.getElementById("shown-value"));
const said = /** @type {HTMLElement} */ (document.getElementById("shown-copied"));
const copy = /** @type {HTMLElement} */ (document.getElementById("shown-copy"));
const page = dialog.querySelector("[data-words-of]")?.getAttribute("data-words-of");

document.addEventListener("done", (event) => {
  const form = /** @type {HTMLElement} */ (event.target);
  if (!form.matches("[data-shows-secret]")) return;
  form.closest("dialog")?.close();
  const { secret, password } = /** @type {CustomEvent} */ (event).detail;
  if (!secret && !password) {
    if (form.dataset.done) carry(words(form.dataset.done));
    location.reload();
    return;
  }
  value.value = secret ?? password;
  said.textContent = "";
  dialog.showModal();
  value.focus();
  value.select();
});

copy.addEventListener("click", async () => {
  try {
    await navigator.clipboard.writeText(value.value);
    said.textContent = words(`${page}.js.copied`);
  } catch {
    value.focus();
    value.select();
    said.textContent = words(`${page}.js.not_copied`);
  }
});

dialog.addEventListener("close", () => {
  value.value = "";
  location.reload();
});
