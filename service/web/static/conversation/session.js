// @ts-check
/**
 * Keeps a person connected to an agent: ticket, socket, and new ones when the connection is lost.
 *
 * The key decision: a server that gave us a token is asked to go on with the same conversation for as long as it
 * waits for us; any other one gives a new conversation, and only if the close speaks of the transport. What the server
 * refused once it would refuse six times, and the person waits for nothing.
 */

import { delayBeforeTry, isTransientClose, MAXIMUM_TRIES } from "./backoff.js";
import { Continuity } from "./continuity.js";
import { ConversationError, fromClose, fromRefusedResumption, unreachable } from "./failure.js";
import { browserNetwork } from "./network.js";
import { conversationUrl, initiation, resumption, resumptionUrl } from "./protocol.js";
import { Reconnection } from "./reconnection.js";
import { AgentSocket, DEAD_LINE, SILENT_SERVER } from "./socket.js";
import { requestTicket } from "./ticket.js";

const STABLE_MILLISECONDS = 10_000; // a connection that lived this long gives the tries back

/**
 * @typedef {import("./failure.js").Failure} Failure
 * @typedef {"lost" | "restart" | "maintenance"} Cause  as far as the server told us
 * @typedef {{endsAt: number, milliseconds: number, cause: Cause}} Outage
 *   `endsAt`: until then (Date.now()) we try; `milliseconds`: how long that is in all
 * @typedef {object} SessionEvents
 * @property {(event: import("./protocol.js").ServerEvent) => void} onEvent
 * @property {(outage: Outage | null) => void} onLost  and a connection is being tried: for the same conversation, if
 *   there is an outage to tell of (told again when more is known of it), else for a new one
 * @property {() => void} onResumed  the same conversation goes on
 * @property {(reason: string) => void} onEnded  by the agent
 * @property {(failure: Failure) => void} onFailed  and nothing is being tried
 */

export class Session {
  /**
   * @param {import("./protocol.js").PageFacts} page
   * @param {SessionEvents} events
   * @param {import("./network.js").Network} [network]
   */
  constructor(page, events, network = browserNetwork) {
    this.page = page;
    this.events = events;
    this.network = network;
    this.tries = 0;
    this.conversationId = "";
    this.errorMessage = "";
    this.resumptionUrl = "";
    this.readyAt = Infinity;
    /** @type {number | null} milliseconds after which a server that restarts wants us back */
    this.hint = null;
    this.continuity = new Continuity();
    this.abort = new AbortController();
    /** @type {AgentSocket | null} */
    this.socket = null;
    /** @type {Reconnection | null} while the same conversation is to be gone on with */
    this.reconnection = null;
  }

  /** Connect; what comes of it is told by the events. */
  start() {
    void this.#connect();
  }

  /** Leave for good, silently. */
  end() {
    this.abort.abort();
    clearTimeout(this.retryTimer);
    this.#stopReconnection();
    this.socket?.close();
    this.socket = null;
  }

  /** Whether the conversation stands and only its connection is missing: what is missing may still come. */
  get isInterrupted() {
    return this.reconnection !== null;
  }

  /** @param {object} message  which is kept for the next socket if there is none now */
  send(message) {
    if (this.socket) this.socket.send(message);
    else this.continuity.noteSent(message);
  }

  /** @param {string} base64  which is dropped if there is no socket: nobody wants to hear it later */
  sendAudio(base64) {
    this.socket?.sendAudio(base64);
  }

  // --- A new conversation ------------------------------------------------------------------------------------------

