// @ts-check
/** When to try a lost connection again, and when to stop trying. */

export const MAXIMUM_TRIES = 6;

const BASE_MILLISECONDS = 500;
export const CAP_MILLISECONDS = 8000;

/** Closes that speak of the network or of a server that goes away, never of what was said (RFC 6455, section 7.4). */
const TRANSIENT_CLOSES = new Set([1001, 1006, 1011, 1012, 1013]);

/** @param {number} code of the close frame */
export function isTransientClose(code) {
  return TRANSIENT_CLOSES.has(code);
}

/**
 * Full jitter: anything from zero to the doubled bound, so that a thousand pages do not come back in one second.
 * @param {number} tries already made
 * @param {() => number} random 0..1
 * @returns {number} milliseconds
 */
export function delayBeforeTry(tries, random) {
  return random() * Math.min(CAP_MILLISECONDS, BASE_MILLISECONDS * 2 ** tries);
}
