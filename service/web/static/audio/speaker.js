// @ts-check
/**
 * Plays the agent's voice: a queue in the audio thread, at once silent on an interruption, with volume and mute.
 */

import { Resampler } from "./resampler.js";
import { peakOf } from "./level.js";

/**
 * @typedef {object} SpeakerEvents
 * @property {(key: number, milliseconds: number) => void} onPosition  what is heard now, of which utterance
 * @property {() => void} onDrained  nothing is left to play
 * @property {(peak: number) => void} onLevel  0..1, after volume and mute: what the person really hears
 */

export class Speaker {
  /**
   * @param {AudioContext} context
   * @param {SpeakerEvents} events
   */
  constructor(context, events) {
    this.context = context;
    this.events = events;
    this.volume = 1;
    this.muted = false;
    /** @type {AudioWorkletNode | null} */
    this.node = null;
    /** @type {Resampler | null} */
    this.resampler = null;
    this.inputRate = 0;
  }

  /**
   * Load the audio thread's part and connect it.
   * @throws {Error} where the browser gives pages without TLS no audio worklets
   */
  async open() {
    if (!this.context.audioWorklet) throw new Error("this browser offers no AudioWorklet on this page");
    await this.context.audioWorklet.addModule(new URL("./speaker-worklet.js", import.meta.url));
    this.node = new AudioWorkletNode(this.context, "vocero-speaker", { numberOfInputs: 0, outputChannelCount: [1] });
    this.gain = new GainNode(this.context, { gain: this.#loudness() });
    this.analyser = new AnalyserNode(this.context, { fftSize: 2048 });
    this.window = new Float32Array(this.analyser.fftSize);
    this.node.connect(this.gain).connect(this.analyser).connect(this.context.destination);
    this.node.port.onmessage = ({ data }) => this.#heard(data);
  }

  /**
   * Queue samples of the utterance `key`.
   * @param {number} key @param {Float32Array} samples @param {number} rate of the samples
   */
  play(key, samples, rate) {
    if (!this.node) return;
    if (!this.resampler || this.inputRate !== rate) {
      this.resampler = new Resampler(rate, this.context.sampleRate);
      this.inputRate = rate;
    }
    const converted = this.resampler.process(samples);
    this.node.port.postMessage({ kind: "audio", key, samples: converted }, [converted.buffer]);
  }

  /** Fall silent now and forget what was queued. */
  flush() {
    this.resampler?.reset();
    this.node?.port.postMessage({ kind: "flush" });
  }

  /** @param {number} volume 0..1 */
  setVolume(volume) {
    this.volume = volume;
    this.#applyLoudness();
  }

  /** @param {boolean} muted */
  setMuted(muted) {
    this.muted = muted;
    this.#applyLoudness();
  }

  #loudness() {
    // Ears hear ratios: a squared slider feels even.
    return this.muted ? 0 : this.volume ** 2;
  }

  #applyLoudness() {
    this.gain?.gain.setTargetAtTime(this.#loudness(), this.context.currentTime, 0.015);
  }

  /** @param {{sounding: boolean, position: {key: number, frames: number} | null}} report */
  #heard({ sounding, position }) {
    this.events.onLevel(sounding ? this.#peak() : 0);
    if (position) this.events.onPosition(position.key, this.#milliseconds(position.frames));
    if (!sounding) this.events.onDrained();
  }

  #peak() {
    if (!this.analyser || !this.window) return 0;
    this.analyser.getFloatTimeDomainData(this.window);
    return peakOf(this.window);
  }

  /** @param {number} frames handed to the sound system, which plays them `outputLatency` later */
  #milliseconds(frames) {
    const heard = frames / this.context.sampleRate - (this.context.outputLatency || 0);
    return Math.max(0, heard * 1000);
  }
}
