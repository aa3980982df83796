// @ts-check
/**
 * Keeps a person connected to an agent: ticket, socket, and new ones when the connection is lost.
 *
 * The key decision: only closes that speak of the transport are tried again. What the server refused once it would
 * refuse six times, and the person waits for nothing.
 */

import { delayBeforeTry, isTransientClose, MAXIMUM_TRIES } from "./backoff.js";
import { ConversationError, fromClose, unreachable } from "./failure.js";
import { AgentSocket, SILENT_SERVER } from "./socket.js";
import { requestTicket } from "./ticket.js";

const STABLE_MILLISECONDS = 10_000; // a connection that lived this long gives the tries back

/**
 * @typedef {object} SessionEvents
 * @property {(event: import("./protocol.js").ServerEvent) => void} onEvent
 * @property {(failure: import("./failure.js").Failure) => void} onLost  and a new connection is being tried
 * @property {(reason: string) => void} onEnded  by the agent
 * @property {(failure: import("./failure.js").Failure) => void} onFailed  and nothing is being tried
 */

export class Session {
  /**
   * @param {import("./protocol.js").PageFacts} page
   * @param {SessionEvents} events
   */
  constructor(page, events) {
    this.page = page;
    this.events = events;
    this.tries = 0;
    this.conversationId = "";
    this.errorMessage = "";
    this.abort = new AbortController();
    /** @type {AgentSocket | null} */
    this.socket = null;
  }

  /** Connect; what comes of it is told by the events. */
  start() {
    void this.#connect();
  }

  /** Leave for good, silently. */
  end() {
    this.abort.abort();
    clearTimeout(this.retryTimer);
    this.socket?.close();
    this.socket = null;
  }

  /** @param {object} event */
  send(event) {
    this.socket?.send(event);
  }

  /** @param {string} base64 */
  sendAudio(base64) {
    this.socket?.sendAudio(base64);
  }

  async #connect() {
    try {
      const signedUrl = await requestTicket(this.abort.signal);
      if (!this.abort.signal.aborted) this.#openSocket(signedUrl);
    } catch (error) {
      if (this.abort.signal.aborted) return;
      const failure = error instanceof ConversationError ? error.failure : unreachable();
      this.#recover(failure, failure.transient && this.tries > 0);
    }
  }

  /** @param {string} signedUrl */
  #openSocket(signedUrl) {
    this.errorMessage = "";
    this.readyAt = Infinity;
    this.socket = new AgentSocket(signedUrl, this.page, {
      onEvent: (event) => this.#receive(event),
      onClose: (code, reason) => this.#closed(code, reason),
    });
    this.socket.open();
  }

  /** @param {import("./protocol.js").ServerEvent} event */
  #receive(event) {
    if (event.type === "metadata") {
      this.conversationId = event.conversationId;
      this.readyAt = Date.now();
    }
    if (event.type === "error") this.errorMessage = event.message;
    this.events.onEvent(event);
  }

  /** @param {number} code @param {string} reason */
  #closed(code, reason) {
    this.socket = null;
    if (code === 1000) return this.events.onEnded(this.errorMessage || reason);
    if (Date.now() - (this.readyAt ?? Infinity) > STABLE_MILLISECONDS) this.tries = 0;
    const failure = fromClose(code, reason, this.errorMessage, this.conversationId);
    if (code === SILENT_SERVER) failure.reason = "silent";
    // Before the first hello, 1006 means "there is no such door"; only a server that says it is busy is tried again.
    const wasConnected = this.conversationId !== "";
    this.#recover(failure, isTransientClose(code) && (wasConnected || code === 1012 || code === 1013));
  }

  /** @param {import("./failure.js").Failure} failure @param {boolean} tryAgain */
  #recover(failure, tryAgain) {
    if (!tryAgain || this.tries >= MAXIMUM_TRIES) return this.events.onFailed(this.#withId(failure));
    this.events.onLost(this.#withId(failure));
    this.retryTimer = setTimeout(() => void this.#connect(), delayBeforeTry(this.tries, Math.random));
    this.tries += 1;
  }

  /** @param {import("./failure.js").Failure} failure */
  #withId(failure) {
    return { ...failure, id: failure.id || this.conversationId };
  }
}
