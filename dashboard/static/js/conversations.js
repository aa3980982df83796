// @ts-check
/** The list of conversations and the page of one: moments in the viewer's zone, and what came of an order. */

import { notice } from "./dialogs.js";
import { words } from "./words.js";

const LIST = "/conversations";
const READ_MILLISECONDS = 1500;

const search = /** @type {HTMLFormElement | null} */ (document.getElementById("conversation-search"));
if (search) startSearch(search);

document.addEventListener("done", (event) => {
  const { target: form, detail: answer } = /** @type {CustomEvent} */ (event);
  if (!(form instanceof HTMLFormElement)) return;
  if ("ends" in form.dataset) {
    if (answer.is_ended) notice(words("conversations.js.ended", { worker: answer.worker }));
    else notice(words("conversations.js.nobody"), "warn");
  } else if ("erases" in form.dataset) {
    leave(erased(answer));
  } else if ("erasedUser" in form.dataset) {
    leave(words(answer.has_conversations ? "conversations.js.user_ordered" : "conversations.js.user_unknown"));
  }
});

/** @param {HTMLFormElement} form */
function startSearch(form) {
  const controls = /** @type {Record<string, HTMLInputElement>} */ (/** @type {unknown} */ (form.elements));
  for (const control of form.querySelectorAll("[data-utc]")) showInLocalTime(/** @type {HTMLInputElement} */ (control));
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const { since, until } = controls;
    const isBackwards = since.value && until.value && since.value >= until.value;
    until.setCustomValidity(isBackwards ? words("conversations.js.since_after_until") : "");
    if (form.reportValidity()) location.assign(addressOf(form));
  });
  form.addEventListener("input", () => controls.until.setCustomValidity(""));
}

/** The server takes a moment without a zone for UTC; the control shows the viewer's. @param {HTMLInputElement} control */
function showInLocalTime(control) {
  const text = control.dataset.utc ?? "";
  const hasZone = /(Z|[+-]\d\d:?\d\d)$/i.test(text);
  const moment = new Date(hasZone || !text.includes("T") ? text : `${text}Z`);
  if (!text || Number.isNaN(moment.getTime())) return;
  const shifted = new Date(moment.getTime() - moment.getTimezoneOffset() * 60_000);
  control.value = shifted.toISOString().slice(0, 19);
}

/**
 * The address that says what the form asks for, without what it does not ask.
 * @param {HTMLFormElement} form @returns {string}
 */
function addressOf(form) {
  const asked = new URLSearchParams();
  for (const [name, value] of new FormData(form)) {
    const text = String(value).trim();
    const control = /** @type {HTMLInputElement} */ (form.elements.namedItem(name));
    const isMoment = control.type === "datetime-local";
    if (text) asked.set(name, isMoment ? `${new Date(text).toISOString().slice(0, 19)}Z` : text);
  }
  const query = asked.toString();
  return query ? `${LIST}?${query}` : LIST;
}

/** @param {{ redis_keys: number | null, provider_copies: number }} answer @returns {string} */
function erased(answer) {
  if (answer.redis_keys === null) return words("conversations.js.erased_without_redis");
  return words(answer.provider_copies ? "conversations.js.erased" : "conversations.js.erased_no_copy");
}

/** Say what came of it and go to the list: this page has nothing to show any more. @param {string} text */
function leave(text) {
  notice(text);
  setTimeout(() => location.assign(LIST), READ_MILLISECONDS);
}