  async #connect() {
    try {
      const signedUrl = await requestTicket(this.abort.signal);
      if (this.abort.signal.aborted) return;
      this.continuity = new Continuity();
      this.resumptionUrl = resumptionUrl(signedUrl);
      this.#openSocket(conversationUrl(signedUrl, this.page.version), initiation(this.page));
    } catch (error) {
      if (this.abort.signal.aborted) return;
      const failure = error instanceof ConversationError ? error.failure : unreachable();
      this.#connectAgain(failure, failure.transient && this.tries > 0);
    }
  }

  /** @param {Failure} failure @param {boolean} tryAgain */
  #connectAgain(failure, tryAgain) {
    if (!tryAgain || this.tries >= MAXIMUM_TRIES) return this.#fail(failure);
    this.events.onLost(null);
    this.retryTimer = setTimeout(() => void this.#connect(), delayBeforeTry(this.tries, Math.random));
    this.tries += 1;
  }

  // --- The same conversation ---------------------------------------------------------------------------------------

  /** @param {Failure} failure that is told if it cannot be mended */
  #reconnect(failure) {
    const milliseconds = this.continuity.patienceMilliseconds;
    this.failure = failure;
    /** @type {Outage} */
    this.outage = { endsAt: Date.now() + milliseconds, milliseconds, cause: this.hint === null ? "lost" : "restart" };
    const plan = { limitMilliseconds: milliseconds, tries: this.tries, hintMilliseconds: this.hint };
    this.reconnection = new Reconnection(plan, {
      onTry: () => this.#openSocket(this.resumptionUrl, resumption(this.continuity)),
      onNoticed: () => this.events.onLost(this.outage ?? null),
      onOver: () => this.#fail(this.failure ?? failure),
    }, this.network);
    this.hint = null;
    this.reconnection.start();
  }

  /** @param {Reconnection} reconnection @param {Failure} failure of one try, that the next one may not meet */
  #tryLater(reconnection, failure) {
    // Operators may be done before the conversation is given up; if they are not, that is what to say.
    if (failure.reason === "maintenance" && this.outage) {
      this.failure = failure;
      this.outage = { ...this.outage, cause: "maintenance" };
      if (reconnection.noticed) this.events.onLost(this.outage);
    }
    reconnection.failed();
  }

  #resumed() {
    this.tries = this.reconnection?.tries ?? this.tries;
    this.#stopReconnection();
    this.events.onResumed();
  }

  #stopReconnection() {
    this.reconnection?.stop();
    this.reconnection = null;
  }

  // --- The socket --------------------------------------------------------------------------------------------------

  /** @param {string} url @param {object} introduction */
  #openSocket(url, introduction) {
    this.errorMessage = "";
    this.readyAt = Infinity;
    this.socket = new AgentSocket(url, introduction, this.continuity, {
      onEvent: (event) => this.#receive(event),
      onClose: (code, reason) => this.#closed(code, reason),
    });
    this.socket.open();
  }

  /** @param {import("./protocol.js").ServerEvent} event */
  #receive(event) {
    if (event.type === "metadata") this.conversationId = event.conversationId;
    if (event.type === "metadata" || event.type === "connection_resumed") this.readyAt = Date.now();
    if (event.type === "connection_resumed") this.#resumed();
    if (event.type === "connection_draining") this.hint = event.seconds * 1000;
    if (event.type === "error") this.errorMessage = event.message;
    this.events.onEvent(event);
  }

  /** @param {number} code @param {string} reason */
  #closed(code, reason) {
    this.socket = null;
    if (code === 1000) return this.#endedByAgent(reason);
    if (Date.now() - this.readyAt > STABLE_MILLISECONDS) this.tries = 0;
    const failure = fromClose(code, reason, this.errorMessage, this.conversationId);
    if (code === SILENT_SERVER) failure.reason = "silent";
    if (code === DEAD_LINE) failure.reason = "lost";
    const isTransient = isTransientClose(code) || code === DEAD_LINE;
    if (this.reconnection) {
      if (isTransient || code === SILENT_SERVER) return this.#tryLater(this.reconnection, failure);
      if (code !== 1008) return this.#fail(failure);
      // A server that said why it ended the conversation has said more than that it is over.
      return this.#fail(this.failure?.message ? this.failure : fromRefusedResumption(this.conversationId));
    }
    if (this.continuity.canResume && isTransient) return this.#reconnect(failure);
    // Before the first hello, 1006 means "there is no such door"; only a server that says it is busy is tried again.
    const wasConnected = this.conversationId !== "";
    this.#connectAgain(failure, isTransient && (wasConnected || code === 1012 || code === 1013));
  }

  /** @param {string} reason */
  #endedByAgent(reason) {
    this.#stopReconnection();
    this.events.onEnded(this.errorMessage || reason);
  }

  /** @param {Failure} failure */
  #fail(failure) {
    this.#stopReconnection();
    this.socket?.close();
    this.socket = null;
    this.events.onFailed({ ...failure, id: failure.id || this.conversationId });
  }
}
