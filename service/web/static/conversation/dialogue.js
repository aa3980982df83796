// @ts-check
/**
 * Who said what, and how much of it was really heard. Pure: no page, no clock of its own.
 *
 * The key decision: an answer grows in the record only as it is heard. What was cut off by an interruption was never
 * said, so neither the page nor the copied transcript shows it.
 */

import { CaptionTrack } from "../captions/caption-track.js";
import { sentencesOf } from "../captions/sentences.js";
import { matchHistory } from "./history.js";

/**
 * @typedef {"tentative" | "speaking" | "done" | "interrupted"} TurnState
 * @typedef {object} Turn
 * @property {number} id  unique in this page, and higher than that of everything above it
 * @property {number} conversation  counts up with every new connection
 * @property {"user" | "agent" | "notice"} speaker
 * @property {string} text
 * @property {number} shown  characters of the text that were heard or are simply there to read
 * @property {TurnState} state
 * @property {number} eventId  of the server
 * @property {number} announced  characters already told to a screen reader
 * @property {Date} at
 * @property {CaptionTrack} track
 * @property {boolean} typed
 */

export class Dialogue {
  /**
   * @param {{onTurn: (turn: Turn) => void, onGone: (turn: Turn) => void, onSentence: (sentence: string) => void}} events
   *   `onTurn`: a turn is new or changed; `onGone`: it is none any more; `onSentence`: a whole sentence of the agent
   *   has been heard
   * @param {string} language
   */
  constructor(events, language) {
    this.events = events;
    this.language = language;
    /** @type {Turn[]} */
    this.turns = [];
    this.conversation = 0;
    /** Whether the agent's latest turn can still grow: the person has said nothing since. */
    this.agentMayContinue = false;
  }

  beginConversation() {
    this.conversation += 1;
    this.agentMayContinue = false;
  }

  /** @param {string} text of ours, not of the conversation */
  notice(text) {
    this.#change(this.#add("notice", text, { state: "done", shown: text.length }));
  }

  /** @param {string} text */
  userTyped(text) {
    this.agentMayContinue = false;
    this.#change(this.#add("user", text, { state: "done", shown: text.length, typed: true }));
  }

  /**
   * @param {string} text recognised so far, or for good
   * @param {boolean} isFinal
   * @returns {boolean} false if it only repeats what was just typed, or is empty
   */
  userSpoke(text, isFinal) {
    const last = this.#lastOfUser();
    if (text.trim() === "" || (last?.typed && last === this.turns.at(-1) && last.text === text)) return false;
    const turn = last?.state === "tentative" ? last : this.#add("user", text);
    Object.assign(turn, { text, shown: text.length, state: isFinal ? "done" : "tentative" });
    if (isFinal) this.agentMayContinue = false;
    this.#change(turn);
    return true;
  }

  /**
   * @param {number} eventId @param {string} text the whole answer
   * @returns {Turn}
   */
  agentSaid(eventId, text) {
    const turn = this.#agentTurn(eventId, (candidate) => candidate.text === "" || candidate.eventId === eventId);
    if (turn.state !== "interrupted") this.#setText(turn, text);
    return turn;
  }

  /** @param {number} eventId @param {string} text one piece of an answer that is only written */
  agentWrote(eventId, text) {
    const turn = this.#agentTurn(eventId, (candidate) => candidate.eventId === eventId);
    this.#setText(turn, turn.text + text);
    this.#show(turn, turn.text.length);
  }

  /**
   * @param {number} eventId @param {number} milliseconds
   * @param {import("./protocol.js").Alignment | null} alignment
   * @returns {number} the turn's id, which is the key to play the audio with
   */
  agentVoiced(eventId, milliseconds, alignment) {
    const turn = this.#agentTurn(eventId, () => true);
    turn.track.addAudio(milliseconds, alignment);
    return turn.id;
  }

