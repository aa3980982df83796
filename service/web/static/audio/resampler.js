// @ts-check
/**
 * A streaming sample-rate converter: exact rational ratio, windowed-sinc, polyphase.
 *
 * The key decision: we resample ourselves instead of asking for an AudioContext at the wire's rate, because Firefox
 * cannot connect a microphone to a context of another rate, and because plain interpolation from 48 kHz to 16 kHz
 * folds hiss into the band that speech recognition listens to.
 */

const ZERO_CROSSINGS = 16; // on each side; -60 dB and better beyond the transition band
const PASS_BAND = 0.92; // of the lower Nyquist frequency: leaves the filter room to fall

export class Resampler {
  /**
   * @param {number} inputRate samples a second
   * @param {number} outputRate samples a second
   */
  constructor(inputRate, outputRate) {
    const divisor = greatestCommonDivisor(inputRate, outputRate);
    this.identity = inputRate === outputRate;
    this.phases = outputRate / divisor;
    this.step = inputRate / divisor;
    const cutoff = Math.min(1, outputRate / inputRate) * PASS_BAND;
    this.reach = Math.ceil(ZERO_CROSSINGS / cutoff);
    this.kernel = this.identity ? new Float32Array(0) : polyphaseKernel(this.phases, this.reach, cutoff);
    this.pending = new Float32Array(this.reach); // silence before the first sample
    this.index = this.reach; // of the input sample at or before the next output sample, within `pending`
    /** @type {number} */
    this.phase = 0; // how far the next output sample lies behind it, in 1/phases
  }

  /** Forget the past: the next chunk does not continue the last one. */
  reset() {
    this.pending = new Float32Array(this.reach);
    this.index = this.reach;
    this.phase = 0;
  }

  /**
   * Convert the next chunk of one continuous stream. The filter holds back its reach (under 2 ms at 16 kHz).
   * @param {Float32Array} input
   * @returns {Float32Array}
   */
  process(input) {
    if (this.identity) return input;
    const data = joined(this.pending, input);
    const output = new Float32Array(this.#available(data.length));
    for (let count = 0; count < output.length; count += 1) {
      output[count] = this.#sampleAt(data);
      this.#advance();
    }
    const spent = Math.max(0, this.index - this.reach);
    this.pending = data.slice(spent);
    this.index -= spent;
    return output;
  }

  /** @param {number} length of the data in hand */
  #available(length) {
    const lastIndex = length - 1 - this.reach;
    if (lastIndex < this.index) return 0;
    return Math.floor(((lastIndex - this.index) * this.phases + this.phases - 1 - this.phase) / this.step) + 1;
  }

  /** @param {Float32Array} data */
  #sampleAt(data) {
    const taps = this.reach * 2;
    const first = this.index - this.reach + 1;
    const offset = this.phase * taps;
    let sum = 0;
    for (let tap = 0; tap < taps; tap += 1) sum += data[first + tap] * this.kernel[offset + tap];
    return sum;
  }

  #advance() {
    const total = this.phase + this.step;
    this.index += Math.floor(total / this.phases);
    this.phase = total % this.phases;
  }
}

/**
 * One row of filter taps for each position between two input samples; every row sums to one (no level ripple).
 * @param {number} phases @param {number} reach @param {number} cutoff
 */
function polyphaseKernel(phases, reach, cutoff) {
  const taps = reach * 2;
  const kernel = new Float32Array(phases * taps);
  for (let phase = 0; phase < phases; phase += 1) {
    const row = kernel.subarray(phase * taps, (phase + 1) * taps);
    for (let tap = 0; tap < taps; tap += 1) {
      const distance = tap - reach + 1 - phase / phases;
      row[tap] = sinc(distance * cutoff) * blackman(distance / reach);
    }
    const sum = row.reduce((total, value) => total + value, 0);
    for (let tap = 0; tap < taps; tap += 1) row[tap] /= sum;
  }
  return kernel;
}

/** @param {number} x */
function sinc(x) {
  return x === 0 ? 1 : Math.sin(Math.PI * x) / (Math.PI * x);
}

/** @param {number} x from -1 to 1 */
function blackman(x) {
  if (Math.abs(x) >= 1) return 0;
  return 0.42 + 0.5 * Math.cos(Math.PI * x) + 0.08 * Math.cos(2 * Math.PI * x);
}

/** @param {number} a @param {number} b @returns {number} */
function greatestCommonDivisor(a, b) {
  return b === 0 ? a : greatestCommonDivisor(b, a % b);
}

/** @param {Float32Array} head @param {Float32Array} tail */
function joined(head, tail) {
  const whole = new Float32Array(head.length + tail.length);
  whole.set(head);
  whole.set(tail, head.length);
  return whole;
}
