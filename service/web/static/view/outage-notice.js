// @ts-check
/**
 * What the person sees of a lost connection: that nothing is lost, how long we go on trying, and a way out.
 *
 * The key decision: the seconds are there to be looked at and are not read out; a screen reader hears of the loss, and
 * of its end.
 */

import { announce } from "./announcer.js";
import { button, element } from "./elements.js";

const TICK_MILLISECONDS = 250;
const RETURN_SHOWN_MILLISECONDS = 5000;

/**
 * @typedef {import("../conversation/session.js").Outage} Outage
 * @typedef {import("../i18n/translate.js").TextKey} TextKey
 */

/** @type {Record<import("../conversation/session.js").Cause, TextKey>} */
const WORDS = { lost: "outage_kept", restart: "outage_restart", maintenance: "outage_maintenance" };

export class OutageNotice {
  /** @param {(key: TextKey) => string} text @param {() => void} onStartAnew */
  constructor(text, onStartAnew) {
    this.text = text;
    this.onStartAnew = onStartAnew;
    this.box = element("outage");
    this.words = element("outage-words");
    this.left = element("outage-left");
    this.bar = element("outage-bar");
    this.returned = element("returned");
  }

  listen() {
    button("start-anew").addEventListener("click", () => this.onStartAnew());
  }

  /** @param {Outage | null} outage */
  show(outage) {
    clearInterval(this.ticking);
    this.box.hidden = outage === null;
    this.#showReturned(false);
    if (!outage) return;
    this.#tick(outage);
    this.ticking = setInterval(() => this.#tick(outage), TICK_MILLISECONDS);
  }

  /** It is over, and the person had been told of it. */
  showReturn() {
    this.#showReturned(true);
    announce(this.text("connected_again"));
    this.returning = setTimeout(() => this.#showReturned(false), RETURN_SHOWN_MILLISECONDS);
  }

  /** @param {boolean} shown */
  #showReturned(shown) {
    clearTimeout(this.returning);
    this.returned.hidden = !shown;
  }

  /** @param {Outage} outage */
  #tick({ endsAt, milliseconds, cause }) {
    const left = Math.max(0, endsAt - Date.now());
    const seconds = Math.ceil(left / 1000);
    const key = navigator.onLine === false ? "outage_offline" : WORDS[cause];
    if (this.words.textContent !== this.text(key)) this.words.textContent = this.text(key);
    this.left.textContent = `${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, "0")}`;
    this.bar.style.transform = `scaleX(${(left / milliseconds).toFixed(4)})`;
  }
}
