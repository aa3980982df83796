// @ts-check
/** Shows the conversation's state: the words, the parts that belong to it, and why something failed. */

import { isLive } from "../conversation/state.js";
import { announce } from "./announcer.js";
import { element } from "./elements.js";

/**
 * @typedef {import("../i18n/translate.js").TextKey} TextKey
 * @typedef {import("../conversation/state.js").State} State
 */

/** What a screen reader is told; the alternation of listening, thinking and speaking can be heard anyway. */
const SPOKEN_PHASES = new Set(["connecting", "reconnecting", "ended"]);

/** Failures that are nobody's fault are said calmly, under a title of their own. @type {Record<string, TextKey>} */
const CALM_TITLES = { maintenance: "state_maintenance", elsewhere: "state_elsewhere" };

/** The end of a conversation that stood: another try is a new one, and by the means of before. */
const ENDS = new Set(["lost", "unresumable", "elsewhere"]);

export class Page {
  /** @param {(key: TextKey) => string} text */
  constructor(text) {
    this.text = text;
    this.main = element("chat");
    this.label = element("state-label");
    this.phase = "idle";
    /** Whether the one button that is left begins as the person talked before. */
    this.offersOneStart = false;
  }

  /**
   * @param {State} state
   * @param {{hears: boolean, holds: boolean, voiceless: boolean, waiting: boolean}} manner
   *   of the talk: is the microphone open, by holding only, does the agent only write, do we stand in a queue
   */
  show({ phase, voice }, manner) {
    this.main.dataset.state = phase;
    this.main.dataset.voice = voice;
    this.label.textContent = this.text(labelOf(phase, manner));
    element("backup-badge").hidden = voice !== "backup" || !isLive(phase);
    this.#showParts(phase);
    if (phase !== this.phase && SPOKEN_PHASES.has(phase)) announce(this.label.textContent ?? "");
    this.phase = phase;
  }

  /** @param {import("../conversation/failure.js").Failure} failure */
  showFailure(failure) {
    const calmTitle = CALM_TITLES[failure.reason];
    element("failure").hidden = false;
    element("failure").classList.toggle("planned", calmTitle !== undefined);
    element("failure-title").textContent = this.text(calmTitle ?? "state_failed");
    element("failure-reason").textContent = this.text(`reason_${failure.reason}`);
    element("failure-detail").textContent = failure.message;
    element("failure-reference").hidden = failure.id === "" || failure.reason === "elsewhere";
    element("failure-id").textContent = failure.id;
    this.offersOneStart = ENDS.has(failure.reason);
    element("start-typing").hidden = this.offersOneStart;
    if (this.offersOneStart) element("start-speaking-text").textContent = this.text("start_again");
  }

  /** @param {TextKey | null} key of what the person should know about the microphone */
  advise(key) {
    const advice = element("microphone-advice");
    advice.hidden = key === null;
    advice.textContent = key ? this.text(key) : "";
    if (key) announce(this.text(key));
  }

  /** @param {string} phase */
  #showParts(phase) {
    const stopped = phase === "ended" || phase === "failed";
    const talking = phase !== "idle" && !stopped;
    element("intro").hidden = phase !== "idle";
    element("starters").hidden = talking;
    element("controls").hidden = !talking;
    if (phase !== "idle") element("record").hidden = false;
    if (phase !== "failed") {
      element("failure").hidden = true;
      element("start-typing").hidden = false;
      this.offersOneStart = false;
    }
    const again = phase === "ended" ? "start_again" : phase === "failed" ? "try_again" : "start_speaking";
    element("start-speaking-text").textContent = this.text(again);
  }
}

/**
 * @param {State["phase"]} phase
 * @param {{hears: boolean, holds: boolean, voiceless: boolean, waiting: boolean}} manner
 * @returns {TextKey}
 */
function labelOf(phase, { hears, holds, voiceless, waiting }) {
  if (phase === "connecting" && waiting) return "state_waiting";
  if (phase === "listening" && holds) return "state_hold";
  if (phase === "listening" && !hears) return "state_your_turn";
  if (phase === "speaking" && voiceless) return "state_answering";
  return `state_${phase}`;
}
