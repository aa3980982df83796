// @ts-check
/**
 * The person's microphone, as even chunks at the rate the server asked for.
 *
 * The key decision: a closed gate sends silence, not nothing. The server finds the end of an utterance by hearing
 * silence, so letting go of "hold to talk" must not simply stop the stream.
 */

const CHUNK_SECONDS = 0.05;

/** @typedef {"refused" | "missing" | "busy" | "insecure"} MicrophoneProblem */

/** The microphone cannot be had; `problem` says what the person can do about it. */
export class MicrophoneError extends Error {
  /** @param {MicrophoneProblem} problem @param {unknown} cause */
  constructor(problem, cause) {
    super(`microphone: ${problem}`, { cause });
    this.problem = problem;
  }
}

/** @type {Record<string, MicrophoneProblem>} names of the W3C Media Capture specification */
const PROBLEMS = {
  NotAllowedError: "refused",
  SecurityError: "refused",
  NotFoundError: "missing",
  OverconstrainedError: "missing",
  NotReadableError: "busy",
  AbortError: "busy",
};

export class Microphone {
  /**
   * @param {AudioContext} context
   * @param {{onLost: () => void}} events `onLost`: unplugged, or the permission was taken back
   */
  constructor(context, { onLost }) {
    this.context = context;
    this.onLost = onLost;
    this.gateOpen = false;
    /** @type {MediaStream | null} */
    this.stream = null;
    /** @type {AudioWorkletNode | null} */
    this.node = null;
  }

  /**
   * Ask for the microphone; the browser may show its own question for as long as the person likes.
   * @throws {MicrophoneError}
   */
  async open() {
    if (!navigator.mediaDevices?.getUserMedia) throw new MicrophoneError("insecure", null);
    try {
      this.stream = await navigator.mediaDevices.getUserMedia({
        audio: { echoCancellation: true, noiseSuppression: true, autoGainControl: true, channelCount: 1 },
      });
    } catch (error) {
      const name = error instanceof Error ? error.name : "";
      throw new MicrophoneError(PROBLEMS[name] ?? "busy", error);
    }
    for (const track of this.stream.getAudioTracks()) track.addEventListener("ended", this.onLost);
    await this.context.audioWorklet.addModule(new URL("./microphone-worklet.js", import.meta.url));
    this.source = new MediaStreamAudioSourceNode(this.context, { mediaStream: this.stream });
  }

  /**
   * Deliver chunks at `rate` from now on, in place of an earlier capture.
   * @param {number} rate samples a second
   * @param {(samples: Float32Array) => void} onChunk
   */
  capture(rate, onChunk) {
    if (!this.source) return;
    this.#disconnect();
    const processorOptions = { rate, chunkSeconds: CHUNK_SECONDS, open: this.gateOpen };
    this.node = new AudioWorkletNode(this.context, "vocero-microphone", {
      numberOfOutputs: 0, channelCount: 1, channelCountMode: "explicit", processorOptions,
    });
    this.node.port.onmessage = ({ data }) => onChunk(data);
    this.source.connect(this.node);
  }

  /** @param {boolean} open whether the person is heard; while closed, silence is sent */
  setGate(open) {
    this.gateOpen = open;
    this.node?.port.postMessage({ open });
  }

  /** Give the microphone back: the browser's recording sign goes out. */
  close() {
    this.#disconnect();
    for (const track of this.stream?.getTracks() ?? []) track.stop();
    this.source = undefined;
    this.stream = null;
  }

  #disconnect() {
    if (this.node) {
      this.node.port.onmessage = null;
      this.source?.disconnect();
    }
    this.node = null;
  }
}
