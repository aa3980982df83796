// @ts-check
/** A level meter in five steps: steps do not flicker, which suits reduced motion and weak eyes alike. */

import { visibleLevel } from "../audio/level.js";

const STEPS = 5;
const FALL_MILLISECONDS = 250; // a step goes out this long after it was last reached

export class Meter {
  /** @param {HTMLElement} element with role="meter" */
  constructor(element) {
    this.element = element;
    this.steps = -1;
    this.reachedAt = 0;
  }

  /** @param {number} peak 0..1 */
  show(peak) {
    const steps = Math.round(visibleLevel(peak) * STEPS);
    const now = performance.now();
    if (steps >= this.steps || now - this.reachedAt > FALL_MILLISECONDS) this.reachedAt = now;
    else return;
    if (steps === this.steps) return;
    this.steps = steps;
    this.element.setAttribute("aria-valuenow", String(steps));
    Array.from(this.element.children).forEach((mark, index) => mark.classList.toggle("lit", index < steps));
  }
}
