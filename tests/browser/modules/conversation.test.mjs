import assert from "node:assert/strict";
import test from "node:test";

import { delayBeforeTry, isTransientClose, MAXIMUM_TRIES } from "../../../service/web/static/conversation/backoff.js";
import { fromAnswer, fromClose } from "../../../service/web/static/conversation/failure.js";
import { conversationUrl, readFrame, resumptionUrl } from "../../../service/web/static/conversation/protocol.js";
import { INITIAL_STATE, isLive, next, withVoice } from "../../../service/web/static/conversation/state.js";
import { en } from "../../../service/web/static/i18n/en.js";
import { es } from "../../../service/web/static/i18n/es.js";
import { chooseLanguage } from "../../../service/web/static/i18n/translate.js";

function after(...happenings) {
  return happenings.reduce(next, INITIAL_STATE);
}

test("a turn goes from listening through thinking and speaking back to listening", () => {
  const ready = ["start", "ready"];
  assert.equal(after(...ready).phase, "listening");
  assert.equal(after(...ready, "user_spoke").phase, "thinking");
  assert.equal(after(...ready, "user_spoke", "agent_started").phase, "speaking");
  assert.equal(after(...ready, "user_spoke", "agent_started", "agent_finished").phase, "listening");
  assert.equal(after(...ready, "agent_started", "interrupted").phase, "listening");
});

test("the end of the old answer does not take back that the new question is thought about", () => {
  const state = after("start", "ready", "agent_started", "user_spoke");
  assert.equal(next(state, "agent_finished").phase, "thinking");
  assert.equal(next(state, "interrupted").phase, "thinking");
});

test("what makes no sense in a phase changes nothing, not even the object", () => {
  for (const happening of ["ready", "user_spoke", "agent_started", "connection_lost", "ended", "failed"]) {
    assert.equal(next(INITIAL_STATE, happening), INITIAL_STATE);
  }
  const ended = after("start", "ready", "ended");
  assert.equal(next(ended, "connection_lost"), ended);
  assert.equal(next(ended, "agent_started"), ended);
});

test("every live phase can lose its connection, end and fail, and one can start again from there", () => {
  for (const live of [["start"], ["start", "ready"], ["start", "ready", "user_spoke"], ["start", "ready", "agent_started"]]) {
    assert.equal(after(...live, "connection_lost").phase, "reconnecting");
    assert.equal(after(...live, "connection_lost", "ready").phase, "listening");
    assert.equal(after(...live, "ended", "start").phase, "connecting");
    assert.equal(after(...live, "failed", "start").phase, "connecting");
  }
});

test("the backup voice outlives turns but not the conversation", () => {
  const backup = withVoice(after("start", "ready"), "backup");
  assert.equal(next(backup, "user_spoke").voice, "backup");
  const lost = next(backup, "connection_lost");
  assert.equal(next(lost, "resumed").voice, "backup");
  assert.equal(next(lost, "ready").voice, "elevenlabs");
  assert.equal(withVoice(backup, "backup"), backup);
});

test("a conversation goes on below a lost connection, and is found where it has come to", () => {
  const lost = after("start", "ready", "user_spoke", "connection_lost");
  assert.equal(next(lost, "resumed").phase, "thinking");
  const spokenOut = after("start", "ready", "agent_started", "connection_lost", "agent_finished");
  assert.equal(spokenOut.phase, "reconnecting");
  assert.equal(next(spokenOut, "resumed").phase, "listening");
  assert.equal(after("start", "ready", "connection_lost", "start").phase, "connecting");
  const live = after("start", "ready");
  assert.equal(next(live, "resumed"), live);
});

test("only phases in which words can be exchanged are live", () => {
  const phases = ["idle", "connecting", "listening", "thinking", "speaking", "reconnecting", "ended", "failed"];
  assert.deepEqual(phases.filter(isLive), ["listening", "thinking", "speaking"]);
});

test("a try waits between nothing and a bound that doubles up to eight seconds", () => {
  const bounds = Array.from({ length: MAXIMUM_TRIES }, (_, tries) => delayBeforeTry(tries, () => 1));
  assert.deepEqual(bounds, [500, 1000, 2000, 4000, 8000, 8000]);
  assert.equal(delayBeforeTry(5, () => 0), 0);
});

