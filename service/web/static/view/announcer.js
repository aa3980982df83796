// @ts-check
/** Says short things to screen readers; sighted people see them elsewhere. */

import { element } from "./elements.js";

const KEPT_LINES = 4;

/**
 * Announce politely: after what the screen reader is saying now.
 * Lines are added rather than replaced, because a replaced line may never be read.
 * @param {string} text
 */
export function announce(text) {
  const region = element("announcer");
  const line = document.createElement("p");
  line.textContent = text;
  region.append(line);
  while (region.childElementCount > KEPT_LINES) region.firstElementChild?.remove();
}
