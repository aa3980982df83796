// @ts-check
/** The audio thread's side of the speaker: plays the queue and reports where it is. */

import { PlaybackQueue } from "./playback-queue.js";

const BLOCKS_PER_REPORT = 8; // 128 frames each: about every 21 ms at 48 kHz

class SpeakerProcessor extends AudioWorkletProcessor {
  constructor() {
    super();
    this.queue = new PlaybackQueue(sampleRate);
    this.blocks = 0;
    this.sounded = false;
    this.port.onmessage = ({ data }) => this.#obey(data);
  }

  /** @param {Float32Array[][]} _inputs @param {Float32Array[][]} outputs */
  process(_inputs, outputs) {
    this.queue.read(outputs[0][0]);
    this.blocks += 1;
    if (this.blocks % BLOCKS_PER_REPORT === 0) this.#report();
    return true;
  }

  /** @param {{kind: "audio", key: number, samples: Float32Array} | {kind: "flush"}} command */
  #obey(command) {
    if (command.kind === "flush") this.queue.flush();
    else this.queue.push(command.key, command.samples);
  }

  #report() {
    const sounding = this.queue.playing || this.queue.queuedFrames > 0;
    // One report after the last sound tells that the queue ran dry; then the port rests.
    if (sounding || this.sounded) this.port.postMessage({ sounding, position: this.queue.position });
    this.sounded = sounding;
  }
}

registerProcessor("vocero-speaker", SpeakerProcessor);
