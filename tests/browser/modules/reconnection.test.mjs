import assert from "node:assert/strict";
import test from "node:test";

import { CAP_MILLISECONDS } from "../../../service/web/static/conversation/backoff.js";
import { Continuity } from "../../../service/web/static/conversation/continuity.js";
import { matchHistory } from "../../../service/web/static/conversation/history.js";
import { Pulse } from "../../../service/web/static/conversation/pulse.js";
import { readFrame, resumption } from "../../../service/web/static/conversation/protocol.js";
import { QUIET_MILLISECONDS, Reconnection } from "../../../service/web/static/conversation/reconnection.js";

const LIMIT = 120_000;

function frame(type, fields) {
  return readFrame(JSON.stringify({ type, ...fields }));
}

const audio = (id) => frame("audio", { audio_event: { audio_base_64: "", event_id: id } });

test("every event of the conversation counts, known or not, and none of those that concern only a socket", () => {
  const continuity = new Continuity();
  continuity.noteReceived(frame("conversation_initiation_metadata", { conversation_initiation_metadata_event: { conversation_id: "c" } }));
  continuity.noteReceived(frame("connection_token", { connection_token_event: { token: "c.1", expires_in_seconds: 90 } }));
  continuity.noteReceived(frame("queue_status", { queue_status_event: { status: "waiting" } }));
  continuity.noteReceived(frame("connection_of_tomorrow", {}));
  continuity.noteReceived(frame("something_of_tomorrow", {}));
  continuity.noteReceived(frame("ping", { ping_event: { event_id: 77 } }));
  continuity.noteReceived(audio(4));
  continuity.noteReceived(audio(3));
  assert.deepEqual(resumption(continuity), {
    type: "conversation_resume", token: "c.1", received: 5, last_event_id: 4,
  });
  assert.equal(continuity.patienceMilliseconds, 90_000);
});

test("audio of an answer that was cut off stays cut off over another socket", () => {
  const continuity = new Continuity();
  continuity.noteReceived(frame("interruption", { interruption_event: { event_id: 9 } }));
  continuity.noteReceived(frame("interruption", { interruption_event: { event_id: 7 } }));
  assert.equal(continuity.interruptedUpTo, 9);
});

test("what the server does not have is sent again, and nothing else", () => {
  const continuity = new Continuity();
  for (const number of [1, 2, 3]) continuity.noteSent({ number });
  assert.deepEqual(continuity.sentAfter(1), [{ number: 2 }, { number: 3 }]);
  assert.deepEqual(continuity.sentAfter(3), []);
  assert.deepEqual(continuity.sentAfter(9), []);
});

test("only the last fifty messages are kept", () => {
  const continuity = new Continuity();
  for (let number = 1; number <= 60; number += 1) continuity.noteSent({ number });
  assert.equal(continuity.sentAfter(0).length, 50);
  assert.deepEqual(continuity.sentAfter(58), [{ number: 59 }, { number: 60 }]);
});

/** A reconnection on a clock of the test's own, whose dice always show the middle. */
function reconnection(context, plan = {}) {
  context.mock.timers.enable({ apis: ["setTimeout", "Date"] });
  context.mock.method(Math, "random", () => 0.5);
  const log = [];
  const network = {
    online: true, listeners: new Set(),
    isOnline: () => network.online,
    listen(listener) {
      network.listeners.add(listener);
      return () => network.listeners.delete(listener);
    },
    turn(online) {
      network.online = online;
      for (const listener of network.listeners) listener();
    },
  };
  const made = new Reconnection({ limitMilliseconds: LIMIT, tries: 0, hintMilliseconds: null, ...plan }, {
    onTry: () => log.push("try"), onNoticed: () => log.push("noticed"), onOver: () => log.push("over"),
  }, network);
  made.start();
  return { made, log, network, pass: (milliseconds) => context.mock.timers.tick(milliseconds) };
}

