// @ts-check
/** What was done is said after the page has loaded again, which would else take the notice away at once. */

import { notice } from "./dialogs.js";
import { words } from "./words.js";

const KEY = "vocero carried notice";

/** @param {string} text @param {"good" | "warn" | "bad" | "info"} [kind] */
export function carry(text, kind = "good") {
  try {
    sessionStorage.setItem(KEY, JSON.stringify({ text, kind }));
  } catch {
    // A browser that keeps nothing: the page shows the change itself.
  }
}

document.addEventListener("done", (event) => {
  const form = /** @type {HTMLElement} */ (event.target);
  if (form.dataset.reload === undefined) return;
  const { sessions_ended: count } = /** @type {CustomEvent} */ (event).detail ?? {};
  if (form.dataset.counts) carry(words(form.dataset.counts, { count: count ?? 0 }));
  else if (form.dataset.done) carry(words(form.dataset.done));
});

try {
  const carried = sessionStorage.getItem(KEY);
  sessionStorage.removeItem(KEY);
  if (carried) {
    const { text, kind } = JSON.parse(carried);
    notice(text, kind);
  }
} catch {
  // The same.
}
