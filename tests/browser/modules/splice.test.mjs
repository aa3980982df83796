import assert from "node:assert/strict";
import test from "node:test";

import { CaptionTrack } from "../../../service/web/static/captions/caption-track.js";
import { Dialogue, saidOf } from "../../../service/web/static/conversation/dialogue.js";

const TEXT = "We are open from nine to six every day, and on Sundays we are closed.";
const HALF = TEXT.indexOf("every");
const NOTHING = { onTurn: () => {}, onGone: () => {}, onSentence: () => {} };

function evenly(text, milliseconds) {
  return { chars: [...text], starts: [...text].map((_, index) => (index * milliseconds) / text.length) };
}

/** Half of the text by one voice, the rest by another; null is a voice without times. */
function splicedTrack({ before = TEXT.slice(0, HALF), after = TEXT.slice(HALF), first = true, second = true } = {}) {
  const track = new CaptionTrack();
  track.setText(TEXT);
  track.addAudio(2000, first ? evenly(before, 2000) : null);
  track.changeVoice();
  track.addAudio(3000, second ? evenly(after, 3000) : null);
  return track;
}

function heardBy(track, milliseconds) {
  return TEXT.slice(0, track.spokenLength(milliseconds));
}

test("the rest by another voice carries on in the text where the first one stopped", () => {
  const track = splicedTrack();
  assert.equal(heardBy(track, 1999), "We are open from nine to six");
  assert.equal(heardBy(track, 2000), "We are open from nine to six every");
  assert.equal(heardBy(track, 2000 + 3000 * 10 / (TEXT.length - HALF)), "We are open from nine to six every day,");
  assert.equal(heardBy(track, 5000), TEXT);
  assert.ok(track.isComplete);
});

test("a word that was broken off and is said again does not throw the captions ahead", () => {
  const track = splicedTrack({ before: TEXT.slice(0, HALF + 3) });
  assert.equal(heardBy(track, 2000), "We are open from nine to six every");
  assert.equal(heardBy(track, 2500), "We are open from nine to six every day,");
  assert.equal(heardBy(track, 5000), TEXT);
});

test("a new voice that skips what the old one had begun is found again", () => {
  const track = splicedTrack({ before: TEXT.slice(0, HALF + 3), after: TEXT.slice(TEXT.indexOf("day")) });
  assert.equal(heardBy(track, 2000), "We are open from nine to six every day,");
});

test("a rest without the characters' times is spread over its own audio", () => {
  const track = splicedTrack({ second: false });
  assert.equal(heardBy(track, 1999), "We are open from nine to six");
  const middle = track.spokenLength(3500);
  assert.ok(middle > HALF + 10 && middle < TEXT.length - 10, String(middle));
  assert.equal(heardBy(track, 5000), TEXT);
});

test("two voices without times share the whole text between them", () => {
  const track = splicedTrack({ first: false, second: false });
  assert.ok(track.spokenLength(1000) < 20);
  const middle = track.spokenLength(2500);
  assert.ok(middle > 30 && middle < 42, String(middle));
  assert.equal(heardBy(track, 5000), TEXT);
});

test("where only the new voice gives times, the old one's share of the text ends where the new one begins", () => {
  const track = splicedTrack({ first: false });
  assert.ok(track.spokenLength(1000) < HALF - 5);
  assert.ok(track.spokenLength(1999) <= HALF);
  assert.equal(heardBy(track, 2000), "We are open from nine to six every");
});

test("a voice that changes before anything was said begins the answer itself", () => {
  const track = new CaptionTrack();
  track.setText(TEXT);
  track.changeVoice();
  track.addAudio(4000, evenly(TEXT, 4000));
  assert.equal(heardBy(track, 0), "We");
  assert.equal(heardBy(track, 4000), TEXT);
});

test("an answer that has evidently broken off is not shown to its end before its rest was heard", () => {
  const made = new Dialogue(NOTHING, "en");
  made.beginConversation();
  made.agentSaid(1, TEXT);
  const id = made.agentVoiced(1, 2000, evenly(TEXT.slice(0, HALF), 2000));
  made.heard(id, 2000);
  made.settle(false);
  assert.equal(saidOf(made.turns[0]), "We are open from nine to six");
  made.changeVoice(true);
  assert.equal(made.agentVoiced(12, 3000, evenly(TEXT.slice(HALF), 3000)), id);
  made.heard(id, 3000);
  assert.match(saidOf(made.turns[0]), /every day, and/);
  made.heard(id, 5000);
  made.settle(false);
  assert.deepEqual(made.turns.map((turn) => [saidOf(turn), turn.state]), [[TEXT, "done"]]);
});