test("a loss is mentioned when it has lasted a second", (context) => {
  const { log, pass } = reconnection(context);
  pass(QUIET_MILLISECONDS - 1);
  assert.deepEqual(log, ["try"]);
  pass(1);
  assert.deepEqual(log, ["try", "noticed"]);
});

test("a connection that is back within the second was never lost for the person", (context) => {
  const { made, log, pass, network } = reconnection(context);
  pass(300);
  made.stop();
  pass(2 * LIMIT);
  assert.deepEqual(log, ["try"]);
  assert.equal(network.listeners.size, 0);
});

test("tries come ever more slowly until the limit, and then none", (context) => {
  const { made, log, pass } = reconnection(context);
  const times = [];
  let before = 0;
  for (let now = 0; now < LIMIT + 60_000; now += 50) {
    pass(50);
    const tries = log.filter((line) => line === "try").length;
    if (tries > before) {
      times.push(now + 50);
      made.failed();
    }
    before = tries;
  }
  assert.equal(log.at(-1), "over");
  assert.ok(times[1] - times[0] < 1000 && times.length > 25, String(times));
  const gaps = times.slice(1).map((time, index) => time - times[index]);
  assert.ok(Math.max(...gaps) <= CAP_MILLISECONDS / 2 + 50, String(gaps));
  assert.ok(times.at(-1) <= LIMIT);
});

test("a server that restarts is left alone until the time that it named, whatever the network does", (context) => {
  const { log, pass, network } = reconnection(context, { hintMilliseconds: 3200 });
  network.turn(true);
  pass(3199);
  assert.deepEqual(log, ["noticed"]);
  pass(1);
  assert.deepEqual(log, ["noticed", "try"]);
});

test("without a network it is tried rarely, and soon after it is back", (context) => {
  const { log, pass, network } = reconnection(context);
  network.turn(false);
  pass(CAP_MILLISECONDS - 1);
  assert.deepEqual(log, ["noticed"]);
  network.turn(true);
  pass(250);
  assert.deepEqual(log, ["noticed", "try"]);
});

test("a network that comes while a try is under way does not begin a second one", (context) => {
  const { log, pass, network } = reconnection(context);
  pass(250);
  network.turn(true);
  pass(10_000);
  assert.deepEqual(log, ["try", "noticed"]);
});

test("a line is dead when three pings are missing, and never where there are none", (context) => {
  context.mock.timers.enable({ apis: ["setTimeout", "Date"] });
  const silences = [];
  const pulse = new Pulse(() => silences.push("silence"));
  pulse.beat(false);
  context.mock.timers.tick(600_000);
  pulse.beat(true);
  context.mock.timers.tick(6000);
  pulse.beat(true);
  context.mock.timers.tick(17_999);
  assert.deepEqual(silences, []);
  pulse.beat(false);
  context.mock.timers.tick(17_999);
  assert.deepEqual(silences, []);
  context.mock.timers.tick(1);
  assert.deepEqual(silences, ["silence"]);
});

const lines = (words) => words.split(" ").map((word) => ({ speaker: word[0] === "u" ? "user" : "agent", text: word }));

test("what both sides have is found in its order, even if it was said several times", () => {
  const heard = lines("u1 ayes u2 ayes u4");
  const found = matchHistory(heard, lines("u1 ayes u2 ayes u3 ayes u4"));
  assert.deepEqual(found.map((line) => heard.indexOf(line)), [0, 1, 2, 3, -1, -1, 4]);
  assert.deepEqual(matchHistory([], lines("u1")), [undefined]);
  assert.deepEqual(matchHistory(heard, []), []);
});

test("an answer that was cut off is the beginning of the same one", () => {
  const heard = [{ speaker: "agent", text: "We are open from nine to six." }];
  assert.equal(matchHistory(heard, [{ speaker: "agent", text: "We are open …" }])[0], heard[0]);
  assert.equal(matchHistory(heard, [{ speaker: "user", text: "We are open" }])[0], undefined);
});
