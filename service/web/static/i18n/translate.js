// @ts-check
/** Picks the page's language by the browser's and puts the texts in their places. */

import { en } from "./en.js";
import { es } from "./es.js";

const LANGUAGES = { en, es };

/** @typedef {keyof typeof en} TextKey */

/**
 * @param {readonly string[]} wanted BCP 47 tags, best first
 * @returns {"en" | "es"}
 */
export const chooseLanguage = (wanted) => (preferredLanguage(wanted, Object.keys(LANGUAGES)) === "es" ? "es" : "en");

/**
 * @param {readonly string[]} wanted BCP 47 tags, best first
 * @param {readonly string[]} known two-letter languages
 * @returns {string} the best one that is known, or nothing
 */
export function preferredLanguage(wanted, known) {
  return wanted.map((tag) => tag.toLowerCase().split("-")[0]).find((tag) => known.includes(tag)) ?? "";
}

/**
 * @param {"en" | "es"} language
 * @returns {(key: TextKey) => string}
 */
export function translator(language) {
  return (key) => LANGUAGES[language][key];
}

/**
 * Fill `data-i18n` (text), `data-i18n-label` (accessible name) and `data-i18n-placeholder`.
 * @param {Document} page @param {"en" | "es"} language
 */
export function translatePage(page, language) {
  const text = translator(language);
  page.documentElement.lang = language;
  page.title = text("title");
  each(page, "i18n", (element, key) => { element.textContent = text(key); });
  each(page, "i18nLabel", (element, key) => element.setAttribute("aria-label", text(key)));
  each(page, "i18nPlaceholder", (element, key) => element.setAttribute("placeholder", text(key)));
}

/**
 * @param {Document} page @param {string} name of the data attribute, as in `dataset`
 * @param {(element: HTMLElement, key: TextKey) => void} apply
 */
function each(page, name, apply) {
  const attribute = `data-${name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)}`;
  for (const element of page.querySelectorAll(`[${attribute}]`)) {
    if (element instanceof HTMLElement) apply(element, /** @type {TextKey} */ (element.dataset[name]));
  }
}
