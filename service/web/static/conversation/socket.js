// @ts-check
/**
 * One socket of the Agents protocol, from opening to close.
 *
 * It answers pings and drops the late audio of an interrupted turn itself; everything else is handed up, typed. What
 * is sent before the server has said that the conversation stands waits, and is sent then.
 */

import { pong, readFrame, userAudio } from "./protocol.js";
import { Pulse } from "./pulse.js";

const READY_TIMEOUT_MILLISECONDS = 15_000;
const QUEUE_TIMEOUT_MILLISECONDS = 120_000; // the server said that we wait in its queue
const MAXIMUM_BUFFERED_BYTES = 256 * 1024; // about six seconds of microphone at 16 kHz

/** Our own ends of sockets; 4000-4999 are for applications (RFC 6455, 7.4.2). The server never said hello. */
export const SILENT_SERVER = 4000;
/** It said hello, and nothing any more. */
export const DEAD_LINE = 4001;

/**
 * @typedef {object} SocketEvents
 * @property {(event: import("./protocol.js").ServerEvent) => void} onEvent
 * @property {(code: number, reason: string) => void} onClose  exactly once
 */

export class AgentSocket {
  /**
   * @param {string} url
   * @param {object} introduction the first message
   * @param {import("./continuity.js").Continuity} continuity
   * @param {SocketEvents} events
   */
  constructor(url, introduction, continuity, events) {
    this.url = url;
    this.introduction = introduction;
    this.continuity = continuity;
    this.events = events;
    this.closed = false;
    this.ready = false;
    this.pulse = new Pulse(() => this.#giveUp(DEAD_LINE, "nothing comes any more"));
  }

  open() {
    this.socket = new WebSocket(this.url, ["convai"]);
    this.socket.onopen = () => this.#transmit(this.introduction);
    this.socket.onmessage = ({ data }) => this.#receive(data);
    this.socket.onclose = ({ code, reason }) => this.#finish(code, reason);
    this.#expectHelloWithin(READY_TIMEOUT_MILLISECONDS);
  }

  /** @param {object} message */
  send(message) {
    this.continuity.noteSent(message);
    if (this.ready) this.#transmit(message);
  }

  /**
   * Send microphone audio, unless the network is so slow that it would only be heard when it is no longer true.
   * @param {string} base64
   */
  sendAudio(base64) {
    if (this.ready && this.socket && this.socket.bufferedAmount < MAXIMUM_BUFFERED_BYTES) {
      this.#transmit(userAudio(base64));
    }
  }

  /** Say goodbye; nothing is reported afterwards. */
  close() {
    this.#rest();
    this.socket?.close(1000, "User ended conversation");
  }

  /** @param {object} message */
  #transmit(message) {
    if (this.socket?.readyState === WebSocket.OPEN) this.socket.send(JSON.stringify(message));
  }

  /** @param {unknown} data */
  #receive(data) {
    if (this.closed) return;
    const frame = readFrame(data);
    const { event } = frame;
    this.continuity.noteReceived(frame);
    this.pulse.beat(event?.type === "ping");
    if (!event) return;
    if (event.type === "ping") this.send(pong(event.eventId));
    else if (event.type === "audio" && event.eventId <= this.continuity.interruptedUpTo) return;
    else this.#handUp(event);
  }

  /** @param {import("./protocol.js").ServerEvent} event */
  #handUp(event) {
    if (event.type === "queue_status") this.#expectHelloWithin(QUEUE_TIMEOUT_MILLISECONDS);
    if (event.type === "metadata") this.#begin(0);
    if (event.type === "connection_resumed") this.#begin(event.received);
    this.events.onEvent(event);
  }

  /** @param {number} arrived how many of our messages the server has already */
  #begin(arrived) {
    if (this.ready) return;
    this.ready = true;
    clearTimeout(this.timer);
    for (const message of this.continuity.sentAfter(arrived)) this.#transmit(message);
  }

  /** @param {number} milliseconds */
  #expectHelloWithin(milliseconds) {
    clearTimeout(this.timer);
    if (!this.ready) this.timer = setTimeout(() => this.#giveUp(SILENT_SERVER, "no metadata"), milliseconds);
  }

  /** @param {number} code @param {string} reason */
  #giveUp(code, reason) {
    this.socket?.close(code, reason);
    this.#finish(code, "");
  }

  /** @param {number} code @param {string} reason */
  #finish(code, reason) {
    if (this.closed) return;
    this.#rest();
    this.events.onClose(code, reason);
  }

  #rest() {
    this.closed = true;
    clearTimeout(this.timer);
    this.pulse.stop();
  }
}
