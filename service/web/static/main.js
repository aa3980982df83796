// @ts-check
/** The door: builds the views and the chat, and ties the person's clicks to them. */

import { Chat } from "./chat.js";
import { isLive } from "./conversation/state.js";
import { chooseLanguage, preferredLanguage, translatePage, translator } from "./i18n/translate.js";
import { announce } from "./view/announcer.js";
import { Caption } from "./view/caption.js";
import { copyText } from "./view/clipboard.js";
import { Composer } from "./view/composer.js";
import { button, element, part } from "./view/elements.js";
import { Meter } from "./view/meter.js";
import { Orb } from "./view/orb.js";
import { OutageNotice } from "./view/outage-notice.js";
import { Page } from "./view/page.js";
import { SoundControl } from "./view/sound-control.js";
import { TalkControl } from "./view/talk-control.js";
import { Transcript } from "./view/transcript.js";

const language = chooseLanguage(navigator.languages);
const text = translator(language);
translatePage(document, language);

const main = element("chat");
const page = new Page(text);
const caption = new Caption(language);
const outageNotice = new OutageNotice(text, () => chat.startAnew());
const orb = new Orb(part("orb", HTMLCanvasElement));
const inputMeter = new Meter(element("input-meter"));
const outputMeter = new Meter(element("output-meter"));
const transcript = new Transcript(text, (turn, score) => {
  chat.sendFeedback(turn.eventId, score);
  if (score) announce(text("feedback_sent"));
});
const composer = new Composer({
  onMessage: (message) => chat.sendMessage(message),
  onActivity: () => chat.sendActivity(),
});
const talk = new TalkControl({
  onMode: (mode) => void chat.setTalkMode(mode),
  onGate: (open) => chat.input.setGate(open),
});
const sound = new SoundControl(text, (volume, muted) => chat.output.setSound(volume, muted));

/** @type {import("./chat.js").ChatView} */
const view = {
  showState(state, manner) {
    page.show(state, manner);
    orb.setState(state.phase, state.voice === "backup");
    composer.enable(isLive(state.phase));
    talk.enable(isLive(state.phase));
    if (!isLive(state.phase) && state.phase !== "reconnecting") caption.clear();
    keepFocus();
  },
  showTurn(turn) {
    transcript.show(turn);
    if (turn.speaker === "agent" && turn.text !== "") caption.show(turn);
    if (turn.speaker === "user") caption.clear();
  },
  hideTurn: (turn) => transcript.remove(turn),
  showOutage: (outage) => outageNotice.show(outage),
  showReturn: () => outageNotice.showReturn(),
  showConversation(conversation, id) {
    main.dataset.conversationId = id;
    transcript.closeFeedbackExcept(conversation);
  },
  showFailure: (failure) => page.showFailure(failure),
  showTalkMode(mode) {
    main.dataset.talk = mode;
    talk.show(mode);
  },
  advise: (key) => page.advise(key),
  announce,
  showInputLevel(peak) {
    main.dataset.inputLevel = peak.toFixed(3);
    inputMeter.show(peak);
    if (chat.state.phase !== "speaking") orb.setLevel(peak);
  },
  showOutputLevel(peak) {
    main.dataset.outputLevel = peak.toFixed(3);
    if (peak > Number(main.dataset.outputPeak ?? 0)) main.dataset.outputPeak = peak.toFixed(3);
    outputMeter.show(peak);
    if (chat.state.phase === "speaking") orb.setLevel(peak);
  },
};
const facts = {
  version: main.dataset.version ?? "",
  agentLanguage: preferredLanguage(navigator.languages, (main.dataset.agentLanguages ?? "").split(",")),
};
const chat = new Chat(view, { facts, language, text });

/** A part that disappears must not take the keyboard's place in the page with it. */
function keepFocus() {
  if (!document.activeElement?.closest("[hidden]")) return;
  // Not on "End conversation" while talking: the space bar is for talking there.
  (element("starters").hidden ? element("stage") : button("start-speaking")).focus({ preventScroll: true });
}

button("start-speaking").addEventListener("click", () => {
  void chat.start(page.offersOneStart ? chat.wish : "open");
  scrollTo(0, 0);
});
button("start-typing").addEventListener("click", () => {
  void chat.start("off");
  scrollTo(0, 0);
  composer.focus();
});
button("end").addEventListener("click", () => chat.end());
button("copy").addEventListener("click", async () => {
  const names = { user: text("you"), agent: text("agent"), notice: text("note") };
  const copied = await copyText(chat.dialogue.asText(names));
  announce(text(copied ? "copied" : "copy_failed"));
  button("copy").dataset.copied = String(copied);
});
document.addEventListener("visibilitychange", () => chat.wake());
window.addEventListener("pagehide", () => chat.leave());

composer.listen();
outageNotice.listen();
talk.listen();
sound.listen();
orb.start();
composer.enable(false);
main.dataset.ready = "true";
