// @ts-check
/** The written record: one item a turn, with a thumb up or down for what the agent said. */

import { saidOf } from "../conversation/dialogue.js";
import { button, element } from "./elements.js";

const NEAR_THE_END = 80; // CSS pixels: who reads further up is not pulled down

/** @typedef {import("../conversation/dialogue.js").Turn} Turn */

export class Transcript {
  /**
   * @param {(key: import("../i18n/translate.js").TextKey) => string} text
   * @param {(turn: Turn, score: "like" | "dislike" | null) => void} onFeedback
   */
  constructor(text, onFeedback) {
    this.text = text;
    this.onFeedback = onFeedback;
    this.list = element("transcript");
    this.scroller = element("scroller");
    /** @type {Map<number, HTMLElement>} by the turn's id */
    this.items = new Map();
  }

  /** @param {Turn} turn */
  show(turn) {
    const said = saidOf(turn);
    if (said === "" && !this.items.has(turn.id)) return;
    const follow = this.#isAtEnd();
    const item = this.items.get(turn.id) ?? this.#add(turn);
    item.dataset.state = turn.state;
    part(item, ".words").textContent = said;
    item.hidden = said === "";
    if (turn.speaker === "agent") part(item, ".feedback").hidden = !canBeRated(turn);
    if (follow) this.scroller.scrollTop = this.scroller.scrollHeight;
  }

  /** @param {Turn} turn that is none any more */
  remove(turn) {
    this.items.get(turn.id)?.remove();
    this.items.delete(turn.id);
  }

  /** A score can only be sent where the words were said: in the running conversation. @param {number} conversation */
  closeFeedbackExcept(conversation) {
    for (const item of this.items.values()) {
      const closed = item.dataset.conversation !== String(conversation);
      for (const thumb of item.querySelectorAll("button")) thumb.disabled = closed;
    }
  }

  /** @param {Turn} turn */
  #add(turn) {
    const template = document.getElementById("turn-template");
    if (!(template instanceof HTMLTemplateElement)) throw new Error("the page has no turn template");
    const item = template.content.firstElementChild?.cloneNode(true);
    if (!(item instanceof HTMLElement)) throw new Error("the turn template is empty");
    item.classList.add(turn.speaker);
    item.dataset.testid = `turn-${turn.speaker}`;
    item.dataset.conversation = String(turn.conversation);
    part(item, ".who").textContent = this.text(turn.speaker === "user" ? "you" : turn.speaker === "agent" ? "agent" : "note");
    this.#prepareFeedback(turn, part(item, ".feedback"));
    this.#insert(turn, item);
    element("transcript-empty").hidden = true;
    button("copy").disabled = false;
    return item;
  }

  /** In the order in which the turns began, even if words come late. @param {Turn} turn @param {HTMLElement} item */
  #insert(turn, item) {
    const later = [...this.items.keys()].filter((id) => id > turn.id).sort((a, b) => a - b)[0];
    this.list.insertBefore(item, this.items.get(later) ?? null);
    this.items.set(turn.id, item);
  }

  /** @param {Turn} turn @param {HTMLElement} box */
  #prepareFeedback(turn, box) {
    if (turn.speaker !== "agent") return box.remove();
    const thumbs = Array.from(box.querySelectorAll("button"));
    for (const thumb of thumbs) {
      thumb.setAttribute("aria-label", this.text(thumb.dataset.score === "like" ? "good_answer" : "bad_answer"));
      thumb.addEventListener("click", () => this.#rate(turn, thumb, thumbs));
    }
  }

  /** A second press takes the score back. @param {Turn} turn @param {HTMLElement} thumb @param {HTMLElement[]} thumbs */
  #rate(turn, thumb, thumbs) {
    const chosen = thumb.getAttribute("aria-pressed") !== "true";
    for (const each of thumbs) each.setAttribute("aria-pressed", String(chosen && each === thumb));
    this.onFeedback(turn, chosen ? /** @type {"like" | "dislike"} */ (thumb.dataset.score) : null);
  }

  #isAtEnd() {
    const { scrollTop, scrollHeight, clientHeight } = this.scroller;
    return scrollHeight - clientHeight - scrollTop < NEAR_THE_END;
  }
}

/** Only what the server has numbered can be named to it. @param {Turn} turn */
function canBeRated(turn) {
  return turn.state !== "speaking" && turn.shown > 0 && turn.eventId > 0;
}

/** @param {HTMLElement} item @param {string} selector */
function part(item, selector) {
  const found = item.querySelector(selector);
  if (!(found instanceof HTMLElement)) throw new Error(`the turn template has no ${selector}`);
  return found;
}
