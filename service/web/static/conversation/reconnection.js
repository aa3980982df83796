// @ts-check
/**
 * From the loss of a connection to its return: when to try, when to tell the person, when to give up.
 *
 * The key decision: a loss that is mended within a second is not mentioned. The voice plays on from what has arrived,
 * and a page that says "lost" and "found" in one breath only makes people nervous.
 */

import { CAP_MILLISECONDS, delayBeforeTry } from "./backoff.js";

export const QUIET_MILLISECONDS = 1000;
const BACK_ONLINE_MILLISECONDS = 500; // spread, for all the pages of a building whose network is back

/**
 * @typedef {object} ReconnectionPlan
 * @property {number} limitMilliseconds  after which the server does not wait any more
 * @property {number} tries  that came to nothing shortly before
 * @property {number | null} hintMilliseconds  when the server asked us to come back
 * @typedef {object} ReconnectionEvents
 * @property {() => void} onTry  connect now, and report a failure with `failed()`
 * @property {() => void} onNoticed  it has become long enough to be mentioned
 * @property {() => void} onOver  the limit has passed
 */

export class Reconnection {
  /**
   * @param {ReconnectionPlan} plan
   * @param {ReconnectionEvents} events
   * @param {import("./network.js").Network} network
   */
  constructor(plan, events, network) {
    this.plan = plan;
    this.events = events;
    this.network = network;
    this.tries = plan.tries;
    this.noticed = false;
    this.trying = false;
    this.keepsHint = plan.hintMilliseconds !== null;
  }

  start() {
    const { limitMilliseconds, hintMilliseconds } = this.plan;
    this.noticeTimer = setTimeout(() => {
      this.noticed = true;
      this.events.onNoticed();
    }, QUIET_MILLISECONDS);
    this.endTimer = setTimeout(() => {
      this.stop();
      this.events.onOver();
    }, limitMilliseconds);
    this.unlisten = this.network.listen(() => this.#networkChanged());
    this.#tryIn(hintMilliseconds ?? this.#delay());
  }

  /** The try came to nothing. */
  failed() {
    this.tries += 1;
    this.#tryIn(this.#delay());
  }

  stop() {
    for (const timer of [this.noticeTimer, this.endTimer, this.tryTimer]) clearTimeout(timer);
    this.unlisten?.();
  }

  #delay() {
    // "Offline" is nearly always true, but it may be wrong about a server on this very machine: so not never.
    return this.network.isOnline() ? delayBeforeTry(this.tries, Math.random) : CAP_MILLISECONDS;
  }

  #networkChanged() {
    if (this.trying || this.keepsHint) return;
    this.#tryIn(this.network.isOnline() ? Math.random() * BACK_ONLINE_MILLISECONDS : CAP_MILLISECONDS);
  }

  /** @param {number} milliseconds */
  #tryIn(milliseconds) {
    this.trying = false;
    clearTimeout(this.tryTimer);
    this.tryTimer = setTimeout(() => {
      this.trying = true;
      this.keepsHint = false;
      this.events.onTry();
    }, milliseconds);
  }
}
