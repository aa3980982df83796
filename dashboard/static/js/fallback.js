// @ts-check
/**
 * The switch and the tests of the fallback's page.
 *
 * The key decision: an order is given over what its author saw. The version is taken when somebody begins to fill in the
 * form, not when they send it; if another was faster, what was typed stays, and the next try is over what is shown then.
 */

import { showErrors } from "./actions.js";
import { AskError, ask } from "./ask.js";
import { confirmFirst, notice } from "./dialogs.js";
import { refresh } from "./live.js";
import { words } from "./words.js";

const FOLLOW_MILLISECONDS = 400;
const MOST_TESTS = 10;

// --- The switch

class Switch {
  /** @param {HTMLFormElement} form */
  constructor(form) {
    this.form = form;
    this.capability = form.dataset.order ?? "";
    this.frame = /** @type {HTMLDetailsElement} */ (form.closest("details"));
    this.standing = /** @type {HTMLElement} */ (document.getElementById(`standing-${this.capability}`));
    this.preview = /** @type {HTMLElement} */ (form.querySelector("[data-preview]"));
    /** @type {number | null} */
    this.version = null;
    this.looks = 0;
    form.addEventListener("input", () => this.begin());
    form.addEventListener("change", (event) => {
      this.showFields();
      if (/** @type {HTMLInputElement} */ (event.target).name === "mode") void this.look();
    });
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      void this.order();
    });
    this.frame.addEventListener("toggle", () => {
      if (this.frame.open && this.version === null) this.choose(this.standing.dataset.mode ?? "auto");
    });
    this.showFields();
  }

  get mode() {
    return this.value("mode");
  }

  /** @param {string} name */
  value(name) {
    return String(new FormData(this.form).get(name) ?? "");
  }

  /** From now on it is about what stands there now. */
  begin() {
    this.version ??= Number(this.standing.dataset.version);
  }

  /** @param {string} mode */
  choose(mode) {
    for (const choice of this.form.querySelectorAll('input[name="mode"]')) {
      const button = /** @type {HTMLInputElement} */ (choice);
      button.checked = button.value === mode;
    }
    this.showFields();
    void this.look();
  }

  /** One click from an order to none: only the reason is left to be given. */
  goBack() {
    this.begin();
    this.frame.open = true;
    this.choose("auto");
    /** @type {HTMLElement} */ (this.form.querySelector('[name="reason"]')).focus();
  }

  showFields() {
    const isOwn = this.value("duration") === "own";
    this.part("[data-until]").hidden = this.mode === "auto";
    this.part("[data-own]").hidden = !isOwn;
    /** @type {HTMLInputElement} */ (this.part('[name="minutes"]')).disabled = !isOwn || this.mode === "auto";
  }

  /** @param {string} selector */
  part(selector) {
    return /** @type {HTMLElement} */ (this.form.querySelector(selector));
  }

  /** Say whom the chosen mode concerns. */
  async look() {
    const mine = ++this.looks;
    this.preview.textContent = words("fallback.js.looking");
    const text = await this.askWhom();
    if (mine === this.looks) this.preview.textContent = text;
    return text;
  }

  async askWhom() {
    try {
      return (await ask("GET", `/api/fallback/${this.capability}/preview?mode=${this.mode}`)).text;
    } catch {
      return words("fallback.js.no_preview");
    }
  }

  async order() {
    showErrors(this.form, []);
    this.begin();
    const { mode, version } = this;
    const body = { mode, reason: this.value("reason").trim(), seconds: this.seconds(), version };
    const options = { yes: words("fallback.js.order"), danger: mode === "disabled" };
    if (!(await confirmFirst(await this.sentence(), options))) return;
    try {
      await ask("POST", `/api/fallback/${this.capability}`, body);
    } catch (error) {
      await this.refuse(error);
      return;
    }
    this.version = null;
    this.form.reset();
    this.frame.open = false;
    /** @type {HTMLElement} */ (this.frame.querySelector("summary")).focus();
    notice(words("fallback.js.done"));
    await refresh();
  }

  /** For how long; null: until further notice, and for `auto`. */
  seconds() {
    const duration = this.value("duration");
    if (this.mode === "auto" || duration === "unlimited") return null;
    return duration === "own" ? Math.round(Number(this.value("minutes")) * 60) : Number(duration);
  }

  /** What is about to be ordered, in one sentence, and whom it concerns. */
  async sentence() {
    const label = this.part(`input[value="${this.mode}"] ~ strong`).textContent ?? "";
    const list = /** @type {HTMLSelectElement} */ (this.part('[name="duration"]'));
    const isOwn = list.value === "own";
    const values = {
      mode: label,
      capability: this.form.dataset.name ?? "",
      duration: isOwn ? `${this.value("minutes")} min` : (list.selectedOptions[0].textContent ?? ""),
      preview: await this.look(),
    };
    return words(this.mode === "auto" ? "fallback.js.sure_auto" : "fallback.js.sure", values);
  }

  /** @param {unknown} error */
  async refuse(error) {
    if (!(error instanceof AskError)) throw error;
    if (error.code === "cancelled") {
      notice(error.message, "info");
      return;
    }
    showErrors(this.form, [error]);
    if (error.code !== "version_conflict") return;
    await refresh();
    this.version = null;
    void this.look();
  }
}

