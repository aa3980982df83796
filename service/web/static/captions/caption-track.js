// @ts-check
/**
 * Which part of an answer has been spoken at a given millisecond. Pure.
 *
 * The key decision: two clocks, one question. Where the server sends the characters' times they are used; where it
 * does not, the text is spread evenly over the audio received so far, never thinner than people speak.
 */

const MILLISECONDS_PER_CHARACTER = 62; // about 16 characters a second, measured on synthetic English and Spanish
const SEARCH_WINDOW = 12; // the voice may say "2 p.m." where the text has "2 pm"

export class CaptionTrack {
  constructor() {
    this.text = "";
    this.audioMilliseconds = 0;
    /** @type {{character: string, at: number}[]} */
    this.spoken = [];
    /** @type {{end: number, at: number}[]} `text` up to `end` is spoken from `at` on */
    this.marks = [];
  }

  /** @param {string} text of the whole answer, as far as it is known */
  setText(text) {
    this.text = text;
    this.marks = marksFor(text, this.spoken);
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
    alignment.chars.forEach((character, index) => {
      this.spoken.push({ character, at: begin + (alignment.starts[index] ?? 0) });
    });
    this.marks = marksFor(this.text, this.spoken);
  }

  /**
   * @param {number} milliseconds into the answer's audio
   * @returns {number} how many characters of the text have been begun; always at the end of a word
   */
  spokenLength(milliseconds) {
    const length = this.marks.length > 0 ? this.#byMarks(milliseconds) : this.#byProportion(milliseconds);
    return endOfWord(this.text, length);
  }

  /** @param {number} milliseconds */
  #byMarks(milliseconds) {
    let end = 0;
    for (const mark of this.marks) {
      if (mark.at > milliseconds) break;
      end = mark.end;
    }
    return end;
  }

  /** @param {number} milliseconds */
  #byProportion(milliseconds) {
    // More audio may still be on its way: do not run ahead of it.
    const whole = Math.max(this.audioMilliseconds, this.text.length * MILLISECONDS_PER_CHARACTER);
    return whole === 0 ? 0 : Math.floor(Math.min(1, milliseconds / whole) * this.text.length);
  }
}

/**
 * Find the spoken characters in the written text, in order, skipping what only one of the two has.
 * @param {string} text @param {{character: string, at: number}[]} spoken
 */
function marksFor(text, spoken) {
  /** @type {{end: number, at: number}[]} */
  const marks = [];
  let cursor = 0;
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