  /**
   * @param {number} id of the turn
   * @param {number} milliseconds of it that were heard
   * @returns {boolean} false for the last reports of a turn that was interrupted meanwhile
   */
  heard(id, milliseconds) {
    const turn = this.turns.find((candidate) => candidate.id === id);
    if (!turn || turn.state === "interrupted") return false;
    for (const earlier of this.#unfinished()) if (earlier.id < id) this.finish(earlier);
    const length = turn.track.spokenLength(milliseconds);
    if (turn.state === "speaking" && length > turn.shown) this.#show(turn, length);
    return true;
  }

  /**
   * Everything that arrived has been heard.
   * @param {boolean} forGood  even what has evidently broken off is not waited for any more
   */
  settle(forGood = true) {
    for (const turn of this.#unfinished()) {
      if (turn.track.audioMilliseconds > 0 && (forGood || turn.track.isComplete)) this.finish(turn);
    }
  }

  /** Another voice speaks from now on. @param {boolean} finishesAnswer that the voice before it has begun */
  changeVoice(finishesAnswer) {
    if (!finishesAnswer) this.agentMayContinue = false;
    else if (this.agentMayContinue) this.#ofConversation("agent").at(-1)?.track.changeVoice();
  }

  /** @param {Turn} turn of which nothing more is to be waited for */
  finish(turn) {
    if (turn.state !== "speaking" || turn.text === "") return;
    turn.state = "done";
    this.#show(turn, turn.text.length);
  }

  /** The person cut in: what was not heard was not said. */
  interrupt() {
    this.agentMayContinue = false;
    for (const turn of this.#unfinished()) {
      turn.state = "interrupted";
      this.#change(turn);
    }
  }

  /** @param {number} eventId @param {string} original @param {string} corrected what the server knows was said */
  correct(eventId, original, corrected) {
    const agents = this.#ofConversation("agent");
    const turn = agents.findLast((candidate) => candidate.eventId === eventId)
      ?? agents.findLast((candidate) => candidate.text === original);
    if (!turn) return;
    Object.assign(turn, { text: corrected, shown: corrected.length, state: "interrupted" });
    this.#change(turn);
  }

  /**
   * Make this conversation's turns equal to what the server knows was said; what is the same stays as it is.
   * @param {import("./protocol.js").Said[]} history  empty where the server keeps no words: then ours are all there is
   */
  adopt(history) {
    if (history.length === 0) return;
    const own = this.turns.filter((turn) => turn.conversation === this.conversation && turn.speaker !== "notice");
    const matches = matchHistory(own, history);
    const first = own.findIndex((turn) => matches.includes(turn));
    const last = own.findLastIndex((turn) => matches.includes(turn));
    // What was typed last is on its way to the server; what was said before the history begins is not denied by it.
    const unsent = own.filter((turn, index) => index > last && turn.typed);
    const earlier = own.slice(0, Math.max(0, first));
    const kept = new Set([...matches, ...unsent, ...earlier]);
    for (const turn of own) if (!kept.has(turn)) this.#remove(turn);
    history.forEach((said, index) => {
      const match = matches[index];
      if (match) this.#amend(match, said.text);
      else this.#insert(said, matches.slice(index + 1).find((turn) => turn !== undefined) ?? unsent[0]);
    });
    this.agentMayContinue = unsent.length === 0 && history[history.length - 1].speaker === "agent";
  }

  /**
   * What was really said, as plain text.
   * @param {Record<"user" | "agent" | "notice", string>} names
   */
  asText(names) {
    return this.turns
      .filter((turn) => turn.shown > 0)
      .map((turn) => `[${turn.at.toTimeString().slice(0, 8)}] ${names[turn.speaker]}: ${saidOf(turn)}`)
      .join("\n");
  }

  /** @param {number} eventId @param {(turn: Turn) => boolean} isOpenFor */
  #agentTurn(eventId, isOpenFor) {
    const agents = this.#ofConversation("agent");
    const latest = agents.at(-1);
    // Some servers number every chunk of audio, others every turn: an unknown id continues what is still open.
    const found = agents.findLast((turn) => turn.eventId === eventId && isOpenFor(turn))
      ?? (this.agentMayContinue && latest && isOpenFor(latest) ? latest : undefined);
    this.agentMayContinue = true;
    return found ?? this.#add("agent", "", { eventId });
  }

  #unfinished() {
    return this.turns.filter((turn) => turn.speaker === "agent" && turn.state === "speaking");
  }

  #lastOfUser() {
    return this.#ofConversation("user").at(-1);
  }

  /** @param {Turn["speaker"]} speaker */
  #ofConversation(speaker) {
    return this.turns.filter((turn) => turn.speaker === speaker && turn.conversation === this.conversation);
  }

  /** @param {Turn} turn @param {string} text */
  #setText(turn, text) {
    turn.text = text;
    turn.track.setText(text);
    this.#change(turn);
  }

  /** @param {Turn} turn @param {number} length */
  #show(turn, length) {
    turn.shown = length;
    this.#change(turn);
    for (const { start, end } of sentencesOf(turn.text, this.language)) {
      if (end > length || end <= turn.announced || (end === turn.text.length && turn.state !== "done")) continue;
      turn.announced = end;
      this.events.onSentence(turn.text.slice(start, end).trim());
    }
  }

  /** @param {Turn} turn @param {string} text  that the server knows of it */
  #amend(turn, text) {
    if (turn.text === text && turn.state !== "tentative") return;
    const isCutOff = turn.speaker === "agent" && text.length < turn.text.length;
    const isGrowing = turn.state === "speaking" && !isCutOff;
    turn.track.setText(text);
    Object.assign(turn, { text, state: isCutOff ? "interrupted" : isGrowing ? "speaking" : "done" });
    if (!isGrowing) turn.shown = text.length;
    this.#change(turn);
  }

  /** @param {Turn} turn */
  #remove(turn) {
    this.turns.splice(this.turns.indexOf(turn), 1);
    this.events.onGone(turn);
  }

  /** @param {import("./protocol.js").Said} said @param {Turn | undefined} next  in front of which it was said */
  #insert({ speaker, text }, next) {
    const turn = this.#make(speaker, text, { state: "done", shown: text.length, announced: text.length });
    const index = next ? this.turns.indexOf(next) : this.turns.length;
    const before = this.turns[index - 1];
    if (next) turn.id = ((before?.id ?? 0) + next.id) / 2;
    if (before) turn.at = before.at;
    this.turns.splice(index, 0, turn);
    this.#change(turn);
  }

  /**
   * @param {Turn["speaker"]} speaker @param {string} text @param {Partial<Turn>} [fields]
   * @returns {Turn}
   */
  #add(speaker, text, fields = {}) {
    const turn = this.#make(speaker, text, fields);
    this.turns.push(turn);
    return turn;
  }

  /**
   * @param {Turn["speaker"]} speaker @param {string} text @param {Partial<Turn>} fields
   * @returns {Turn}
   */
  #make(speaker, text, fields) {
    return {
      id: (this.turns.at(-1)?.id ?? 0) + 1, conversation: this.conversation, speaker, text, shown: 0, state: "speaking",
      eventId: 0, announced: 0, at: new Date(), track: new CaptionTrack(), typed: false, ...fields,
    };
  }

  /** @param {Turn} turn */
  #change(turn) {
    this.events.onTurn(turn);
  }
}

/** @param {Turn} turn @returns {string} its words as far as they were heard */
export function saidOf(turn) {
  const said = turn.text.slice(0, turn.shown).trimEnd();
  return turn.state === "interrupted" && said !== "" && !/[…—-]$/.test(said) ? `${said} …` : said;
}
