// @ts-check
/**
 * The day on which a key ends is asked for when it is wanted. Of a revoked key it is said how many workers have confirmed
 * it, and for how long the others may still let it in.
 */

import { carry } from "./carried.js";
import { words } from "./words.js";

document.addEventListener("done", (event) => {
  if (!(/** @type {Element} */ (event.target).matches("[data-revokes]"))) return;
  const { workers, confirmed, within_seconds: seconds } = /** @type {CustomEvent} */ (event).detail;
  if (seconds === 0) carry(words("api_keys.js.revoked_now", { count: workers }));
  else carry(words("api_keys.js.revoked_soon", { confirmed, workers, seconds }), "warn");
  location.reload();
});

const expiry = /** @type {HTMLSelectElement | null} */ (document.getElementById("key-expiry"));
const day = /** @type {HTMLElement | null | undefined} */ (document.getElementById("key-last-day")?.closest(".field"));

function showDay() {
  if (day) day.hidden = expiry?.value !== "date";
}

expiry?.addEventListener("change", showDay);
showDay();
