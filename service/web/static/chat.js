// @ts-check
/**
 * The conversation of one page: what the server, the audio and the person do, brought together.
 *
 * The key decision: everything that happens becomes one step of the state machine or one line of the dialogue, and
 * the views only show those two. No view asks another view anything.
 */

import { decodeAudio, DEFAULT_FORMAT, parseFormat } from "./audio/format.js";
import { VoiceInput } from "./audio/voice-input.js";
import { VoiceOutput } from "./audio/voice-output.js";
import { Dialogue } from "./conversation/dialogue.js";
import { feedback, toolResult, userActivity, userMessage } from "./conversation/protocol.js";
import { Session } from "./conversation/session.js";
import { INITIAL_STATE, next, withVoice } from "./conversation/state.js";
import { runTool } from "./conversation/tools.js";

const VOICELESS_AFTER_MILLISECONDS = 1500; // an answer without audio by then is there to be read

/**
 * @typedef {import("./view/talk-control.js").TalkMode} TalkMode
 * @typedef {import("./conversation/failure.js").Failure} Failure
 * @typedef {import("./conversation/session.js").Outage} Outage
 * @typedef {import("./conversation/dialogue.js").Turn} Turn
 * @typedef {import("./i18n/translate.js").TextKey} TextKey
 * @typedef {{hears: boolean, holds: boolean, voiceless: boolean, waiting: boolean}} Manner
 * @typedef {object} ChatView
 * @property {(state: import("./conversation/state.js").State, manner: Manner) => void} showState
 * @property {(turn: Turn) => void} showTurn
 * @property {(conversation: number, id: string) => void} showConversation
 * @property {(turn: Turn) => void} hideTurn
 * @property {(outage: Outage | null) => void} showOutage  of a conversation that is to go on; null: there is none
 * @property {() => void} showReturn  the person knew of an outage, and it is over
 * @property {(failure: Failure) => void} showFailure
 * @property {(mode: TalkMode) => void} showTalkMode
 * @property {(key: TextKey | null) => void} advise
 * @property {(text: string) => void} announce
 * @property {(peak: number) => void} showInputLevel
 * @property {(peak: number) => void} showOutputLevel
 */

export class Chat {
  /**
   * @param {ChatView} view
   * @param {{facts: import("./conversation/protocol.js").PageFacts, language: string, text: (key: TextKey) => string}} page
   */
  constructor(view, { facts, language, text }) {
    this.view = view;
    this.facts = facts;
    this.text = text;
    this.state = INITIAL_STATE;
    /** @type {Manner} */
    this.manner = { hears: false, holds: false, voiceless: false, waiting: false };
    this.heardKey = 0;
    this.outputFormat = parseFormat(DEFAULT_FORMAT);
    this.dialogue = new Dialogue({
      onTurn: (turn) => view.showTurn(turn),
      onGone: (turn) => view.hideTurn(turn),
      onSentence: (sentence) => view.announce(sentence),
    }, language);
    this.output = this.#newOutput();
    this.input = this.#newInput();
    /** @type {Session | null} */
    this.session = null;
    /** @type {TalkMode} as the person last wished */
    this.wish = "open";
  }

  // --- What the person does ----------------------------------------------------------------------------------------

  /**
   * Begin; must run inside a click, which is what lets the page make sound.
   * @param {TalkMode} mode
   */
  async start(mode) {
    if (this.session) return;
    this.#happened("start");
    this.view.advise(null);
    const session = this.#newSession();
    this.session = session;
    if (!await this.output.prepare()) this.view.advise("sound_unavailable");
    if (this.session !== session) return; // ended again while the audio thread loaded
    session.start();
    await this.setTalkMode(mode);
  }

  /** The person does not want to wait for the lost connection: begin anew, with the microphone as it is. */
  startAnew() {
    if (this.state.phase !== "reconnecting") return;
    this.session?.end();
    this.output.flush();
    this.dialogue.interrupt();
    this.view.showOutage(null);
    this.#happened("start");
    this.session = this.#newSession();
    this.session.start();
  }

  /** The person ends it. */
  end() {
    this.dialogue.interrupt();
    this.dialogue.notice(this.text("ended_by_you"));
    this.#stop("ended");
  }

  /** The page goes away. */
  leave() {
    this.session?.end();
  }

  /**
   * @param {string} text
   * @returns {boolean} false if the agent has just hung up: the words stay with the person
   */
  sendMessage(text) {
    if (!this.session || this.afterLastWord) return false;
    this.dialogue.userTyped(text);
    this.session.send(userMessage(text));
    this.#happened("user_spoke");
    return true;
  }

  sendActivity() {
    this.session?.send(userActivity());
  }

