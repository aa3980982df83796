// @ts-check
/** Dialogs and notices. A dialog is the browser's own: it holds the focus, closes with Esc, and gives the focus back. */

import { words } from "./words.js";

/** Let `data-opens="ID"` open a dialog and `data-closes` close the one it is in. */
export function startDialogs() {
  document.addEventListener("click", (event) => {
    const target = /** @type {Element} */ (event.target);
    const opener = /** @type {HTMLElement | null} */ (target.closest("[data-opens]"));
    if (opener) {
      /** @type {HTMLElement | null} */ (opener.closest("[popover]"))?.hidePopover();
      openDialog(opener.dataset.opens ?? "");
      return;
    }
    if (target.closest("[data-closes]")) target.closest("dialog")?.close();
    else if (target instanceof HTMLDialogElement && isOutside(target, event)) target.close();
  });
}

/** @param {string} id @returns {HTMLDialogElement} */
export function openDialog(id) {
  const dialog = /** @type {HTMLDialogElement} */ (document.getElementById(id));
  if (!dialog.open) {
    dialog.returnValue = "";
    dialog.showModal();
  }
  return dialog;
}

/**
 * Ask before something is done.
 * @param {string} text
 * @param {{ yes?: string, danger?: boolean }} [options] the word on the button; whether it does harm
 * @returns {Promise<boolean>}
 */
export function confirmFirst(text, { yes, danger = false } = {}) {
  const dialog = openDialog("confirm");
  const button = /** @type {HTMLButtonElement} */ (dialog.querySelector("[data-yes]"));
  button.dataset.text ??= button.textContent ?? "";
  button.textContent = yes ?? button.dataset.text;
  dialog.classList.toggle("danger", danger);
  /** @type {HTMLElement} */ (dialog.querySelector("[data-text]")).textContent = text;
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => resolve(dialog.returnValue === "yes"), { once: true });
  });
}

/**
 * Say in the corner how something went. What went well goes away by itself, what did not stays until it was read.
 * @param {string} text @param {"good" | "warn" | "bad" | "info"} [kind]
 */
export function notice(text, kind = "good") {
  const place = /** @type {HTMLElement} */ (document.getElementById("notices"));
  const box = document.createElement("div");
  box.className = `notice ${kind}`;
  box.dataset.testid = `notice-${kind}`;
  const said = document.createElement("p");
  said.textContent = text;
  const close = document.createElement("button");
  close.type = "button";
  close.className = "round";
  close.setAttribute("aria-label", words("common.js.dismiss"));
  close.append(icon("close"));
  close.addEventListener("click", () => box.remove());
  box.append(icon(kind), said, close);
  place.append(box);
  while (place.childElementCount > 4) place.firstElementChild?.remove();
  if (kind === "good" || kind === "info") setTimeout(() => box.remove(), 8000);
}

/** @param {string} name @returns {SVGElement} */
export function icon(name) {
  const space = "http://www.w3.org/2000/svg";
  const picture = document.createElementNS(space, "svg");
  picture.setAttribute("class", "icon");
  picture.setAttribute("aria-hidden", "true");
  const use = document.createElementNS(space, "use");
  use.setAttribute("href", `#i-${name}`);
  picture.append(use);
  return picture;
}

/** A click on what lies behind. @param {HTMLDialogElement} dialog @param {MouseEvent} event */
function isOutside(dialog, event) {
  // A dialog with something to fill in closes only when that is meant.
  if (dialog.querySelector("form")) return false;
  const box = dialog.getBoundingClientRect();
  return event.clientX < box.left || event.clientX > box.right || event.clientY < box.top || event.clientY > box.bottom;
}
