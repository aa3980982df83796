// @ts-check
/**
 * The day on which a key ends is asked for when it is wanted. Of a key that was changed or revoked it is said how many
 * workers have confirmed it, and for how long the others may still take it as it was.
 */

import { carry } from "./carried.js";
import { words } from "./words.js";

document.addEventListener("done", (event) => {
  const form = /** @type {Element} */ (event.target);
  const done = form.matches("[data-revokes]") ? "revoked" : form.matches("[data-changes-limits]") ? "limited" : null;
  if (!done) return;
  const { workers, confirmed, within_seconds: seconds } = /** @type {CustomEvent} */ (event).detail;
  if (seconds === 0) carry(words(`api_keys.js.${done}_now`, { count: workers }));
  else carry(words(`api_keys.js.${done}_soon`, { confirmed, workers, seconds }), "warn");
  location.reload();
});

// What was typed and not sent is no limit: whoever opens the dialog again sees those that hold.
for (const form of document.querySelectorAll("form[data-changes-limits]")) {
  form.closest("dialog")?.addEventListener("close", () => /** @type {HTMLFormElement} */ (form).reset());
}

const expiry = /** @type {HTMLSelectElement | null} */ (document.getElementById("key-expiry"));
const day = /** @type {HTMLElement | null | undefined} */ (document.getElementById("key-last-day")?.closest(".field"));

function showDay() {
  if (day) day.hidden = expiry?.value !== "date";
}

expiry?.addEventListener("change", showDay);
showDay();
