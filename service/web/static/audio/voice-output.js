// @ts-check
/**
 * The agent's voice as a whole: the sound device, the speaker, and when the voice pauses or is done.
 *
 * The key decision: the protocol does not say when an answer's audio is complete, so silence does: a short one means
 * that it is the person's turn, a longer one that nothing more of this answer will come. Where it is known that some
 * of the answer is still missing, another voice may be on its way with it: then a much longer one.
 */

import { Speaker } from "./speaker.js";

const PAUSE_MILLISECONDS = 350;
const SETTLED_MILLISECONDS = 1200;
const ABANDONED_MILLISECONDS = 12_000; // more than it takes to notice a dead line and to begin with another voice

/**
 * @typedef {object} VoiceOutputEvents
 * @property {(key: number, milliseconds: number) => boolean} onHeard  false: of an utterance that is over
 * @property {() => void} onPause
 * @property {(forGood: boolean) => void} onSettled  `forGood`: not even a late rest is to be waited for any more
 * @property {(peak: number) => void} onLevel  0..1
 */

export class VoiceOutput {
  /** @param {VoiceOutputEvents} events */
  constructor(events) {
    this.events = events;
    this.isSounding = false;
    this.volume = 1;
    this.muted = false;
    /** @type {AudioContext | undefined} */
    this.context = undefined;
    /** @type {Speaker | undefined} */
    this.speaker = undefined;
  }

  /** Whether voices can be played; without, answers are read. */
  get isAvailable() {
    return this.speaker !== undefined;
  }

  /**
   * Wake the sound device; must run inside a click the first time.
   * @returns {Promise<boolean>} whether voices can be played
   */
  async prepare() {
    this.context ??= new AudioContext({ latencyHint: "interactive" });
    void this.context.resume();
    this.flush();
    if (!this.speaker) await this.#openSpeaker(this.context);
    return this.isAvailable;
  }

  /** Sound may have been taken away while the page was in the background. */
  wake() {
    void this.context?.resume();
  }

  /** Fall silent and let the sound device sleep. */
  rest() {
    this.flush();
    void this.context?.suspend();
  }

  /** @param {number} key of the utterance @param {Float32Array} samples @param {number} rate */
  play(key, samples, rate) {
    if (samples.length === 0) return;
    this.isSounding = true;
    this.speaker?.play(key, samples, rate);
  }

  /** Fall silent now. */
  flush() {
    this.#clearTimers();
    this.isSounding = false;
    this.speaker?.flush();
    this.events.onLevel(0);
  }

  /** What was awaited may have come, or may not come at all: if nothing sounds, begin to wait for the end anew. */
  settleAnew() {
    if (!this.isSounding) this.#drained();
  }

  /** @param {number} volume 0..1 @param {boolean} muted */
  setSound(volume, muted) {
    Object.assign(this, { volume, muted });
    this.speaker?.setVolume(volume);
    this.speaker?.setMuted(muted);
  }

  /** @param {AudioContext} context */
  async #openSpeaker(context) {
    const speaker = new Speaker(context, {
      onPosition: (key, milliseconds) => this.#heard(key, milliseconds),
      onDrained: () => this.#drained(),
      onLevel: (peak) => this.events.onLevel(this.isSounding ? peak : 0),
    });
    try {
      await speaker.open();
    } catch {
      return; // no audio worklets on this page: the caller tells the person
    }
    this.speaker = speaker;
    this.setSound(this.volume, this.muted);
  }

  /** @param {number} key @param {number} milliseconds */
  #heard(key, milliseconds) {
    if (this.events.onHeard(key, milliseconds)) this.#clearTimers();
  }

  #drained() {
    this.#clearTimers();
    this.pauseTimer = setTimeout(() => {
      this.isSounding = false;
      this.events.onPause();
    }, PAUSE_MILLISECONDS);
    this.settledTimer = setTimeout(() => this.events.onSettled(false), SETTLED_MILLISECONDS);
    this.abandonedTimer = setTimeout(() => this.events.onSettled(true), ABANDONED_MILLISECONDS);
  }

  #clearTimers() {
    clearTimeout(this.pauseTimer);
    clearTimeout(this.settledTimer);
    clearTimeout(this.abandonedTimer);
  }
}
