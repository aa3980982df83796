// @ts-check
/**
 * Which part of an answer has been spoken at a given millisecond. Pure.
 *
 * The key decision: two clocks, one question. Where the server sends the characters' times they are used; where it
 * does not, the text is spread evenly over the audio received so far, never thinner than people speak. An answer that
 * another voice finishes has one stretch of each voice, and either clock in each of them.
 */

const MILLISECONDS_PER_CHARACTER = 62; // about 16 characters a second, measured on synthetic English and Spanish
const SEARCH_WINDOW = 12; // the voice may say "2 p.m." where the text has "2 pm"
const HEAD_LENGTH = 16; // characters by which a new voice's place in the text is found
const HEAD_WINDOW = 80; // how far from where the old one stopped, to either side
const UNSPOKEN_AT_THE_END = 8; // a full stop, a bracket, a smile: nothing that is worth waiting for

/**
 * @typedef {{end: number, at: number}} Mark  `text` up to `end` is spoken from `at` on, ms into the answer
 * @typedef {object} Stretch  what one voice says
 * @property {number} begin  ms into the answer
 * @property {{character: string, at: number}[]} spoken
 * @property {Mark[]} marks
 * @property {number} from  where in the text it begins
 * @property {boolean} joins  another voice has begun this answer
 */

export class CaptionTrack {
  constructor() {
    this.text = "";
    this.audioMilliseconds = 0;
    /** @type {Stretch[]} */
    this.stretches = [newStretch(0, false)];
  }

  /** Whether all of the text has been spoken, as far as anybody can tell. */
  get isComplete() {
    const marks = this.stretches.flatMap((stretch) => stretch.marks);
    return marks.length === 0 || this.text.length - Math.max(...marks.map(({ end }) => end)) <= UNSPOKEN_AT_THE_END
      || this.stretches[this.stretches.length - 1].marks.length === 0;
  }

  /** @param {string} text of the whole answer, as far as it is known */
  setText(text) {
    this.text = text;
    this.#place();
  }

  /** Another voice speaks from here on. */
  changeVoice() {
    const last = this.stretches[this.stretches.length - 1];
    if (this.audioMilliseconds === last.begin) return;
    this.stretches.push(newStretch(this.audioMilliseconds, true));
    this.#place();
  }

  /**
   * Another chunk of audio follows.
   * @param {number} milliseconds of its length
   * @param {import("../conversation/protocol.js").Alignment | null} alignment
   */
  addAudio(milliseconds, alignment) {
    const begin = this.audioMilliseconds;
    this.audioMilliseconds += milliseconds;
    if (!alignment) return;
    const { spoken } = this.stretches[this.stretches.length - 1];
    alignment.chars.forEach((character, index) => {
      spoken.push({ character, at: begin + (alignment.starts[index] ?? 0) });
    });
    this.#place();
  }

  /**
   * @param {number} milliseconds into the answer's audio
   * @returns {number} how many characters of the text have been begun; always at the end of a word
   */
  spokenLength(milliseconds) {
    const index = Math.max(0, this.stretches.findLastIndex(({ begin }) => begin <= milliseconds));
    const { marks, from } = this.stretches[index];
    const length = marks.length > 0 ? byMarks(marks, from, milliseconds) : this.#byProportion(index, milliseconds);
    return endOfWord(this.text, length);
  }

  /** Find each stretch's characters in the text, one stretch behind the other. */
  #place() {
    let cursor = 0;
    for (const stretch of this.stretches) {
      stretch.from = stretch.joins ? placeOfHead(this.text, stretch.spoken, cursor) : cursor;
      stretch.marks = marksFor(this.text, stretch.spoken, stretch.from);
      cursor = stretch.marks.at(-1)?.end ?? stretch.from;
    }
  }

  /** Voices without times that follow each other share what they say between them. @param {number} index @param {number} milliseconds */
  #byProportion(index, milliseconds) {
    const first = this.stretches.findLastIndex(({ marks }, each) => each < index && marks.length > 0) + 1;
    const { begin, from } = this.stretches[first];
    const next = this.stretches.find(({ marks }, each) => each > index && marks.length > 0);
    const to = next ? next.from : this.text.length;
    // More audio may still be on its way: do not run ahead of it.
    const least = (to - from) * MILLISECONDS_PER_CHARACTER;
    const whole = next ? next.begin - begin : Math.max(this.audioMilliseconds - begin, least);
    return whole <= 0 ? from : from + Math.floor(Math.min(1, (milliseconds - begin) / whole) * (to - from));
  }
}

/** @param {number} begin @param {boolean} joins @returns {Stretch} */
function newStretch(begin, joins) {
  return { begin, joins, spoken: [], marks: [], from: 0 };
}

/** @param {Mark[]} marks @param {number} from @param {number} milliseconds */
function byMarks(marks, from, milliseconds) {
  let end = from;
  for (const mark of marks) {
    if (mark.at > milliseconds) break;
    end = mark.end;
  }
  return end;
}

/**
 * Where a new voice joins in: it may say the broken word again, or begin with the next one.
 * @param {string} text @param {{character: string}[]} spoken @param {number} cursor where the voice before it stopped
 */
function placeOfHead(text, spoken, cursor) {
  const head = spoken.slice(0, HEAD_LENGTH).map(({ character }) => character).join("").trim();
  if (head === "") return cursor;
  // Without the times of the voice before it, its end is only known from here.
  const start = cursor === 0 ? 0 : Math.max(0, cursor - HEAD_WINDOW);
  const end = cursor === 0 ? text.length : cursor + HEAD_WINDOW + HEAD_LENGTH;
  let best = -1;
  for (let at = text.indexOf(head, start); at >= 0 && at < end; at = text.indexOf(head, at + 1)) {
    if (best < 0 || Math.abs(at - cursor) < Math.abs(best - cursor)) best = at;
  }
  return best < 0 ? cursor : best;
}

/**
 * Find the spoken characters in the written text, in order, skipping what only one of the two has.
 * @param {string} text @param {{character: string, at: number}[]} spoken @param {number} from
 */
function marksFor(text, spoken, from) {
  /** @type {Mark[]} */
  const marks = [];
  let cursor = from;
  for (const { character, at } of spoken) {
    if (character.trim() === "") continue;
    const found = text.slice(cursor, cursor + SEARCH_WINDOW).indexOf(character);
    if (found < 0) continue;
    cursor += found + character.length;
    marks.push({ end: cursor, at });
  }
  return marks;
}

/** @param {string} text @param {number} length */
function endOfWord(text, length) {
  if (length === 0) return 0;
  const space = text.slice(length).search(/\s/);
  return text[length - 1]?.trim() === "" ? length : space < 0 ? text.length : length + space;
}