/** @type {Map<string, Switch>} */
const switches = new Map();
for (const form of document.querySelectorAll("form[data-order]")) {
  const one = new Switch(/** @type {HTMLFormElement} */ (form));
  switches.set(one.capability, one);
}

// --- Tests

const tests = document.querySelector("[data-canaries]");
const running = new Set();

document.addEventListener("click", (event) => {
  const button = /** @type {HTMLElement | null} */ (/** @type {Element} */ (event.target).closest("button"));
  if (button?.dataset.back) switches.get(button.dataset.back)?.goBack();
  if (button?.dataset.canary) void test(button.dataset.canary, button.dataset.capability ?? "", button.ariaLabel ?? "");
});

/** @param {string} provider @param {string} capability @param {string} label */
async function test(provider, capability, label) {
  const key = `${provider} ${capability}`;
  if (running.has(key)) return;
  running.add(key);
  try {
    const { order_id: id, worker } = await ask("POST", "/api/fallback/canary", { provider, capability });
    await follow(id, begin(label, worker));
  } catch (error) {
    if (!(error instanceof AskError)) throw error;
    notice(error.message, error.code === "cancelled" ? "info" : "bad");
  } finally {
    running.delete(key);
  }
}

/** @param {string} label @param {string} worker */
function begin(label, worker) {
  const line = document.createElement("li");
  const title = document.createElement("strong");
  const text = document.createElement("span");
  title.textContent = label;
  text.textContent = words("fallback.js.canary_waiting", { worker });
  line.append(title, text);
  line.dataset.testid = "canary";
  line.dataset.state = "waiting";
  tests?.prepend(line);
  while ((tests?.childElementCount ?? 0) > MOST_TESTS) tests?.lastElementChild?.remove();
  return { line, text };
}

/** @param {string} id @param {{ line: HTMLElement, text: HTMLElement }} place */
async function follow(id, { line, text }) {
  let told = { state: "waiting", text: "", worker: "", sound: "" };
  while (told.state === "waiting") {
    await new Promise((resume) => setTimeout(resume, FOLLOW_MILLISECONDS));
    told = await ask("GET", `/api/fallback/canary/${id}`);
  }
  const key = told.state === "done" ? "canary_done" : told.state === "failed" ? "canary_failed" : "canary_gone";
  line.dataset.state = told.state;
  text.textContent = words(`fallback.js.${key}`, { text: told.text, worker: told.worker });
  if (told.sound) line.append(player(told.sound));
}

/** @param {string} source */
function player(source) {
  const audio = document.createElement("audio");
  audio.controls = true;
  audio.preload = "auto";
  audio.src = source;
  audio.setAttribute("aria-label", words("fallback.js.canary_listen"));
  audio.dataset.testid = "canary-sound";
  return audio;
}