  /** @param {number} eventId @param {"like" | "dislike" | null} score */
  sendFeedback(eventId, score) {
    this.session?.send(feedback(eventId, score));
  }

  /** @param {TalkMode} mode */
  async setTalkMode(mode) {
    this.wish = mode;
    await this.input.setMode(mode, this.output.context);
  }

  /** Back in the foreground. */
  wake() {
    if (this.session) this.output.wake();
  }

  // --- What the server says ----------------------------------------------------------------------------------------

  #newSession() {
    return new Session(this.facts, {
      onEvent: (event) => this.#receive(event),
      onLost: (outage) => this.#lost(outage),
      onResumed: () => this.#resumed(),
      onEnded: (reason) => this.#endedByAgent(reason),
      onFailed: (failure) => this.#failed(failure),
    });
  }

  /** @param {import("./conversation/protocol.js").ServerEvent} event */
  #receive(event) {
    switch (event.type) {
      case "metadata": return this.#connected(event);
      case "audio": return this.#agentVoiced(event);
      case "agent_response": return this.#agentSaid(event.eventId, event.text);
      case "agent_response_part": return this.#agentWrote(event);
      case "agent_response_correction":
        return this.dialogue.correct(event.eventId, event.original, event.corrected);
      case "user_transcript": return this.#userSpoke(event.text);
      case "tentative_user_transcript": return void this.dialogue.userSpoke(event.text, false);
      case "interruption": return this.#interrupted();
      case "client_tool_call": return this.#runTool(event);
      case "agent_changed": return this.#agentChanged(event);
      case "connection_discontinuity": return this.#missed(event.history);
      case "queue_status": return this.#queued(event.status === "waiting");
    }
  }

  /** @param {{conversationId: string, outputFormat: string, inputFormat: string}} event */
  #connected({ conversationId, outputFormat, inputFormat }) {
    try {
      this.outputFormat = parseFormat(outputFormat || DEFAULT_FORMAT);
      this.input.setFormat(parseFormat(inputFormat || DEFAULT_FORMAT));
    } catch (error) {
      const message = error instanceof Error ? error.message : "";
      return this.#failed({ reason: "misconfigured", message, id: conversationId, transient: false });
    }
    if (this.dialogue.conversation > 0) this.#sayThatItIsNew();
    this.dialogue.beginConversation();
    this.view.showConversation(this.dialogue.conversation, conversationId);
    this.#setManner({ voiceless: false, waiting: false });
    this.#happened("ready");
  }

  #sayThatItIsNew() {
    this.#say(this.state.phase === "reconnecting" ? "new_conversation" : "started_again");
  }

  /** A line of ours, to be read and to be heard. @param {TextKey} key */
  #say(key) {
    this.dialogue.notice(this.text(key));
    this.view.announce(this.text(key));
  }

  /** @param {{eventId: number, base64: string, alignment: import("./conversation/protocol.js").Alignment | null}} event */
  #agentVoiced({ eventId, base64, alignment }) {
    if (!this.output.isAvailable) return;
    const samples = samplesOf(base64, this.outputFormat);
    const milliseconds = (samples.length / this.outputFormat.rate) * 1000;
    const key = this.dialogue.agentVoiced(eventId, milliseconds, alignment);
    this.#setManner({ voiceless: false });
    this.output.play(key, samples, this.outputFormat.rate);
  }

  /** @param {number} eventId @param {string} text */
  #agentSaid(eventId, text) {
    const turn = this.dialogue.agentSaid(eventId, text);
    if (!this.output.isAvailable || this.manner.voiceless) return this.#readAnswer(turn);
    setTimeout(() => {
      if (turn.track.audioMilliseconds === 0) this.#readAnswer(turn);
    }, VOICELESS_AFTER_MILLISECONDS);
  }

  /** @param {Turn} turn that is there to be read, not heard */
  #readAnswer(turn) {
    if (turn.state !== "speaking" || turn.conversation !== this.dialogue.conversation) return;
    this.#happened("agent_started");
    this.dialogue.finish(turn);
    this.#happened("agent_finished");
  }

  /** @param {{eventId: number, part: "start" | "delta" | "stop", text: string}} event */
  #agentWrote({ eventId, part, text }) {
    this.#setManner({ voiceless: true });
    if (part !== "stop") this.#happened("agent_started");
    if (text) this.dialogue.agentWrote(eventId, text);
    if (part === "stop") this.#happened("agent_finished");
  }

  /** @param {string} text */
  #userSpoke(text) {
    if (this.dialogue.userSpoke(text, true)) this.#happened("user_spoke");
  }

  #interrupted() {
    this.output.flush();
    this.dialogue.interrupt();
    this.#happened("interrupted");
  }

  /** @param {{name: string, callId: string, parameters: Record<string, unknown>}} call */
  #runTool({ name, callId, parameters }) {
    const { result, isError } = runTool(name, parameters);
    this.session?.send(toolResult(callId, result, isError));
  }

  /** @param {{voice: "backup" | "elevenlabs", spliced: boolean}} event */
  #agentChanged({ voice, spliced }) {
    this.dialogue.changeVoice(spliced);
    this.#say(voice === "backup" ? "backup_on" : "backup_off");
    this.state = withVoice(this.state, voice);
    this.#show();
  }

  /** Events were missed for good. @param {import("./conversation/protocol.js").Said[]} history */
  #missed(history) {
    this.dialogue.adopt(history);
    this.#say("words_missed");
  }

  /** @param {boolean} waiting */
  #queued(waiting) {
    this.#setManner({ waiting });
    if (waiting) this.view.announce(this.text("state_waiting"));
  }

  // --- How it stops ------------------------------------------------------------------------------------------------

  /** @param {Outage | null} outage */
  #lost(outage) {
    this.view.showOutage(outage);
    this.#happened("connection_lost");
  }

  #resumed() {
    const wasNoticed = this.state.phase === "reconnecting";
    this.view.showOutage(null);
    this.#happened("resumed");
    this.output.settleAnew();
    if (wasNoticed) this.view.showReturn();
  }

  /** @param {string} reason */
  #endedByAgent(reason) {
    const finish = () => {
      this.dialogue.settle();
      const words = this.text("ended_by_agent");
      this.dialogue.notice(/exceeded|limit/i.test(reason) ? `${words} (${reason})` : words);
      this.#stop("ended");
    };
    if (!this.output.isSounding) return finish();
    this.afterLastWord = finish; // the goodbye is still being heard: end when it is
  }

  /** @param {Failure} failure */
  #failed(failure) {
    this.dialogue.interrupt();
    this.#stop("failed");
    this.view.showFailure(failure);
  }

  /** @param {"ended" | "failed"} how */
  #stop(how) {
    this.session?.end();
    this.session = null;
    this.afterLastWord = undefined;
    this.view.showOutage(null);
    this.input.close();
    this.output.rest();
    this.#happened(how);
  }

  // --- Voices ------------------------------------------------------------------------------------------------------

  #newOutput() {
    return new VoiceOutput({
      onHeard: (key, milliseconds) => this.#heard(key, milliseconds),
      onPause: () => this.#paused(),
      onSettled: (forGood) => {
        if (!this.session?.isInterrupted) this.dialogue.settle(forGood);
      },
      onLevel: (peak) => this.view.showOutputLevel(peak),
    });
  }

  #newInput() {
    return new VoiceInput({
      onChunk: (base64) => this.session?.sendAudio(base64),
      onLevel: (peak) => this.view.showInputLevel(peak),
      onMode: (mode) => this.#talkModeIs(mode),
      onProblem: (problem) => this.view.advise(problem && `microphone_${problem}`),
    });
  }

  /** @param {number} key @param {number} milliseconds */
  #heard(key, milliseconds) {
    if (!this.dialogue.heard(key, milliseconds)) return false;
    // An answer that is still heard while the next question is thought about is not the next answer.
    if (key !== this.heardKey || this.state.phase === "listening") this.#happened("agent_started");
    this.heardKey = key;
    return true;
  }

  #paused() {
    this.#happened("agent_finished");
    this.afterLastWord?.();
  }

  /** @param {TalkMode} mode */
  #talkModeIs(mode) {
    this.view.showTalkMode(mode);
    this.#setManner({ hears: mode !== "off", holds: mode === "hold" });
  }

  // --- State -------------------------------------------------------------------------------------------------------

  /** @param {import("./conversation/state.js").Happening} happening */
  #happened(happening) {
    const state = next(this.state, happening);
    if (state === this.state) return;
    this.state = state;
    this.#show();
  }

  /** @param {Partial<Manner>} change */
  #setManner(change) {
    const manner = { ...this.manner, ...change };
    // Every chunk of audio says again that the agent has a voice.
    if (JSON.stringify(manner) === JSON.stringify(this.manner)) return;
    this.manner = manner;
    this.#show();
  }

  #show() {
    this.view.showState(this.state, this.manner);
  }
}

/**
 * A broken chunk is a gap in the voice, not the end of the talk.
 * @param {string} base64 @param {import("./audio/format.js").AudioFormat} format
 */
function samplesOf(base64, format) {
  try {
    return decodeAudio(base64, format);
  } catch {
    return new Float32Array(0);
  }
}
