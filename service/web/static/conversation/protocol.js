// @ts-check
/**
 * The ElevenLabs Agents protocol as the page uses it: what is read from the wire, what is written to it.
 *
 * The key decision: reading is forgiving. An event of an unknown type, or one whose fields are not what they should
 * be, is `null` and is ignored, because servers learn new events before pages do.
 */

/**
 * @typedef {{chars: string[], starts: number[]}} Alignment  start of each character, ms from the chunk's beginning
 * @typedef {{sequence: number, speaker: "user" | "agent", text: string}} Said  in the order of `sequence`
 * @typedef {{type: "metadata", conversationId: string, outputFormat: string, inputFormat: string}
 *   | {type: "ping", eventId: number}
 *   | {type: "audio", eventId: number, base64: string, alignment: Alignment | null}
 *   | {type: "user_transcript" | "tentative_user_transcript", text: string, eventId: number}
 *   | {type: "agent_response", text: string, eventId: number}
 *   | {type: "agent_response_part", part: "start" | "delta" | "stop", text: string, eventId: number}
 *   | {type: "agent_response_correction", original: string, corrected: string, eventId: number}
 *   | {type: "interruption", eventId: number}
 *   | {type: "client_tool_call", name: string, callId: string, parameters: Record<string, unknown>}
 *   | {type: "queue_status", status: string}
 *   | {type: "agent_changed", voice: "backup" | "elevenlabs", spliced: boolean}
 *   | {type: "connection_token", token: string, seconds: number}
 *   | {type: "connection_resumed", received: number, replayed: number}
 *   | {type: "connection_discontinuity", history: Said[]}
 *   | {type: "connection_draining", seconds: number}
 *   | {type: "error", message: string, code: number | null}} ServerEvent
 * @typedef {{counts: boolean, event: ServerEvent | null}} ServerFrame
 *   `counts`: whether it is part of the conversation, also if this page does not know what it is
 */

/** Events of these names concern one socket, or the wait for it, and not the conversation. */
const OF_THE_SOCKET = /^(connection|queue)_/;

/** @type {Record<string, (event: any) => ServerEvent>} by the wire's `type` */
const READERS = {
  conversation_initiation_metadata: ({ conversation_initiation_metadata_event: event }) => ({
    type: "metadata", conversationId: text(event.conversation_id),
    outputFormat: optionalText(event.agent_output_audio_format),
    inputFormat: optionalText(event.user_input_audio_format),
  }),
  ping: ({ ping_event: event }) => ({ type: "ping", eventId: number(event.event_id) }),
  audio: ({ audio_event: event }) => ({
    type: "audio", eventId: number(event.event_id), base64: text(event.audio_base_64),
    alignment: alignment(event.alignment),
  }),
  user_transcript: ({ user_transcription_event: event }) => ({
    type: "user_transcript", text: text(event.user_transcript), eventId: number(event.event_id ?? 0),
  }),
  tentative_user_transcript: ({ tentative_user_transcription_event: event }) => ({
    type: "tentative_user_transcript", text: text(event.user_transcript), eventId: number(event.event_id ?? 0),
  }),
  agent_response: ({ agent_response_event: event }) => ({
    type: "agent_response", text: text(event.agent_response), eventId: number(event.event_id ?? 0),
  }),
  agent_chat_response_part: ({ text_response_part: event }) => ({
    type: "agent_response_part", part: oneOf(["start", "delta", "stop"], event.type), text: optionalText(event.text),
    eventId: number(event.event_id ?? 0),
  }),
  agent_response_correction: ({ agent_response_correction_event: event }) => ({
    type: "agent_response_correction", original: text(event.original_agent_response),
    corrected: text(event.corrected_agent_response), eventId: number(event.event_id ?? 0),
  }),
  interruption: ({ interruption_event: event }) => ({ type: "interruption", eventId: number(event.event_id) }),
  client_tool_call: ({ client_tool_call: event }) => ({
    type: "client_tool_call", name: text(event.tool_name), callId: text(event.tool_call_id),
    parameters: event.parameters ?? {},
  }),
  queue_status: ({ queue_status_event: event }) => ({ type: "queue_status", status: text(event.status) }),
  agent_changed: ({ agent_changed_event: event }) => ({
    type: "agent_changed", voice: text(event.to) === "elevenlabs" ? "elevenlabs" : "backup",
    spliced: event.spliced === true,
  }),
  connection_token: ({ connection_token_event: event }) => ({
    type: "connection_token", token: text(event.token), seconds: number(event.expires_in_seconds),
  }),
  connection_resumed: ({ connection_resumed_event: event }) => ({
    type: "connection_resumed", received: number(event.received), replayed: number(event.replayed ?? 0),
  }),
  connection_discontinuity: ({ connection_discontinuity_event: event }) => ({
    type: "connection_discontinuity", history: event.history.map(said),
  }),
  connection_draining: ({ connection_draining_event: event }) => ({
    type: "connection_draining", seconds: number(event.reconnect_in_seconds),
  }),
  // ElevenLabs also sends the flat form, {"type": "error", "message": …}.
  error: ({ error_event: event, message }) => ({
    type: "error", message: optionalText(event?.message ?? event?.reason ?? message),
    code: typeof event?.code === "number" ? event.code : null,
  }),
};

