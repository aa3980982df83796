// @ts-check
/**
 * Asks the dashboard's API, and sees to what stands in the way.
 *
 * The key decision: a request that needs somebody first (a session that has ended, a password to be shown again) asks for
 * that in a dialog over the page and is then repeated. The page and what was typed into it stay as they are.
 */

import { openDialog } from "./dialogs.js";
import { words } from "./words.js";

const TIMEOUT_MILLISECONDS = 20_000;

export class AskError extends Error {
  /** @param {{ status?: number, code: string, message: string, param?: string | null, answer?: any }} what */
  constructor({ status = 0, code, message, param = null, answer = null }) {
    super(message);
    this.name = "AskError";
    this.status = status;
    this.code = code;
    this.param = param;
    /** All that was answered: an error may bring more than its message. */
    this.answer = answer;
  }
}

/**
 * @param {string} method @param {string} path one of ours, from "/" on @param {unknown} [body] sent as JSON
 * @returns {Promise<any>} what was answered
 */
export async function ask(method, path, body) {
  for (let tries = 0; ; tries += 1) {
    const response = await send(method, path, body);
    if (response.ok) return response.status === 204 ? null : await asJson(response);
    const error = await asError(response);
    if (tries >= 3) throw error;
    if (response.status === 401) await signInAgain();
    else if (error.code === "confirmation_needed") await showPassword();
    else if (error.code === "wrong_csrf_token" && tries === 0) await freshenToken();
    else throw error;
  }
}

/** Ask for the password of whoever was signed in, and sign them in. Rejects if they would rather not. */
export function signInAgain() {
  const byPassword = (/** @type {Record<string, string>} */ values) => send("POST", "/login", values, { "X-Requested-By": "dashboard" });
  return once("sign-in-again", isElsewhere("sign-in-again") ? askWhoIsHere : byPassword, async (answer) => {
    if (answer?.csrf_token) setToken(answer.csrf_token);
    else await freshenToken();
    document.dispatchEvent(new CustomEvent("signed-in"));
  });
}

/** Ask for the password once more, for what an open screen alone may not do. */
function showPassword() {
  const elsewhere = isElsewhere("show-password");
  const byPassword = (/** @type {Record<string, string>} */ { password }) => send("POST", "/api/account/confirm", { password });
  return once("show-password", elsewhere ? askWhoIsHere : byPassword, (answer) => {
    if (elsewhere && !answer?.confirmed_at) throw new AskError({ code: "not_yet", message: words("oidc.js.not_yet") });
  });
}

/** Some show their password to a provider, in another tab: here it is only asked whether they have. */
const isElsewhere = (/** @type {string} */ id) => document.querySelector(`#${id} [data-elsewhere]`) !== null;

const askWhoIsHere = () => send("GET", "/api/account");

/** @type {Map<string, Promise<void>>} */
const open = new Map();

/**
 * Two requests that meet the same obstacle share one dialog.
 * @param {string} id
 * @param {(values: Record<string, string>) => Promise<Response>} attempt
 * @param {(answer: any) => void | Promise<void>} succeeded throws when it is not done yet
 * @returns {Promise<void>}
 */
function once(id, attempt, succeeded) {
  const running = open.get(id) ?? throughDialog(id, attempt, succeeded).finally(() => open.delete(id));
  open.set(id, running);
  return running;
}

/** @type {typeof once} */
function throughDialog(id, attempt, succeeded) {
  const dialog = openDialog(id);
  const form = /** @type {HTMLFormElement} */ (dialog.querySelector("form"));
  const password = /** @type {HTMLInputElement | null} */ (form.querySelector('[type="password"]'));
  const slot = /** @type {HTMLElement} */ (form.querySelector('[data-error-for="password"]'));
  if (password) password.value = "";
  slot.hidden = true;
  password?.focus();
  return new Promise((resolve, reject) => {
    const controller = new AbortController();
    const { signal } = controller;
    let done = false;
    form.addEventListener("submit", async (event) => {
      event.preventDefault();
      const values = Object.fromEntries(new FormData(form)); // without buttons and files: all of it is text
      try {
        const response = await attempt(/** @type {Record<string, string>} */ (values));
        if (!response.ok) throw await asError(response);
        await succeeded(await asJson(response));
        done = true;
        dialog.close();
      } catch (error) {
        slot.textContent = error instanceof Error ? error.message : String(error);
        slot.hidden = false;
        password?.select();
      }
    }, { signal });
    dialog.addEventListener("close", () => {
      controller.abort();
      if (password) password.value = "";
      if (done) resolve();
      else reject(new AskError({ code: "cancelled", message: words("common.js.cancelled") }));
    }, { signal });
  });
}

/** @param {string} method @param {string} path @param {unknown} [body] @param {Record<string, string>} [more] */
async function send(method, path, body, more = {}) {
  /** @type {Record<string, string>} */
  const headers = { Accept: "application/json", "X-CSRF-Token": token(), ...more };
  if (body !== undefined) headers["Content-Type"] = "application/json";
  try {
    return await fetch(path, {
      method, headers, body: body === undefined ? undefined : JSON.stringify(body),
      credentials: "same-origin", cache: "no-store", redirect: "error", signal: AbortSignal.timeout(TIMEOUT_MILLISECONDS),
    });
  } catch {
    throw new AskError({ code: "unreachable", message: words("common.js.unreachable") });
  }
}

/** @param {Response} response */
async function asJson(response) {
  try {
    return await response.json();
  } catch {
    throw strange(response);
  }
}

/** @param {Response} response @returns {Promise<AskError>} */
async function asError(response) {
  const answer = await response.json().catch(() => null);
  const { code, message, param } = answer?.error ?? {};
  return message ? new AskError({ status: response.status, code, message, param, answer }) : strange(response);
}

/** @param {Response} response */
const strange = (response) =>
  new AskError({
    status: response.status, code: "strange", message: words("common.js.strange_answer", { status: response.status }),
  });

/** Another tab may have signed in anew: this one's token is then the old session's. */
async function freshenToken() {
  const response = await send("GET", location.pathname);
  const page = new DOMParser().parseFromString(await response.text(), "text/html");
  const found = page.querySelector('meta[name="csrf-token"]')?.getAttribute("content");
  if (found) setToken(found);
}

const token = () => document.querySelector('meta[name="csrf-token"]')?.getAttribute("content") ?? "";

/** @param {string} value */
function setToken(value) {
  document.querySelector('meta[name="csrf-token"]')?.setAttribute("content", value);
  for (const field of document.querySelectorAll('input[name="csrf_token"]')) {
    /** @type {HTMLInputElement} */ (field).value = value;
  }
}
