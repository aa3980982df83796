import assert from "node:assert/strict";
import test from "node:test";

import { CaptionTrack } from "../../../service/web/static/captions/caption-track.js";
import { sentencesOf } from "../../../service/web/static/captions/sentences.js";
import { Dialogue, saidOf } from "../../../service/web/static/conversation/dialogue.js";

const TEXT = "One two three. Four five six.";

function dialogue() {
  const sentences = [];
  const made = new Dialogue({ onTurn: () => {}, onGone: () => {}, onSentence: (sentence) => sentences.push(sentence) }, "en");
  made.beginConversation();
  return { made, sentences };
}

function evenly(text, milliseconds) {
  return { chars: [...text], starts: [...text].map((_, index) => (index * milliseconds) / text.length) };
}

test("sentences cover the text without a gap", () => {
  const ranges = sentencesOf("Hello there. ¿Qué tal? Fine.", "en");
  assert.equal(ranges[0].start, 0);
  assert.equal(ranges.at(-1).end, 28);
  ranges.slice(1).forEach((range, index) => assert.equal(range.start, ranges[index].end));
});

test("with the characters' times a word is spoken from its first character on", () => {
  const track = new CaptionTrack();
  track.setText("ab cd");
  track.addAudio(500, { chars: ["a", "b", " "], starts: [0, 100, 200] });
  track.addAudio(500, { chars: ["c", "d"], starts: [0, 100] });
  assert.equal(track.spokenLength(0), 2);
  assert.equal(track.spokenLength(499), 2);
  assert.equal(track.spokenLength(500), 5);
});

test("the voice may say other characters than the text without losing its place", () => {
  const track = new CaptionTrack();
  track.setText("At 2 pm, then.");
  track.addAudio(1400, { chars: [..."At two p.m., then."], starts: [..."At two p.m., then."].map((_, index) => index * 77) });
  assert.equal(track.spokenLength(1400), "At 2 pm, then.".length);
});

test("without times the text keeps to the share of the audio that was played", () => {
  const track = new CaptionTrack();
  track.setText("aaaa bbbb cccc dddd ");
  track.addAudio(4000, null);
  assert.equal(track.spokenLength(0), 0);
  assert.equal(track.spokenLength(1900), 9);
  assert.equal(track.spokenLength(4000), 20);
});

test("captions do not run ahead of audio that is still on its way", () => {
  const track = new CaptionTrack();
  track.setText("word ".repeat(40));
  track.addAudio(200, null); // of about twelve seconds
  assert.ok(track.spokenLength(200) < 10);
});

test("sentences are told when they have been heard, the last one when the answer is over", () => {
  const { made, sentences } = dialogue();
  made.agentSaid(1, TEXT);
  const id = made.agentVoiced(1, 2900, evenly(TEXT, 2900));
  made.heard(id, 1000);
  assert.deepEqual(sentences, []);
  made.heard(id, 1600);
  assert.deepEqual(sentences, ["One two three."]);
  made.heard(id, 2900);
  made.settle();
  made.settle();
  assert.deepEqual(sentences, ["One two three.", "Four five six."]);
});

test("an interrupted answer keeps what was heard until the server corrects it", () => {
  const { made } = dialogue();
  made.agentSaid(1, TEXT);
  const id = made.agentVoiced(1, 2900, evenly(TEXT, 2900));
  made.heard(id, 600);
  made.interrupt();
  assert.equal(saidOf(made.turns[0]), "One two …");
  assert.equal(made.heard(id, 2000), false);
  made.correct(1, TEXT, "One two three");
  assert.equal(saidOf(made.turns[0]), "One two three …");
});

test("audio that comes before its text waits for it", () => {
  const { made } = dialogue();
  const id = made.agentVoiced(3, 500, null);
  made.agentSaid(3, "Yes.");
  assert.equal(made.turns.length, 1);
  assert.equal(made.turns[0].id, id);
});

test("chunks that are numbered one by one belong to the answer that is open", () => {
  const { made } = dialogue();
  made.agentSaid(5, TEXT);
  const ids = [5, 6, 7].map((eventId) => made.agentVoiced(eventId, 100, null));
  assert.equal(new Set(ids).size, 1);
  made.userSpoke("Next?", true);
  assert.notEqual(made.agentVoiced(9, 100, null), ids[0]);
});

test("two answers without a question between them are two turns", () => {
  const { made } = dialogue();
  made.agentSaid(1, "First.");
  made.agentVoiced(1, 500, null);
  made.agentSaid(2, "Second.");
  assert.deepEqual(made.turns.map((turn) => turn.text), ["First.", "Second."]);
});

test("a new conversation may use the old one's ids again", () => {
  const { made } = dialogue();
  made.agentSaid(1, "Old.");
  made.beginConversation();
  made.agentSaid(1, "New.");
  assert.deepEqual(made.turns.map((turn) => turn.text), ["Old.", "New."]);
});

test("a transcript that only repeats what was typed is not a second turn, and an empty one is none", () => {
  const { made } = dialogue();
  made.userTyped("Hello");
  assert.equal(made.userSpoke("Hello", true), false);
  assert.equal(made.userSpoke("  ", true), false);
  assert.equal(made.turns.length, 1);
});

test("a tentative transcript grows into the final one", () => {
  const { made } = dialogue();
  made.userSpoke("When", false);
  made.userSpoke("When are you open?", true);
  assert.deepEqual(made.turns.map((turn) => [turn.text, turn.state]), [["When are you open?", "done"]]);
});

test("the copied record holds what was said and not what was cut off", () => {
  const { made } = dialogue();
  made.userTyped("Hello");
  made.agentSaid(1, TEXT);
  made.interrupt();
  const copied = made.asText({ user: "You", agent: "Agent", notice: "Note" });
  assert.match(copied, /^\[[\d:]{8}\] You: Hello$/);
});
