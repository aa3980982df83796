// @ts-check
/**
 * What both sides must know to go on with a conversation over another socket: how far each has heard the other.
 *
 * The key decision: everything is counted from the conversation's beginning, over all its sockets, so that the two
 * sides agree about what is missing without ever having talked about it. Pure.
 */

const KEPT_MESSAGES = 50;
const SPOKEN = new Set(["audio", "agent_response", "agent_response_part"]);

export class Continuity {
  constructor() {
    /** The server's permission to go on; empty at a server that does not know how to. */
    this.token = "";
    /** How long the server waits for us after a loss. */
    this.patienceMilliseconds = 0;
    /** Events of the conversation that came; those that concern only a socket do not count. */
    this.received = 0;
    this.lastEventId = 0;
    /** Audio up to this id is of an answer that was cut off. */
    this.interruptedUpTo = -Infinity;
    /** Messages that were to go out, audio and the introduction aside. */
    this.sent = 0;
    /** @type {object[]} the last of them */
    this.kept = [];
  }

  get canResume() {
    return this.token !== "";
  }

  /** @param {import("./protocol.js").ServerFrame} frame */
  noteReceived({ counts, event }) {
    if (counts) this.received += 1;
    if (!event) return;
    if (event.type === "connection_token") {
      this.token = event.token;
      this.patienceMilliseconds = event.seconds * 1000;
    }
    if (event.type === "interruption") this.interruptedUpTo = Math.max(this.interruptedUpTo, event.eventId);
    if (SPOKEN.has(event.type) && "eventId" in event) this.lastEventId = Math.max(this.lastEventId, event.eventId);
  }

  /** @param {object} message that goes out now, or as soon as there is a socket again */
  noteSent(message) {
    this.sent += 1;
    this.kept.push(message);
    if (this.kept.length > KEPT_MESSAGES) this.kept.shift();
  }

  /**
   * @param {number} arrived how many of our messages the server has
   * @returns {object[]} those behind them, as far as they are kept
   */
  sentAfter(arrived) {
    const missing = Math.max(0, this.sent - arrived);
    return missing === 0 ? [] : this.kept.slice(-missing);
  }
}
