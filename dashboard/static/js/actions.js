// @ts-check
/**
 * Forms that change something: `<form data-action="POST /api/…" data-confirm="…" data-done="…">`.
 *
 * Inputs are sent as JSON by their names. What is wrong is said at the field it is about, and nothing typed is lost.
 */

import { AskError, ask } from "./ask.js";
import { confirmFirst, notice } from "./dialogs.js";
import { refresh } from "./live.js";
import { words } from "./words.js";

export function startActions() {
  document.addEventListener("submit", (event) => {
    const form = /** @type {HTMLFormElement} */ (event.target);
    if (!form.dataset.action) return;
    event.preventDefault();
    void perform(form, /** @type {SubmitEvent} */ (event).submitter);
  });
  // An error is about what was typed: it goes when that changes.
  document.addEventListener("input", (event) => {
    const control = /** @type {HTMLInputElement} */ (event.target);
    if (control.form && control.getAttribute("aria-invalid")) clearError(control.form, control.name);
  });
}

/** @param {HTMLFormElement} form @param {HTMLElement | null} submitter */
async function perform(form, submitter) {
  if (form.getAttribute("aria-busy") === "true") return;
  const [method, path] = (form.dataset.action ?? "").split(" ", 2);
  const values = readForm(form, submitter);
  showErrors(form, []);
  if (form.dataset.confirm && !(await confirmFirst(words(form.dataset.confirm), options(form, submitter)))) return;
  form.setAttribute("aria-busy", "true");
  submitter?.setAttribute("aria-busy", "true");
  try {
    const answer = await ask(method, path, values);
    succeed(form, answer);
  } catch (error) {
    if (!(error instanceof AskError)) throw error;
    fail(form, error);
  } finally {
    form.removeAttribute("aria-busy");
    submitter?.removeAttribute("aria-busy");
  }
}

/** @param {HTMLFormElement} form @param {any} answer */
function succeed(form, answer) {
  if (form.dataset.done) notice(words(form.dataset.done));
  form.dispatchEvent(new CustomEvent("done", { bubbles: true, detail: answer }));
  if ("reload" in form.dataset) {
    location.reload();
    return;
  }
  if (!("keep" in form.dataset)) form.reset();
  if (!("stay" in form.dataset)) form.closest("dialog")?.close();
  void refresh();
}

/** @param {HTMLFormElement} form @param {AskError} error */
function fail(form, error) {
  if (error.code === "cancelled") {
    notice(error.message, "info");
    return;
  }
  showErrors(form, [error]);
  form.dispatchEvent(new CustomEvent("failed", { bubbles: true, detail: error }));
}

/**
 * What the form says, as JSON has it: numbers as numbers, boxes as true or false, what is left empty not at all.
 * @param {HTMLFormElement} form @param {HTMLElement | null} [submitter]
 * @returns {Record<string, unknown>}
 */
export function readForm(form, submitter = null) {
  /** @type {Record<string, unknown>} */
  const values = {};
  for (const element of form.elements) {
    const control = /** @type {HTMLInputElement} */ (element);
    if (!control.name || control.disabled || ["submit", "button", "file", "fieldset"].includes(control.type)) continue;
    if (control.type === "checkbox") values[control.name] = control.checked;
    else if (control.type === "radio") {
      if (control.checked) values[control.name] = control.value;
    } else if (control.value !== "") values[control.name] = control.type === "number" ? control.valueAsNumber : control.value;
  }
  const pressed = /** @type {HTMLButtonElement | null} */ (submitter);
  if (pressed?.name) values[pressed.name] = pressed.value;
  return values;
}

/**
 * Say what is wrong: at the field if it has one, else at the head of the form.
 * @param {HTMLFormElement} form @param {readonly { message: string, param: string | null }[]} errors
 */
export function showErrors(form, errors) {
  for (const slot of form.querySelectorAll("[data-error-for]")) clearError(form, slot.getAttribute("data-error-for") ?? "");
  form.querySelector(":scope > [data-form-error]")?.remove();
  for (const { message, param } of errors) {
    const slot = param ? /** @type {HTMLElement | null} */ (form.querySelector(`[data-error-for="${CSS.escape(param)}"]`)) : null;
    if (!slot) {
      const line = document.createElement("p");
      line.className = "error";
      line.dataset.formError = "";
      line.setAttribute("role", "alert");
      line.textContent = message;
      form.prepend(line);
      continue;
    }
    slot.textContent = message;
    slot.hidden = false;
    const control = form.querySelector(`[name="${CSS.escape(param ?? "")}"]`);
    control?.setAttribute("aria-invalid", "true");
    /** @type {HTMLElement | null} */ (control)?.focus();
  }
}

/** @param {HTMLFormElement} form @param {string} name */
function clearError(form, name) {
  const slot = /** @type {HTMLElement | null} */ (form.querySelector(`[data-error-for="${CSS.escape(name)}"]`));
  if (slot) slot.hidden = true;
  for (const control of form.querySelectorAll(`[name="${CSS.escape(name)}"]`)) control.removeAttribute("aria-invalid");
}

/** @param {HTMLFormElement} form @param {HTMLElement | null} submitter */
function options(form, submitter) {
  const danger = "danger" in form.dataset || (submitter?.classList.contains("danger") ?? false);
  return { danger, yes: submitter?.textContent?.trim() || undefined };
}
