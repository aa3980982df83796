// @ts-check
/** The person's voice as a whole: whether the microphone is wanted, had, and let through. */

import { encodeAudio, parseFormat, DEFAULT_FORMAT } from "./format.js";
import { peakOf } from "./level.js";
import { Microphone, MicrophoneError } from "./microphone.js";

/**
 * @typedef {import("../view/talk-control.js").TalkMode} TalkMode
 * @typedef {import("./microphone.js").MicrophoneProblem | "lost"} InputProblem
 * @typedef {object} VoiceInputEvents
 * @property {(base64: string) => void} onChunk
 * @property {(peak: number) => void} onLevel  0..1 of what is sent
 * @property {(mode: TalkMode) => void} onMode  what holds now, which may be less than what was wished
 * @property {(problem: InputProblem | null) => void} onProblem  null: there is none any more
 */

export class VoiceInput {
  /** @param {VoiceInputEvents} events */
  constructor(events) {
    this.events = events;
    /** @type {TalkMode} */
    this.mode = "off";
    this.format = parseFormat(DEFAULT_FORMAT);
    /** @type {Microphone | undefined} */
    this.microphone = undefined;
  }

  /**
   * @param {TalkMode} mode as the person wishes
   * @param {AudioContext | undefined} context
   */
  async setMode(mode, context) {
    this.mode = mode;
    if (mode === "off" || !context) this.close();
    else if (!this.microphone) await this.#open(context); // else it is open, or the browser is asking for it
    this.events.onMode(this.mode);
  }

  /** @param {import("./format.js").AudioFormat} format that the server asks for, from now on */
  setFormat(format) {
    this.format = format;
    this.#capture();
  }

  /** @param {boolean} open whether the person is let through just now */
  setGate(open) {
    this.microphone?.setGate(open);
  }

  /** Give the microphone back. */
  close() {
    this.microphone?.close();
    this.microphone = undefined;
    this.mode = "off";
    this.events.onLevel(0);
  }

  /** @param {AudioContext} context */
  async #open(context) {
    const microphone = new Microphone(context, { onLost: () => this.#lose() });
    this.microphone = microphone;
    try {
      await microphone.open();
    } catch (error) {
      if (this.microphone === microphone) this.#fail(error instanceof MicrophoneError ? error.problem : "busy");
      return microphone.close();
    }
    if (this.microphone !== microphone) return microphone.close(); // too late: nobody wants it any more
    this.events.onProblem(null);
    this.#capture();
  }

  #capture() {
    this.microphone?.capture(this.format.rate, (samples) => {
      this.events.onLevel(peakOf(samples));
      this.events.onChunk(encodeAudio(samples, this.format));
    });
  }

  #lose() {
    this.#fail("lost");
    this.events.onMode(this.mode);
  }

  /** @param {InputProblem} problem */
  #fail(problem) {
    this.close();
    this.events.onProblem(problem);
  }
}
