// @ts-check
/** The audio thread's side of the microphone: gate, resample, hand over in even chunks. */

import { Resampler } from "./resampler.js";

const RAMP_SECONDS = 0.01; // a gate that opens over 10 ms does not click

class MicrophoneProcessor extends AudioWorkletProcessor {
  /** @param {{processorOptions: {rate: number, chunkSeconds: number, open: boolean}}} options */
  constructor({ processorOptions: { rate, chunkSeconds, open } }) {
    super();
    this.resampler = new Resampler(sampleRate, rate);
    this.chunk = new Float32Array(Math.round(rate * chunkSeconds));
    this.filled = 0;
    this.open = open;
    this.gate = open ? 1 : 0;
    this.port.onmessage = ({ data }) => {
      this.open = data.open;
    };
  }

  /** @param {Float32Array[][]} inputs */
  process(inputs) {
    const channel = inputs[0][0];
    if (channel) this.#collect(this.resampler.process(this.#gated(channel)));
    return true;
  }

  /** @param {Float32Array} samples */
  #gated(samples) {
    const step = (this.open ? 1 : -1) / (RAMP_SECONDS * sampleRate);
    return samples.map((sample) => {
      this.gate = Math.min(1, Math.max(0, this.gate + step));
      return sample * this.gate;
    });
  }

  /** @param {Float32Array} samples */
  #collect(samples) {
    let taken = 0;
    while (taken < samples.length) {
      const part = samples.subarray(taken, taken + this.chunk.length - this.filled);
      this.chunk.set(part, this.filled);
      this.filled += part.length;
      taken += part.length;
      if (this.filled === this.chunk.length) this.#handOver();
    }
  }

  #handOver() {
    const full = this.chunk;
    this.chunk = new Float32Array(full.length);
    this.filled = 0;
    this.port.postMessage(full, [full.buffer]);
  }
}

registerProcessor("vocero-microphone", MicrophoneProcessor);
