// @ts-check
/** The filter's moments are typed in the viewer's zone and sent in UTC; the chain is verified when somebody asks. */

import { ask } from "./ask.js";
import { words } from "./words.js";

const form = /** @type {HTMLFormElement} */ (document.getElementById("audit-filter"));
const button = document.getElementById("verify"); // not there when the database is gone
const said = /** @type {HTMLElement} */ (document.getElementById("verify-said"));

/** @param {number} number */
const two = (number) => String(number).padStart(2, "0");

/** @param {string} moment as an input of the type datetime-local has it */
function asTyped(moment) {
  const at = new Date(moment);
  if (Number.isNaN(at.getTime())) return "";
  return `${at.getFullYear()}-${two(at.getMonth() + 1)}-${two(at.getDate())}T${two(at.getHours())}:${two(at.getMinutes())}`;
}

const named = () => /** @type {NodeListOf<HTMLInputElement>} */ (form.querySelectorAll("[name]"));

for (const sent of named()) {
  if (sent.type !== "hidden") continue;
  const typed = /** @type {HTMLInputElement} */ (document.getElementById(`filter-${sent.name}`));
  if (sent.value) typed.value = asTyped(sent.value);
  typed.addEventListener("change", () => {
    sent.value = typed.value ? new Date(typed.value).toISOString() : "";
  });
}

form.addEventListener("submit", () => {
  // What is empty does not belong into the address.
  for (const input of named()) input.disabled = !input.value;
  setTimeout(() => {
    for (const input of named()) input.disabled = false;
  });
});

/** @param {(string | Node)[]} pieces */
function paragraph(...pieces) {
  const made = document.createElement("p");
  made.append(...pieces);
  return made;
}

/** @param {string} name @param {string} text */
function element(name, text) {
  const made = document.createElement(name);
  made.textContent = text;
  return made;
}

/** @param {Record<string, any>} report */
function tell(report) {
  if (!report.is_whole) {
    said.className = "problem bad";
    const broken = element("strong", words("audit.js.broken", { sequence: report.broken_at }));
    return [paragraph(broken, ` ${report.problem}`), paragraph(words("audit.js.broken_hint"))];
  }
  said.className = "problem good";
  if (report.entries === 0) return [paragraph(words("audit.js.empty"))];
  return [
    paragraph(words("audit.js.whole", { count: report.entries, last: report.last_sequence })),
    paragraph(`${words("audit.js.hash")}: `, element("code", report.last_hash)),
    paragraph(words("audit.js.keep")),
  ];
}

button?.addEventListener("click", async () => {
  if (button.getAttribute("aria-disabled") === "true") return;
  button.setAttribute("aria-disabled", "true");
  said.className = "";
  said.replaceChildren(paragraph(words("audit.js.verifying")));
  try {
    said.replaceChildren(...tell(await ask("GET", "/api/audit/verify")));
  } catch (error) {
    said.replaceChildren(paragraph(error instanceof Error ? error.message : String(error)));
  } finally {
    button.removeAttribute("aria-disabled");
  }
});
