// @ts-check
/** Volume and mute. */

import { button, part } from "./elements.js";

export class SoundControl {
  /**
   * @param {(key: import("../i18n/translate.js").TextKey) => string} text
   * @param {(volume: number, muted: boolean) => void} onChange volume 0..1
   */
  constructor(text, onChange) {
    this.text = text;
    this.onChange = onChange;
    this.slider = part("volume", HTMLInputElement);
    this.mute = button("mute");
    this.muted = false;
  }

  get volume() {
    return Number(this.slider.value) / 100;
  }

  listen() {
    this.slider.addEventListener("input", () => {
      this.muted = false; // who turns the volume wants to hear
      this.#apply();
    });
    this.mute.addEventListener("click", () => {
      this.muted = !this.muted;
      this.#apply();
    });
  }

  #apply() {
    const silent = this.muted || this.volume === 0;
    // The name says what a press does; `aria-pressed` beside a changing name would say it twice.
    this.mute.setAttribute("aria-label", this.text(this.muted ? "unmute" : "mute"));
    this.mute.querySelector("use")?.setAttribute("href", silent ? "#icon-muted" : "#icon-sound");
    this.onChange(this.volume, this.muted);
  }
}
