// @ts-check
/**
 * Finds what the page has heard in what the server knows was said. Pure.
 *
 * The key decision: the longest order-preserving match, as in comparing two texts by lines. Nothing has a name that
 * both sides know, and the same "Yes." may have been said three times.
 */

/** @typedef {{speaker: string, text: string}} Line */

/**
 * @template {Line} T
 * @param {readonly T[]} heard in their order
 * @param {readonly Line[]} history in its order
 * @returns {(T | undefined)[]} for each line of the history what the page has of it
 */
export function matchHistory(heard, history) {
  const best = bestCounts(heard, history);
  /** @type {(T | undefined)[]} */
  const found = history.map(() => undefined);
  let [i, j] = [0, 0];
  while (i < heard.length && j < history.length) {
    const likeness = likenessOf(heard[i], history[j]);
    if (likeness > 0 && best[i][j] === likeness + best[i + 1][j + 1]) {
      found[j] = heard[i];
      i += 1;
      j += 1;
    } else if (best[i + 1][j] >= best[i][j + 1]) i += 1;
    else j += 1;
  }
  return found;
}

/** @param {readonly Line[]} heard @param {readonly Line[]} history @returns {number[][]} the best from each pair on */
function bestCounts(heard, history) {
  const best = Array.from({ length: heard.length + 1 }, () => Array(history.length + 1).fill(0));
  for (let i = heard.length - 1; i >= 0; i -= 1) {
    for (let j = history.length - 1; j >= 0; j -= 1) {
      const likeness = likenessOf(heard[i], history[j]);
      const together = likeness > 0 ? likeness + best[i + 1][j + 1] : 0;
      best[i][j] = Math.max(together, best[i + 1][j], best[i][j + 1]);
    }
  }
  return best;
}

/** @param {Line} one @param {Line} other @returns {number} 2: the same; 1: one is the other's beginning; 0: neither */
function likenessOf(one, other) {
  if (one.speaker !== other.speaker) return 0;
  const [a, b] = [wordsOf(one.text), wordsOf(other.text)];
  if (a === b) return 2;
  return a !== "" && b !== "" && (a.startsWith(b) || b.startsWith(a)) ? 1 : 0;
}

/** @param {string} text without what an interruption puts behind it */
function wordsOf(text) {
  return text.replace(/\s+/g, " ").replace(/[ …—-]+$/, "").trim();
}