test("only the transport's closes are tried again", () => {
  const codes = [1000, 1001, 1002, 1006, 1008, 1011, 1012, 1013, 3000, 3008];
  assert.deepEqual(codes.filter(isTransientClose), [1001, 1006, 1011, 1012, 1013]);
});

test("an HTTP refusal keeps the server's words and id", () => {
  const body = { detail: { message: "Too many.", request_id: "req_1" } };
  assert.deepEqual(fromAnswer(429, body), { reason: "busy", message: "Too many.", id: "req_1", transient: true });
  assert.deepEqual(fromAnswer(403, { detail: "No." }), { reason: "refused", message: "No.", id: "", transient: false });
  for (const body of [null, 7, "text", [], { detail: null }, { detail: { message: 5 } }]) {
    assert.deepEqual(fromAnswer(500, body), { reason: "unavailable", message: "", id: "", transient: true });
  }
});

test("a close is explained by its code and words, and carries the conversation's id", () => {
  const cases = [
    [1002, "This request exceeds your quota limit.", "quota"],
    [1002, "llm_timeout", "unavailable"],
    [3000, "The AI agent you are trying to reach does not exist.", "misconfigured"],
    [3000, "Could not authorize the conversation", "refused"],
    [3008, "too many concurrent connections", "busy"],
    [1006, "", "lost"],
    [1008, "Invalid message received", "unknown"],
  ];
  for (const [code, words, reason] of cases) {
    assert.deepEqual(fromClose(code, words, "", "conv_1"), { reason, message: words, id: "conv_1", transient: false });
  }
  assert.equal(fromClose(4409, "resumed elsewhere", "", "conv_1").reason, "elsewhere");
  assert.equal(fromClose(1008, "short", "the long story", "conv_1").message, "the long story");
});

test("events are read as the protocol writes them", () => {
  const audio = {
    type: "audio",
    audio_event: {
      audio_base_64: "AAA=", event_id: 4,
      alignment: { chars: ["a"], char_start_times_ms: [0], char_durations_ms: [10] },
    },
  };
  assert.deepEqual(readFrame(JSON.stringify(audio)), {
    counts: true,
    event: { type: "audio", eventId: 4, base64: "AAA=", alignment: { chars: ["a"], starts: [0] } },
  });
  const flatError = JSON.stringify({ type: "error", message: "received 1002" });
  assert.deepEqual(readFrame(flatError).event, { type: "error", message: "received 1002", code: null });
});

test("what is unknown or broken is ignored", () => {
  const frames = [
    "", "no json", "null", "[]", "7", "{}", '{"type":"tomorrow"}', '{"type":"audio"}', '{"type":"toString"}',
    '{"type":"audio","audio_event":{"audio_base_64":1,"event_id":1}}', '{"type":"ping","ping_event":{}}',
    '{"type":"agent_changed","agent_changed_event":{"provider":"somebody"}}',
    '{"type":"connection_discontinuity","connection_discontinuity_event":{"history":[{"speaker":"nobody"}]}}',
  ];
  for (const frame of frames) assert.equal(readFrame(frame).event, null, frame);
  assert.equal(readFrame(new ArrayBuffer(4)).event, null);
});

test("the socket's address keeps the ticket and names the page", () => {
  const url = new URL(conversationUrl("wss://vocero.test/v1/convai/conversation?agent_id=a&conversation_signature=s", "1.0"));
  assert.deepEqual(Object.fromEntries(url.searchParams), {
    agent_id: "a", conversation_signature: "s", source: "vocero_page", version: "1.0", queue_status: "true",
    vocero_events: "true",
  });
  const again = resumptionUrl("wss://vocero.test/v1/convai/conversation?agent_id=a&conversation_signature=s");
  assert.equal(again, "wss://vocero.test/v1/convai/conversation?resume=true&vocero_events=true");
});

test("the first known language of the browser is taken, else English", () => {
  assert.equal(chooseLanguage(["es-MX", "en"]), "es");
  assert.equal(chooseLanguage(["de", "es"]), "es");
  assert.equal(chooseLanguage(["en-GB", "es"]), "en");
  assert.equal(chooseLanguage(["constructor"]), "en");
  assert.equal(chooseLanguage([]), "en");
});

test("both languages say the same things", () => {
  assert.deepEqual(Object.keys(es).sort(), Object.keys(en).sort());
  for (const [key, words] of Object.entries(es)) assert.notEqual(words, "", key);
});
