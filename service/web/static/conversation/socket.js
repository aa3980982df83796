// @ts-check
/**
 * One socket of the Agents protocol, from opening to close.
 *
 * It answers pings and drops the late audio of an interrupted turn itself; everything else is handed up, typed.
 */

import { conversationUrl, initiation, pong, readEvent, userAudio } from "./protocol.js";

const METADATA_TIMEOUT_MILLISECONDS = 15_000;
const QUEUE_TIMEOUT_MILLISECONDS = 120_000; // the server said that we wait in its queue
const MAXIMUM_BUFFERED_BYTES = 256 * 1024; // about six seconds of microphone at 16 kHz

/** Our own end of a socket whose server never said hello; 4000-4999 are for applications (RFC 6455, 7.4.2). */
export const SILENT_SERVER = 4000;

/**
 * @typedef {object} SocketEvents
 * @property {(event: import("./protocol.js").ServerEvent) => void} onEvent
 * @property {(code: number, reason: string) => void} onClose  exactly once
 */

export class AgentSocket {
  /**
   * @param {string} signedUrl
   * @param {import("./protocol.js").PageFacts} page
   * @param {SocketEvents} events
   */
  constructor(signedUrl, page, events) {
    this.signedUrl = signedUrl;
    this.page = page;
    this.events = events;
    this.interruptedUpTo = -Infinity;
    this.closed = false;
    this.ready = false;
  }

  open() {
    this.socket = new WebSocket(conversationUrl(this.signedUrl, this.page.version), ["convai"]);
    this.socket.onopen = () => this.send(initiation(this.page));
    this.socket.onmessage = ({ data }) => this.#receive(data);
    this.socket.onclose = ({ code, reason }) => this.#finish(code, reason);
    this.#expectMetadataWithin(METADATA_TIMEOUT_MILLISECONDS);
  }

  /** @param {object} event */
  send(event) {
    if (this.socket?.readyState === WebSocket.OPEN) this.socket.send(JSON.stringify(event));
  }

  /**
   * Send microphone audio, unless the network is so slow that it would only be heard when it is no longer true.
   * @param {string} base64
   */
  sendAudio(base64) {
    if (this.ready && this.socket && this.socket.bufferedAmount < MAXIMUM_BUFFERED_BYTES) this.send(userAudio(base64));
  }

  /** Say goodbye; nothing is reported afterwards. */
  close() {
    this.closed = true;
    clearTimeout(this.timer);
    this.socket?.close(1000, "User ended conversation");
  }

  /** @param {unknown} data */
  #receive(data) {
    const event = readEvent(data);
    if (!event || this.closed) return;
    if (event.type === "ping") this.send(pong(event.eventId));
    else if (event.type === "audio" && event.eventId <= this.interruptedUpTo) return;
    else this.#handUp(event);
  }

  /** @param {import("./protocol.js").ServerEvent} event */
  #handUp(event) {
    if (event.type === "interruption") this.interruptedUpTo = Math.max(this.interruptedUpTo, event.eventId);
    if (event.type === "queue_status") this.#expectMetadataWithin(QUEUE_TIMEOUT_MILLISECONDS);
    if (event.type === "metadata") {
      this.ready = true;
      clearTimeout(this.timer);
    }
    this.events.onEvent(event);
  }

  /** @param {number} milliseconds */
  #expectMetadataWithin(milliseconds) {
    clearTimeout(this.timer);
    if (this.ready) return;
    this.timer = setTimeout(() => {
      this.socket?.close(SILENT_SERVER, "no metadata");
      this.#finish(SILENT_SERVER, "");
    }, milliseconds);
  }

  /** @param {number} code @param {string} reason */
  #finish(code, reason) {
    if (this.closed) return;
    this.closed = true;
    clearTimeout(this.timer);
    this.events.onClose(code, reason);
  }
}
