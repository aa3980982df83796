import assert from "node:assert/strict";
import test from "node:test";

import { decodeAudio, encodeAudio, parseFormat } from "../../../service/web/static/audio/format.js";
import { peakOf, visibleLevel } from "../../../service/web/static/audio/level.js";
import { PlaybackQueue } from "../../../service/web/static/audio/playback-queue.js";
import { Resampler } from "../../../service/web/static/audio/resampler.js";

const RATES = [8000, 16000, 22050, 24000, 44100, 48000];

function sine(frequency, rate, seconds) {
  return Float32Array.from({ length: Math.round(rate * seconds) }, (_, index) =>
    0.5 * Math.sin((2 * Math.PI * frequency * index) / rate));
}

/** Amplitude of one frequency, by correlation, away from the ends. */
function amplitudeAt(frequency, samples, rate) {
  const edge = Math.round(rate * 0.05);
  let real = 0;
  let imaginary = 0;
  for (let index = edge; index < samples.length - edge; index += 1) {
    const angle = (2 * Math.PI * frequency * index) / rate;
    real += samples[index] * Math.cos(angle);
    imaginary += samples[index] * Math.sin(angle);
  }
  return (2 * Math.hypot(real, imaginary)) / (samples.length - 2 * edge);
}

function inChunks(resampler, samples, size) {
  const output = [];
  for (let start = 0; start < samples.length; start += size) {
    output.push(...resampler.process(samples.subarray(start, start + size)));
  }
  return Float32Array.from(output);
}

test("every format of the protocol is read and every other one refused", () => {
  for (const rate of RATES) assert.deepEqual(parseFormat(`pcm_${rate}`), { encoding: "pcm", rate });
  assert.deepEqual(parseFormat("ulaw_8000"), { encoding: "ulaw", rate: 8000 });
  for (const name of ["mp3_44100", "pcm_11025", "ulaw_16000", "pcm", "", "xpcm_16000"]) {
    assert.throws(() => parseFormat(name), RangeError);
  }
});

test("PCM survives the way to the wire and back within half a step", () => {
  const format = parseFormat("pcm_16000");
  const sent = Float32Array.of(0, 0.5, -0.5, 0.999, -0.999, 2, -2);
  const back = decodeAudio(encodeAudio(sent, format), format);
  const expected = [0, 0.5, -0.5, 0.999, -0.999, 1, -1];
  expected.forEach((sample, index) => assert.ok(Math.abs(back[index] - sample) < 1 / 16000));
});

test("PCM is little-endian and signed", () => {
  const base64 = Buffer.from([0x00, 0x40, 0x00, 0xc0]).toString("base64");
  assert.deepEqual([...decodeAudio(base64, parseFormat("pcm_8000"))], [0.5, -0.5]);
});

test("u-law uses the code points of G.711 and keeps the sign of every byte", () => {
  const format = parseFormat("ulaw_8000");
  const code = (sample) => Buffer.from(encodeAudio(Float32Array.of(sample), format), "base64")[0];
  assert.equal(code(0), 0xff);
  assert.equal(code(1), 0x80);
  assert.equal(code(-1), 0x00);
  for (let byte = 0; byte < 256; byte += 1) {
    const [sample] = decodeAudio(Buffer.from([byte]).toString("base64"), format);
    const again = decodeAudio(encodeAudio(Float32Array.of(sample), format), format)[0];
    assert.ok(Math.abs(again - sample) < 1e-3, `byte ${byte}`);
    assert.equal(sample < 0, byte < 0x7f, `sign of byte ${byte}`);
  }
});

test("a tone keeps its pitch and loudness between any two rates, in any chunk size", () => {
  for (const from of RATES) {
    for (const to of RATES) {
      const output = inChunks(new Resampler(from, to), sine(1000, from, 0.5), 128);
      assert.ok(Math.abs(amplitudeAt(1000, output, to) - 0.5) < 0.005, `${from} to ${to}`);
      assert.ok(Math.abs(output.length - to / 2) < to * 0.006, `${from} to ${to}: ${output.length}`);
    }
  }
});

test("what the lower rate cannot hold is taken out, not folded back", () => {
  const output = inChunks(new Resampler(48000, 16000), sine(11000, 48000, 0.5), 128);
  assert.ok(amplitudeAt(5000, output, 16000) < 0.0005);
  assert.ok(peakOf(output.subarray(1000, -1000)) < 0.001);
});

test("a stream cut into chunks is the same stream", () => {
  const input = sine(440, 44100, 0.2);
  const whole = new Resampler(44100, 48000).process(input);
  assert.deepEqual(inChunks(new Resampler(44100, 48000), input, 37), whole);
});

test("the queue plays in order and counts the frames of each utterance", () => {
  const queue = new PlaybackQueue(1000, { prerollSeconds: 0 });
  queue.push(1, new Float32Array(6).fill(0.1));
  queue.push(2, new Float32Array(6).fill(0.2));
  const block = new Float32Array(4);
  queue.read(block);
  assert.deepEqual(queue.position, { key: 1, frames: 4 });
  queue.read(block);
  assert.deepEqual([...block].map((sample) => sample.toFixed(1)), ["0.1", "0.1", "0.2", "0.2"]);
  assert.deepEqual(queue.position, { key: 2, frames: 2 });
  queue.read(block);
  assert.equal(queue.queuedFrames, 0);
  queue.read(block);
  assert.equal(peakOf(block), 0);
  assert.equal(queue.playing, false);
});

test("sound waits for a little stock, but not for ever", () => {
  const queue = new PlaybackQueue(1000, { prerollSeconds: 0.01, patienceSeconds: 0.02 });
  queue.push(1, new Float32Array(4).fill(0.5));
  const block = new Float32Array(8);
  queue.read(block);
  assert.equal(peakOf(block), 0);
  queue.read(block);
  queue.read(block);
  assert.equal(peakOf(block) > 0 || queue.position?.frames === 4, true);
  const stocked = new PlaybackQueue(1000, { prerollSeconds: 0.01 });
  stocked.push(1, new Float32Array(10).fill(0.5));
  stocked.read(block);
  assert.equal(peakOf(block), 0.5);
});

test("a flush ramps down within 4 ms and leaves nothing behind", () => {
  const queue = new PlaybackQueue(1000, { prerollSeconds: 0 });
  queue.push(1, new Float32Array(100).fill(0.5));
  const block = new Float32Array(8);
  queue.read(block);
  queue.flush();
  queue.read(block);
  assert.deepEqual([...block], [0.5, 0.375, 0.25, 0.125, 0, 0, 0, 0]);
  queue.read(block);
  assert.equal(peakOf(block), 0);
  assert.equal(queue.position, null);
});

test("a full queue refuses more", () => {
  const queue = new PlaybackQueue(1000, { maximumSeconds: 0.01 });
  assert.equal(queue.push(1, new Float32Array(10)), true);
  assert.equal(queue.push(1, new Float32Array(1)), false);
  assert.equal(queue.queuedFrames, 10);
});

test("the level that is shown goes from silence to full scale", () => {
  assert.equal(visibleLevel(0), 0);
  assert.equal(visibleLevel(1), 1);
  assert.equal(visibleLevel(0.0001), 0);
  assert.ok(Math.abs(visibleLevel(10 ** (-25 / 20)) - 0.5) < 1e-9);
});
