// @ts-check
/** A level meter in five steps: steps do not flicker, which suits reduced motion and weak eyes alike. */

import { visibleLevel } from "../audio/level.js";

const STEPS = 5;
const FALL_MILLISECONDS = 250; // a step goes out this long after it was last reached

export class Meter {
  /** @param {HTMLElement} element with role="meter" */
  constructor(element) {
    this.element = element;
    this.steps = 0;
    this.reachedAt = -Infinity;
  }

  /** @param {number} peak 0..1 */
  show(peak) {
    const steps = Math.round(visibleLevel(peak) * STEPS);
    const rest = this.reachedAt + FALL_MILLISECONDS - performance.now();
    clearTimeout(this.fall);
    // The last report of a voice is its silence, so a fall that is put off must not be forgotten.
    if (steps < this.steps && rest > 0) this.fall = setTimeout(() => this.#light(steps), rest);
    else this.#light(steps);
  }

  /** @param {number} steps */
  #light(steps) {
    this.reachedAt = performance.now();
    if (steps === this.steps) return;
    this.steps = steps;
    this.element.setAttribute("aria-valuenow", String(steps));
    Array.from(this.element.children).forEach((mark, index) => mark.classList.toggle("lit", index < steps));
  }
}