/**
 * @param {unknown} data of the socket's message
 * @returns {ServerFrame} its event is null for what this page does not know
 */
export function readFrame(data) {
  let counts = true;
  try {
    const event = JSON.parse(typeof data === "string" ? data : "");
    counts = !OF_THE_SOCKET.test(event.type);
    return { counts, event: Object.hasOwn(READERS, event.type) ? READERS[event.type](event) : null };
  } catch {
    return { counts, event: null }; // not JSON, or a known type with fields of another kind
  }
}

/**
 * @typedef {object} PageFacts
 * @property {string} version of the page
 * @property {string} agentLanguage  that the agent is asked to speak; empty leaves it as it is configured
 */

/** @param {PageFacts} page */
export function initiation({ version, agentLanguage }) {
  const wishes = agentLanguage ? { conversation_config_override: { agent: { language: agentLanguage } } } : {};
  return {
    type: "conversation_initiation_client_data",
    source_info: { source: "vocero_page", version },
    ...wishes,
  };
}

/** @param {string} base64 */
export const userAudio = (base64) => ({ user_audio_chunk: base64 });
/** @param {string} message */
export const userMessage = (message) => ({ type: "user_message", text: message });
export const userActivity = () => ({ type: "user_activity" });
/** @param {number} eventId */
export const pong = (eventId) => ({ type: "pong", event_id: eventId });
/** @param {string} callId @param {string} result @param {boolean} isError */
export const toolResult = (callId, result, isError) => ({
  type: "client_tool_result", tool_call_id: callId, result, is_error: isError,
});
/** @param {number} eventId @param {"like" | "dislike" | null} score */
export const feedback = (eventId, score) => ({ type: "feedback", event_id: eventId, score });
/** The first message of a socket that goes on with a conversation. @param {import("./continuity.js").Continuity} soFar */
export const resumption = ({ token, received, lastEventId }) => ({
  type: "conversation_resume", token, received, last_event_id: lastEventId,
});

/**
 * The ticket's address with what the page adds: who it is, and that it wants to be told of a wait and of our own events.
 * @param {string} signedUrl @param {string} version
 */
export function conversationUrl(signedUrl, version) {
  const url = new URL(signedUrl);
  url.searchParams.set("source", "vocero_page");
  url.searchParams.set("version", version);
  url.searchParams.set("queue_status", "true");
  url.searchParams.set("vocero_events", "true");
  return url.href;
}

/** Where a conversation is gone on with: at the same door, but a token in the first message opens it. @param {string} signedUrl */
export function resumptionUrl(signedUrl) {
  const url = new URL(signedUrl);
  url.search = "?resume=true&vocero_events=true";
  return url.href;
}

/** @param {any} value @returns {Alignment | null} */
function alignment(value) {
  if (!value || !Array.isArray(value.chars) || !Array.isArray(value.char_start_times_ms)) return null;
  return { chars: value.chars.map(text), starts: value.char_start_times_ms.map(number) };
}

/** @param {any} value @returns {Said} */
function said(value) {
  return { sequence: number(value.sequence), speaker: oneOf(["user", "agent"], value.speaker), text: text(value.text) };
}

/** @param {unknown} value */
function text(value) {
  if (typeof value !== "string") throw new TypeError("text expected");
  return value;
}

/** @param {unknown} value */
function optionalText(value) {
  return typeof value === "string" ? value : "";
}

/** @param {unknown} value */
function number(value) {
  if (typeof value !== "number" || !Number.isFinite(value)) throw new TypeError("number expected");
  return value;
}

/** @template {string} T @param {readonly T[]} choices @param {unknown} value @returns {T} */
function oneOf(choices, value) {
  const found = choices.find((choice) => choice === value);
  if (found === undefined) throw new TypeError(`one of ${choices.join(", ")} expected`);
  return found;
}
