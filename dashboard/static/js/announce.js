// @ts-check
/** Says to people who listen what others see: changes of state, never the seconds. */

/** @param {string} text */
export function announce(text) {
  const place = document.getElementById("announcer");
  if (!place) return;
  // The same words twice are silent unless the place was empty in between.
  place.textContent = "";
  requestAnimationFrame(() => (place.textContent = text));
}