test("a rest that never comes is not waited for for ever", () => {
  const made = new Dialogue(NOTHING, "en");
  made.beginConversation();
  made.agentSaid(1, TEXT);
  made.agentVoiced(1, 2000, evenly(TEXT.slice(0, HALF), 2000));
  made.settle(true);
  assert.equal(made.turns[0].state, "done");
});

test("what another voice says of its own accord is an answer of its own", () => {
  const made = new Dialogue(NOTHING, "en");
  made.beginConversation();
  made.agentSaid(1, "Good morning.");
  const id = made.agentVoiced(1, 500, null);
  made.changeVoice(false);
  assert.notEqual(made.agentVoiced(2, 500, null), id);
});

/** A dialogue in which these were said; the agent's lines have been heard to their end. */
function dialogueOf(...lines) {
  const gone = [];
  const made = new Dialogue({ ...NOTHING, onGone: (turn) => gone.push(turn.text) }, "en");
  made.beginConversation();
  lines.forEach(([speaker, text], index) => {
    if (speaker === "typed") made.userTyped(text);
    else if (speaker === "user") made.userSpoke(text, true);
    else made.finish(made.agentSaid(index + 1, text));
  });
  return { made, gone };
}

function history(...lines) {
  return lines.map(([speaker, text], index) => ({ sequence: index + 1, speaker, text }));
}

const record = (made) => made.turns.map((turn) => `${turn.speaker}: ${saidOf(turn)}`);

test("the record becomes what the server knows was said, and what is the same stays the same", () => {
  const { made, gone } = dialogueOf(["user", "One?"], ["agent", "One."], ["user", "Mumble"], ["user", "Three?"]);
  const kept = made.turns.filter((turn) => turn.text !== "Mumble");
  made.adopt(history(["user", "One?"], ["agent", "One."], ["user", "Two?"], ["agent", "Two."], ["user", "Three?"], ["agent", "Three."]));
  assert.deepEqual(record(made), ["user: One?", "agent: One.", "user: Two?", "agent: Two.", "user: Three?", "agent: Three."]);
  assert.deepEqual(gone, ["Mumble"]);
  assert.ok(kept.every((turn) => made.turns.includes(turn)));
  const ids = made.turns.map((turn) => turn.id);
  assert.deepEqual(ids, [...ids].sort((a, b) => a - b));
  assert.equal(new Set(ids).size, ids.length);
});

test("a message that is still on its way is kept below what the server knows", () => {
  const { made } = dialogueOf(["user", "One?"], ["typed", "And two?"]);
  made.adopt(history(["user", "One?"], ["agent", "One."]));
  assert.deepEqual(record(made), ["user: One?", "agent: One.", "user: And two?"]);
});

test("an answer of which the server knows less was cut off, and one of which it knows more is completed", () => {
  const { made } = dialogueOf(["agent", "Good morning to you."], ["user", "Hello"]);
  made.adopt(history(["agent", "Good morning"], ["user", "Hello there"]));
  assert.deepEqual(record(made), ["agent: Good morning …", "user: Hello there"]);
  assert.equal(made.turns[0].state, "interrupted");
});

test("a server that keeps no words, or only the last ones, takes nothing away", () => {
  const { made } = dialogueOf(["user", "One?"], ["agent", "One."], ["user", "Two?"]);
  made.adopt([]);
  assert.equal(made.turns.length, 3);
  made.adopt([{ sequence: 3, speaker: "user", text: "Two?" }, { sequence: 4, speaker: "agent", text: "Two." }]);
  assert.deepEqual(record(made), ["user: One?", "agent: One.", "user: Two?", "agent: Two."]);
});

test("lines of ours, and other conversations, are left alone", () => {
  const { made } = dialogueOf(["user", "Old"]);
  made.notice("New conversation");
  made.beginConversation();
  made.userSpoke("Lost", true);
  made.adopt(history(["agent", "Hello."], ["user", "Known"]));
  assert.deepEqual(record(made), ["user: Old", "notice: New conversation", "agent: Hello.", "user: Known"]);
});
