// @ts-check
/** Finds the page's parts by their test ids, so that what the tests hold on to is what the code uses. */

/**
 * @template {HTMLElement} T
 * @param {string} testId
 * @param {new () => T} kind
 * @returns {T}
 * @throws {Error} if the template and the scripts do not belong together
 */
export function part(testId, kind) {
  const found = document.querySelector(`[data-testid="${testId}"]`);
  if (!(found instanceof kind)) throw new Error(`the page has no ${kind.name} named ${testId}`);
  return found;
}

/** @param {string} testId */
export const element = (testId) => part(testId, HTMLElement);

/** @param {string} testId */
export const button = (testId) => part(testId, HTMLButtonElement);
