// @ts-check
/**
 * The conversation of one page: what the server, the audio and the person do, brought together.
 *
 * The key decision: everything that happens becomes one step of the state machine or one line of the dialogue, and
 * the views only show those two. No view asks another view anything.
 */

import { decodeAudio, DEFAULT_FORMAT, encodeAudio, parseFormat } from "./audio/format.js";
import { peakOf } from "./audio/level.js";
import { Microphone, MicrophoneError } from "./audio/microphone.js";
import { Speaker } from "./audio/speaker.js";
import { Dialogue } from "./conversation/dialogue.js";
import { feedback, toolResult, userActivity, userMessage } from "./conversation/protocol.js";
import { Session } from "./conversation/session.js";
import { INITIAL_STATE, isLive, next, withVoice } from "./conversation/state.js";
import { runTool } from "./conversation/tools.js";

const VOICELESS_AFTER_MILLISECONDS = 1500; // an answer without audio by then is there to be read
const PAUSE_MILLISECONDS = 350; // of silence after which the agent is not speaking any more
const SETTLED_MILLISECONDS = 1200; // of silence after which nothing more is expected

/**
 * @typedef {import("./view/talk-control.js").TalkMode} TalkMode
 * @typedef {import("./conversation/failure.js").Failure} Failure
 * @typedef {import("./i18n/translate.js").TextKey} TextKey
 * @typedef {{hears: boolean, holds: boolean, voiceless: boolean, waiting: boolean}} Manner
 * @typedef {object} ChatView
 * @property {(state: import("./conversation/state.js").State, manner: Manner) => void} showState
 * @property {(turn: import("./conversation/dialogue.js").Turn) => void} showTurn
 * @property {(conversation: number, id: string) => void} showConversation
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
   * @param {{version: string, language: string, text: (key: TextKey) => string}} page
   */
  constructor(view, { version, language, text }) {
    this.view = view;
    this.version = version;
    this.text = text;
    this.state = INITIAL_STATE;
    /** @type {Manner} */
    this.manner = { hears: false, holds: false, voiceless: false, waiting: false };
    /** @type {TalkMode} */
    this.mode = "off";
    this.volume = 1;
    this.muted = false;
    /** @type {AudioContext | undefined} */
    this.context = undefined;
    this.soundingKey = 0;
    this.sounding = false;
    this.inputFormat = parseFormat(DEFAULT_FORMAT);
    this.outputFormat = parseFormat(DEFAULT_FORMAT);
    this.dialogue = new Dialogue({
      onTurn: (turn) => view.showTurn(turn),
      onSentence: (sentence) => view.announce(sentence),
    }, language);
    /** @type {Session | null} */
    this.session = null;
  }

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
    await this.#prepareSound();
    if (this.session !== session) return; // ended again while the audio thread loaded
    session.start();
    await this.setTalkMode(mode);
  }

  /** The person ends it. */
  end() {
    this.speaker?.flush();
    this.dialogue.interrupt();
    this.dialogue.notice(this.text("ended_by_you"));
    this.#stop("ended");
  }

  /** The page goes away. */
  leave() {
    this.session?.end();
  }

  /** @param {string} text */
  sendMessage(text) {
    this.dialogue.userTyped(text);
    this.session?.send(userMessage(text));
    this.#happened("user_spoke");
  }

  sendActivity() {
    this.session?.send(userActivity());
  }

  /** @param {number} eventId @param {"like" | "dislike" | null} score */
  sendFeedback(eventId, score) {
    this.session?.send(feedback(eventId, score));
  }

  /** @param {number} volume 0..1 @param {boolean} muted */
  setSound(volume, muted) {
    Object.assign(this, { volume, muted });
    this.speaker?.setVolume(volume);
    this.speaker?.setMuted(muted);
  }

  /** @param {boolean} open whether the person is let through just now */
  setGate(open) {
    this.microphone?.setGate(open);
  }

  /** Sound may have been taken away while the page was in the background. */
  wake() {
    if (this.session) void this.context?.resume();
  }

  /** @param {TalkMode} mode */
  async setTalkMode(mode) {
    this.mode = mode;
    if (mode === "off") this.#closeMicrophone();
    else await this.#openMicrophone();
    if (this.mode === mode || this.mode === "off") this.#showTalkMode();
  }

  #newSession() {
    return new Session(this.version, {
      onEvent: (event) => this.#receive(event),
      onLost: () => this.#lost(),
      onEnded: (reason) => this.#endedByAgent(reason),
      onFailed: (failure) => this.#failed(failure),
    });
  }

  // --- What the server says ----------------------------------------------------------------------------------------

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
      case "queue_status": return this.#queued(event.status === "waiting");
    }
  }

  /** @param {{conversationId: string, outputFormat: string, inputFormat: string}} event */
  #connected({ conversationId, outputFormat, inputFormat }) {
    try {
      this.outputFormat = parseFormat(outputFormat || DEFAULT_FORMAT);
      this.inputFormat = parseFormat(inputFormat || DEFAULT_FORMAT);
    } catch (error) {
      const message = error instanceof Error ? error.message : "";
      return this.#failed({ reason: "misconfigured", message, id: conversationId, transient: false });
    }
    if (this.dialogue.conversation > 0) {
      const lost = this.state.phase === "reconnecting";
      this.dialogue.notice(this.text(lost ? "new_conversation" : "started_again"));
      if (lost) this.view.announce(this.text("new_conversation"));
    }
    this.dialogue.beginConversation();
    this.view.showConversation(this.dialogue.conversation, conversationId);
    this.#setManner({ voiceless: false, waiting: false });
    this.#capture();
    this.#happened("ready");
  }

  /** @param {{eventId: number, base64: string, alignment: import("./conversation/protocol.js").Alignment | null}} event */
  #agentVoiced({ eventId, base64, alignment }) {
    if (!this.speaker) return;
    const samples = decodeAudio(base64, this.outputFormat);
    const milliseconds = (samples.length / this.outputFormat.rate) * 1000;
    const key = this.dialogue.agentVoiced(eventId, milliseconds, alignment);
    this.sounding = true;
    this.#setManner({ voiceless: false });
    this.speaker.play(key, samples, this.outputFormat.rate);
  }

  /** @param {number} eventId @param {string} text */
  #agentSaid(eventId, text) {
    const turn = this.dialogue.agentSaid(eventId, text);
    if (!this.speaker || this.manner.voiceless) return this.#readAnswer(turn);
    setTimeout(() => {
      if (turn.track.audioMilliseconds === 0) this.#readAnswer(turn);
    }, VOICELESS_AFTER_MILLISECONDS);
  }

  /** @param {import("./conversation/dialogue.js").Turn} turn that is there to be read, not heard */
  #readAnswer(turn) {
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
    this.speaker?.flush();
    this.dialogue.interrupt();
    this.sounding = false;
    this.view.showOutputLevel(0);
    this.#happened("interrupted");
  }

  /** @param {{name: string, callId: string, parameters: Record<string, unknown>}} call */
  #runTool({ name, callId, parameters }) {
    const { result, isError } = runTool(name, parameters);
    this.session?.send(toolResult(callId, result, isError));
  }

  /** @param {{provider: "backup" | "elevenlabs", notice: string}} event */
  #agentChanged({ provider, notice }) {
    const words = notice || this.text(provider === "backup" ? "backup_on" : "backup_off");
    this.dialogue.notice(words);
    this.view.announce(words);
    this.state = withVoice(this.state, provider);
    this.#show();
  }

  /** @param {boolean} waiting */
  #queued(waiting) {
    this.#setManner({ waiting });
    if (waiting) this.view.announce(this.text("state_waiting"));
  }

  // --- How it stops ------------------------------------------------------------------------------------------------

  #lost() {
    if (this.state.phase !== "reconnecting") this.view.announce(this.text("connection_lost"));
    this.#happened("connection_lost");
  }

  /** @param {string} reason */
  #endedByAgent(reason) {
    const finish = () => {
      const words = this.text("ended_by_agent");
      this.dialogue.notice(reason && /exceeded|limit/i.test(reason) ? `${words} (${reason})` : words);
      this.#stop("ended");
    };
    // The goodbye is still being heard: end when it is.
    this.afterLastWord = this.sounding ? finish : undefined;
    if (!this.sounding) finish();
  }

  /** @param {Failure} failure */
  #failed(failure) {
    this.#stop("failed");
    this.view.showFailure(failure);
  }

  /** @param {"ended" | "failed"} how */
  #stop(how) {
    this.session?.end();
    this.session = null;
    this.afterLastWord = undefined;
    this.sounding = false;
    this.#closeMicrophone();
    this.view.showOutputLevel(0);
    this.#happened(how);
  }

  // --- Sound -------------------------------------------------------------------------------------------------------

  async #prepareSound() {
    this.context ??= new AudioContext({ latencyHint: "interactive" });
    void this.context.resume();
    if (this.speaker) return;
    const speaker = new Speaker(this.context, {
      onPosition: (key, milliseconds) => this.#heard(key, milliseconds),
      onDrained: () => this.#drained(),
      onLevel: (peak) => this.view.showOutputLevel(peak),
    });
    try {
      await speaker.open();
      this.speaker = speaker;
      this.setSound(this.volume, this.muted);
    } catch {
      this.view.advise("sound_unavailable"); // answers are shown as text then
    }
  }

  /** @param {number} key @param {number} milliseconds */
  #heard(key, milliseconds) {
    if (!this.dialogue.heard(key, milliseconds)) return;
    clearTimeout(this.pauseTimer);
    clearTimeout(this.settledTimer);
    // An answer that is still heard while the next question is thought about is not the next answer.
    if (key !== this.soundingKey || this.state.phase === "listening") this.#happened("agent_started");
    this.soundingKey = key;
  }

  #drained() {
    this.pauseTimer = setTimeout(() => {
      this.sounding = false;
      this.#happened("agent_finished");
      this.afterLastWord?.();
    }, PAUSE_MILLISECONDS);
    this.settledTimer = setTimeout(() => this.dialogue.settle(), SETTLED_MILLISECONDS);
  }

  async #openMicrophone() {
    if (this.microphone?.isOpen || !this.context) return;
    const microphone = new Microphone(this.context, { onLost: () => this.#loseMicrophone() });
    this.microphone = microphone;
    try {
      await microphone.open();
      if (this.mode === "off" || !this.session) return this.#closeMicrophone();
      this.view.advise(null);
      this.#capture();
    } catch (error) {
      const problem = error instanceof MicrophoneError ? error.problem : "busy";
      this.#closeMicrophone();
      this.view.advise(`microphone_${problem}`);
    }
  }

  #capture() {
    this.microphone?.capture(this.inputFormat.rate, (samples) => {
      this.view.showInputLevel(peakOf(samples));
      this.session?.sendAudio(encodeAudio(samples, this.inputFormat));
    });
  }

  #loseMicrophone() {
    this.#closeMicrophone();
    this.#showTalkMode();
    this.view.advise("microphone_lost");
  }

  #closeMicrophone() {
    this.microphone?.close();
    this.microphone = undefined;
    this.mode = "off";
    this.view.showInputLevel(0);
  }

  #showTalkMode() {
    this.view.showTalkMode(this.mode);
    this.#setManner({ hears: this.mode !== "off", holds: this.mode === "hold" });
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
    this.manner = { ...this.manner, ...change };
    this.#show();
  }

  #show() {
    this.view.showState(this.state, this.manner);
  }

  get isLive() {
    return isLive(this.state.phase);
  }
}
