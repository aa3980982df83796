// @ts-check
/** Cuts text into sentences, as the language does it. */

/**
 * @param {string} text
 * @param {string} language a BCP 47 tag
 * @returns {{start: number, end: number}[]} ranges that cover the text without a gap
 */
export function sentencesOf(text, language) {
  if (typeof Intl.Segmenter !== "function") return byPunctuation(text);
  const segmenter = new Intl.Segmenter(language, { granularity: "sentence" });
  return Array.from(segmenter.segment(text), ({ index, segment }) => ({ start: index, end: index + segment.length }));
}

/** @param {string} text */
function byPunctuation(text) {
  return Array.from(text.matchAll(/.+?(?:[.!?…]+\s+|$)/gsu), (match) => ({
    start: match.index, end: match.index + match[0].length,
  }));
}
