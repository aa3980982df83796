// @ts-check
/**
 * What the loudspeaker plays next, and exactly how far it has come.
 *
 * Pure, so that it runs in the audio thread and in a unit test alike. The key decision: every sample belongs to an
 * utterance's key, so "which millisecond of which answer is heard now" is counted, not guessed from clocks.
 */

/** @typedef {{key: number, frames: number}} Position  frames of that utterance already played */

export class PlaybackQueue {
  /**
   * @param {number} sampleRate frames a second
   * @param {{maximumSeconds?: number, prerollSeconds?: number, patienceSeconds?: number}} [options]
   *   `prerollSeconds`: what must be there before sound starts, so that a small network gap is not heard;
   *   `patienceSeconds`: after which a shorter rest is played anyway.
   */
  constructor(sampleRate, { maximumSeconds = 300, prerollSeconds = 0.06, patienceSeconds = 0.12 } = {}) {
    this.maximumFrames = Math.round(maximumSeconds * sampleRate);
    this.prerollFrames = Math.round(prerollSeconds * sampleRate);
    this.patienceFrames = Math.round(patienceSeconds * sampleRate);
    this.fadeFrames = Math.round(0.004 * sampleRate);
    /** @type {{key: number, samples: Float32Array}[]} */
    this.chunks = [];
    this.offset = 0;
    this.queuedFrames = 0;
    this.waitedFrames = 0;
    this.playing = false;
    /** @type {Position | null} */
    this.position = null;
    this.fade = new Float32Array(0);
  }

  /**
   * Take a chunk in; refuse it when the queue is full (the bound is minutes, so only a runaway server meets it).
   * @param {number} key @param {Float32Array} samples
   * @returns {boolean} whether it was taken
   */
  push(key, samples) {
    if (this.queuedFrames + samples.length > this.maximumFrames) return false;
    if (samples.length > 0) this.chunks.push({ key, samples });
    this.queuedFrames += samples.length;
    return true;
  }

  /** Fall silent now: drop everything, and ramp the last 4 ms down so that it does not click. */
  flush() {
    const head = this.playing ? this.chunks[0] : undefined;
    const rest = head ? head.samples.subarray(this.offset, this.offset + this.fadeFrames) : new Float32Array(0);
    this.fade = rest.map((sample, index) => sample * (1 - index / rest.length));
    this.chunks = [];
    this.offset = 0;
    this.queuedFrames = 0;
    this.waitedFrames = 0;
    this.playing = false;
    this.position = null;
  }

  /**
   * Fill one block of output; what is not there is silence.
   * @param {Float32Array} output
   */
  read(output) {
    output.fill(0);
    this.#playFade(output);
    if (!this.#ready(output.length)) return;
    let written = 0;
    while (written < output.length && this.chunks.length > 0) written += this.#copyInto(output, written);
    if (this.chunks.length === 0) this.playing = false;
  }

  /** @param {Float32Array} output */
  #playFade(output) {
    if (this.fade.length === 0) return;
    output.set(this.fade.subarray(0, output.length));
    this.fade = this.fade.subarray(Math.min(output.length, this.fade.length));
  }

  /** @param {number} frames */
  #ready(frames) {
    if (this.playing) return true;
    if (this.queuedFrames === 0) return false;
    this.waitedFrames += frames;
    this.playing = this.queuedFrames >= this.prerollFrames || this.waitedFrames >= this.patienceFrames;
    if (this.playing) this.waitedFrames = 0;
    return this.playing;
  }

  /** @param {Float32Array} output @param {number} start */
  #copyInto(output, start) {
    const { key, samples } = this.chunks[0];
    const part = samples.subarray(this.offset, this.offset + output.length - start);
    output.set(part, start);
    this.offset += part.length;
    this.queuedFrames -= part.length;
    const before = this.position?.key === key ? this.position.frames : 0;
    this.position = { key, frames: before + part.length };
    if (this.offset >= samples.length) {
      this.chunks.shift();
      this.offset = 0;
    }
    return part.length;
  }
}
