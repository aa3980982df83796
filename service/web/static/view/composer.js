// @ts-check
/** The field to write in: Enter sends, Shift+Enter breaks the line, and writing keeps the agent patient. */

import { element, part } from "./elements.js";

const ACTIVITY_EVERY_MILLISECONDS = 2000;

export class Composer {
  /** @param {{onMessage: (text: string) => boolean, onActivity: () => void}} events */
  constructor(events) {
    this.events = events;
    this.form = part("composer", HTMLFormElement);
    this.field = part("message", HTMLTextAreaElement);
    this.lastActivity = -Infinity;
    this.enabled = false;
    this.sendsWhenReady = false;
  }

  listen() {
    this.form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.#send();
    });
    this.field.addEventListener("keydown", (event) => {
      // While an input method composes, Enter accepts its suggestion.
      if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
      event.preventDefault();
      this.#send();
    });
    this.field.addEventListener("input", () => this.#typing());
  }

  /** @param {boolean} enabled  what is being written stays in the field either way */
  enable(enabled) {
    this.enabled = enabled;
    element("send").toggleAttribute("disabled", !enabled);
    if (enabled && this.sendsWhenReady) this.#send();
  }

  focus() {
    this.field.focus({ preventScroll: true });
  }

  #send() {
    const text = this.field.value.trim();
    // Who writes faster than we connect has said it all the same.
    this.sendsWhenReady = !this.enabled && text !== "";
    if (text === "" || !this.enabled || !this.events.onMessage(text)) return;
    this.field.value = "";
    this.#grow();
    this.lastActivity = -Infinity;
  }

  #typing() {
    this.#grow();
    this.sendsWhenReady = false;
    const now = performance.now();
    if (!this.enabled || now - this.lastActivity < ACTIVITY_EVERY_MILLISECONDS) return;
    this.lastActivity = now;
    this.events.onActivity();
  }

  #grow() {
    this.field.style.height = "auto";
    this.field.style.height = `${this.field.scrollHeight + 2}px`;
  }
}
