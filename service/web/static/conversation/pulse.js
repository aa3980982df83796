// @ts-check
/**
 * Notices a socket that is dead without saying so: a phone that changed its network may wait minutes for a close.
 *
 * The key decision: the pings' own rhythm is the measure, so a server that pings rarely, or never, is not suspected.
 */

const SHORTEST_PATIENCE_MILLISECONDS = 15_000;
const MISSED_PINGS = 3;

export class Pulse {
  /** @param {() => void} onSilence  once */
  constructor(onSilence) {
    this.onSilence = onSilence;
    this.pingedAt = NaN;
    this.longestGap = 0;
  }

  /** @param {boolean} isPing  anything that comes is a sign of life; pings say when the next one is due */
  beat(isPing) {
    const now = Date.now();
    if (isPing) {
      if (this.pingedAt <= now) this.longestGap = Math.max(this.longestGap, now - this.pingedAt);
      this.pingedAt = now;
    }
    this.stop();
    if (this.longestGap === 0) return;
    const patience = Math.max(SHORTEST_PATIENCE_MILLISECONDS, MISSED_PINGS * this.longestGap);
    this.timer = setTimeout(this.onSilence, patience);
  }

  stop() {
    clearTimeout(this.timer);
  }
}
