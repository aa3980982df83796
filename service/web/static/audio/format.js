// @ts-check
/**
 * The audio formats of the Agents protocol, to and from the floats that Web Audio works with.
 *
 * The key decision: everything between the two borders (wire, loudspeaker) is mono Float32 in -1..1.
 */

/** @typedef {{encoding: "pcm" | "ulaw", rate: number}} AudioFormat  rate in samples a second */

/** What the protocol means when the metadata leaves a format out. */
export const DEFAULT_FORMAT = "pcm_16000";

const RATES = new Set([8000, 16000, 22050, 24000, 44100, 48000]);

/**
 * Read a format's name, `pcm_16000` or `ulaw_8000`.
 * @param {string} name
 * @returns {AudioFormat}
 * @throws {RangeError} for a format that this page cannot play or record
 */
export function parseFormat(name) {
  const match = /^(pcm|ulaw)_(\d+)$/.exec(name);
  const rate = match ? Number(match[2]) : 0;
  if (!match || !RATES.has(rate) || (match[1] === "ulaw" && rate !== 8000)) {
    throw new RangeError(`audio format ${name} is not supported`);
  }
  return { encoding: match[1] === "ulaw" ? "ulaw" : "pcm", rate };
}

/**
 * Decode one base64 chunk of the wire.
 * @param {string} base64
 * @param {AudioFormat} format
 * @returns {Float32Array}
 * @throws {Error} if the text is not base64
 */
export function decodeAudio(base64, format) {
  const bytes = bytesOf(base64);
  return format.encoding === "ulaw" ? decodeUlaw(bytes) : decodePcm(bytes);
}

/**
 * Encode samples for the wire.
 * @param {Float32Array} samples
 * @param {AudioFormat} format
 * @returns {string} base64
 */
export function encodeAudio(samples, format) {
  return base64Of(format.encoding === "ulaw" ? encodeUlaw(samples) : encodePcm(samples));
}

/** @param {string} base64 */
function bytesOf(base64) {
  const binary = atob(base64);
  const bytes = new Uint8Array(binary.length);
  for (let index = 0; index < binary.length; index += 1) bytes[index] = binary.charCodeAt(index);
  return bytes;
}

/** @param {Uint8Array} bytes */
function base64Of(bytes) {
  let binary = "";
  // In slices: spreading a whole second of audio into one call overflows the argument stack.
  for (let start = 0; start < bytes.length; start += 4096) {
    binary += String.fromCharCode(...bytes.subarray(start, start + 4096));
  }
  return btoa(binary);
}

/** @param {Uint8Array} bytes */
function decodePcm(bytes) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const samples = new Float32Array(bytes.length >> 1);
  for (let index = 0; index < samples.length; index += 1) {
    samples[index] = view.getInt16(index * 2, true) / 32768;
  }
  return samples;
}

/** @param {Float32Array} samples */
function encodePcm(samples) {
  const view = new DataView(new ArrayBuffer(samples.length * 2));
  for (let index = 0; index < samples.length; index += 1) {
    view.setInt16(index * 2, toInteger(samples[index]), true);
  }
  return new Uint8Array(view.buffer);
}

/** @param {number} sample */
function toInteger(sample) {
  return Math.max(-32768, Math.min(32767, Math.round(sample * 32767)));
}

const ULAW_BIAS = 0x84; // ITU-T G.711
const ULAW_CLIP = 32635;

/** @param {Uint8Array} bytes */
function decodeUlaw(bytes) {
  return Float32Array.from(bytes, (byte) => {
    const inverted = ~byte & 0xff;
    const magnitude = ((((inverted & 0x0f) << 3) + ULAW_BIAS) << ((inverted & 0x70) >> 4)) - ULAW_BIAS;
    return (inverted & 0x80 ? -magnitude : magnitude) / 32768;
  });
}

/** @param {Float32Array} samples */
function encodeUlaw(samples) {
  return Uint8Array.from(samples, (sample) => {
    const integer = toInteger(sample);
    const sign = integer < 0 ? 0x80 : 0;
    const biased = Math.min(Math.abs(integer), ULAW_CLIP) + ULAW_BIAS;
    const exponent = 31 - Math.clz32(biased) - 7;
    const mantissa = (biased >> (exponent + 3)) & 0x0f;
    return ~(sign | (exponent << 4) | mantissa) & 0xff;
  });
}
