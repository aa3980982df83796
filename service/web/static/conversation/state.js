// @ts-check
/**
 * What the conversation is doing, as a person understands it. Pure: a table, and a function that reads it.
 *
 * The key decision: who speaks (`voice`) is not a phase. The backup voice listens, thinks and speaks as well. And a
 * conversation whose connection is lost goes on below: the voice is heard to its end, and `below` is where it stands
 * when the connection is back.
 */

/**
 * @typedef {"idle" | "connecting" | "listening" | "thinking" | "speaking" | "reconnecting" | "ended" | "failed"} Phase
 * @typedef {"elevenlabs" | "backup"} Voice
 * @typedef {{phase: Phase, voice: Voice, below: Phase}} State  `below` counts while reconnecting only
 * @typedef {"start" | "ready" | "resumed" | "user_spoke" | "agent_started" | "agent_finished" | "interrupted"
 *   | "connection_lost" | "ended" | "failed"} Happening
 */

/** @type {State} */
export const INITIAL_STATE = Object.freeze({ phase: "idle", voice: "elevenlabs", below: "idle" });

/** @type {Record<string, Phase>} how every live conversation can stop */
const STOPS = { connection_lost: "reconnecting", ended: "ended", failed: "failed" };

/** @type {Record<Phase, Record<string, Phase>>} what is not listed changes nothing */
const TRANSITIONS = {
  idle: { start: "connecting" },
  connecting: { ready: "listening", ...STOPS },
  listening: { user_spoke: "thinking", agent_started: "speaking", ...STOPS },
  // An interruption that is reported after the words that caused it does not take the thinking back.
  thinking: { agent_started: "speaking", ...STOPS },
  speaking: { agent_finished: "listening", interrupted: "listening", user_spoke: "thinking", ...STOPS },
  reconnecting: { ready: "listening", start: "connecting", ended: "ended", failed: "failed" },
  ended: { start: "connecting" },
  failed: { start: "connecting" },
};

/**
 * @param {State} state
 * @param {Happening} happening
 * @returns {State} the same object if nothing changed
 */
export function next(state, happening) {
  if (state.phase === "reconnecting" && happening === "resumed") return { ...state, phase: state.below };
  const phase = TRANSITIONS[state.phase][happening];
  if (!phase) return state.phase === "reconnecting" ? belowMoves(state, happening) : state;
  // A new conversation begins with the first voice again; the server says so if it is otherwise.
  const voice = happening === "start" || happening === "ready" ? "elevenlabs" : state.voice;
  return { phase, voice, below: state.phase };
}

/** @param {State} state @param {Happening} happening @returns {State} */
function belowMoves(state, happening) {
  const below = TRANSITIONS[state.below][happening];
  return below && below !== "reconnecting" ? { ...state, below } : state;
}

/**
 * @param {State} state
 * @param {Voice} voice
 * @returns {State}
 */
export function withVoice(state, voice) {
  return state.voice === voice ? state : { ...state, voice };
}

/** @param {Phase} phase @returns {boolean} whether words can be exchanged now */
export function isLive(phase) {
  return phase === "listening" || phase === "thinking" || phase === "speaking";
}
