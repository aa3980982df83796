// @ts-check
/** Keys for people who are here often. They can be turned off: a single key may be pressed by a voice or by accident. */

import { openDialog } from "./dialogs.js";
import { refresh } from "./live.js";

const MEMORY = "vocero_shortcuts";
const SECOND_KEY_MILLISECONDS = 1500;
const TYPED_INTO = "input, textarea, select, [contenteditable], audio, video";

let goPressedAt = -Infinity;

export function startShortcuts() {
  const choice = /** @type {HTMLInputElement | null} */ (document.getElementById("shortcuts-enabled"));
  if (choice) {
    choice.checked = areOn();
    choice.addEventListener("change", () => localStorage.setItem(MEMORY, choice.checked ? "on" : "off"));
  }
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing || event.repeat) return;
    const target = /** @type {Element} */ (event.target);
    if (target.closest(TYPED_INTO) || document.querySelector("dialog[open]") || !areOn()) return;
    if (press(event.key)) event.preventDefault();
  });
}

const areOn = () => localStorage.getItem(MEMORY) !== "off";

/** @param {string} key @returns {boolean} whether it was one of ours */
function press(key) {
  if (performance.now() - goPressedAt < SECOND_KEY_MILLISECONDS) {
    goPressedAt = -Infinity;
    const link = /** @type {HTMLAnchorElement | null} */ (document.querySelector(`a[data-go="${CSS.escape(key)}"]`));
    if (link) location.assign(link.href);
    return link !== null;
  }
  if (key === "g") goPressedAt = performance.now();
  else if (key === "?") openDialog("help");
  else if (key === "r") bringUpToDate();
  else if (key === "/") return focusSearch();
  else return false;
  return true;
}

function bringUpToDate() {
  if (document.querySelector("[data-live]")) void refresh();
  else location.reload();
}

/** @returns {boolean} */
function focusSearch() {
  const field = /** @type {HTMLElement | null} */ (document.querySelector("[data-search], main [type=search]"));
  field?.focus();
  return field !== null;
}
