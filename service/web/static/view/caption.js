// @ts-check
/** The sentence that is being spoken, its words inked as they are heard. */

import { sentencesOf } from "../captions/sentences.js";
import { element } from "./elements.js";

export class Caption {
  /** @param {string} language of the page, for cutting sentences */
  constructor(language) {
    this.language = language;
    this.box = element("caption");
    this.spoken = element("caption-spoken");
    this.ahead = element("caption-ahead");
  }

  /** @param {import("../conversation/dialogue.js").Turn} turn of the agent */
  show(turn) {
    const heard = Math.max(1, turn.shown);
    const sentence = sentencesOf(turn.text, this.language).find(({ end }) => heard <= end);
    if (!sentence) return;
    const middle = Math.max(sentence.start, turn.shown);
    const end = turn.state === "interrupted" ? middle : sentence.end;
    this.spoken.textContent = turn.text.slice(sentence.start, middle);
    this.ahead.textContent = turn.text.slice(middle, end);
    this.box.hidden = false;
  }

  clear() {
    this.box.hidden = true;
    this.spoken.textContent = "";
    this.ahead.textContent = "";
  }
}
