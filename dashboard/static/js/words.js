// @ts-check
/** What scripts say, in the page's language: the server puts the words of each page beside it. */

/** @type {Record<string, string>} */
const known = {};
for (const block of document.querySelectorAll("script[data-words]")) {
  Object.assign(known, JSON.parse(block.textContent ?? "{}"));
}

export const language = document.documentElement.lang;

/**
 * @param {string} key as `t` has it on the server; with `count`, `key.one` or `key.other` is taken where they exist
 * @param {Record<string, string | number>} [values] what stands in braces
 * @returns {string}
 */
export function words(key, values = {}) {
  const form = "count" in values ? `${key}.${values.count === 1 ? "one" : "other"}` : key;
  const text = known[form] ?? known[key] ?? key;
  return text.replace(/\{(\w+)\}/g, (whole, name) => (name in values ? String(values[name]) : whole));
}
