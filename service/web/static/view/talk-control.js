// @ts-check
/** How the person's voice is let through: hands-free, while a button or the space bar is held, or not at all. */

import { button, element } from "./elements.js";

/** @typedef {"open" | "hold" | "off"} TalkMode */

// Where the space bar already means something.
const INTERACTIVE = "input:not([type=radio]), textarea, select, button, a, summary, [contenteditable], [role=slider]";

export class TalkControl {
  /** @param {{onMode: (mode: TalkMode) => void, onGate: (open: boolean) => void}} events */
  constructor(events) {
    this.events = events;
    /** @type {TalkMode} */
    this.mode = "off";
    this.enabled = false;
    this.holding = false;
    this.hold = button("hold");
    this.radios = Array.from(element("microphone-mode").querySelectorAll("input"));
  }

  listen() {
    for (const radio of this.radios) {
      radio.addEventListener("change", () => this.events.onMode(/** @type {TalkMode} */ (radio.value)));
    }
    this.hold.addEventListener("pointerdown", (event) => this.#press(event));
    for (const name of ["pointerup", "pointercancel", "lostpointercapture", "blur"]) {
      this.hold.addEventListener(name, () => this.#setHolding(false));
    }
    // A long touch would open the browser's menu in the middle of a sentence.
    this.hold.addEventListener("contextmenu", (event) => event.preventDefault());
    document.addEventListener("keydown", (event) => this.#keyDown(event));
    document.addEventListener("keyup", (event) => this.#keyUp(event));
    window.addEventListener("blur", () => this.#setHolding(false));
  }

  /** @param {TalkMode} mode */
  show(mode) {
    this.mode = mode;
    this.#setHolding(false);
    for (const radio of this.radios) radio.checked = radio.value === mode;
    this.hold.hidden = mode !== "hold";
    element("hold-hint").hidden = mode !== "hold";
    this.events.onGate(mode === "open");
  }

  /** @param {boolean} enabled whether there is a conversation to talk into */
  enable(enabled) {
    this.enabled = enabled;
    if (!enabled) this.#setHolding(false);
  }

  /** @param {PointerEvent} event */
  #press(event) {
    if (event.button !== 0) return;
    this.hold.setPointerCapture(event.pointerId);
    this.#setHolding(true);
  }

  /** @param {KeyboardEvent} event */
  #keyDown(event) {
    if (!this.#isTalkKey(event)) return;
    event.preventDefault(); // the page would scroll
    if (!event.repeat) this.#setHolding(true);
  }

  /** @param {KeyboardEvent} event */
  #keyUp(event) {
    if (event.code === "Space" || event.code === "Enter") this.#setHolding(false);
  }

  /** @param {KeyboardEvent} event */
  #isTalkKey(event) {
    if (this.mode !== "hold" || !this.enabled || event.ctrlKey || event.altKey || event.metaKey) return false;
    if (event.target === this.hold) return event.code === "Space" || event.code === "Enter";
    return event.code === "Space" && event.target instanceof Element && !event.target.closest(INTERACTIVE);
  }

  /** @param {boolean} holding */
  #setHolding(holding) {
    if (this.mode !== "hold") holding = false;
    if (holding === this.holding) return;
    this.holding = holding;
    this.hold.setAttribute("aria-pressed", String(holding));
    this.events.onGate(holding);
  }
}
