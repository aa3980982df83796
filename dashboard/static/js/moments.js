// @ts-check
/**
 * Times in the viewer's zone, and what counts up or down.
 *
 * The server writes UTC into the page and the exact UTC behind each time; here it becomes the viewer's own clock. Ages and
 * countdowns go by the server's clock, because the viewer's may be wrong.
 */

import { language, words } from "./words.js";

const HOUR = 3600;
const DAY = 24 * HOUR;

const clock = new Intl.DateTimeFormat(language, { hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" });
const dayAndClock = new Intl.DateTimeFormat(language, {
  month: "short", day: "numeric", hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23",
});
const withYear = new Intl.DateTimeFormat(language, {
  year: "numeric", month: "short", day: "numeric", hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23",
});

const loadedAt = Date.now();
const serverAtLoad = Number(document.documentElement.dataset.now) * 1000 || loadedAt;

/** @returns {number} the server's time in milliseconds */
export const now = () => serverAtLoad + (Date.now() - loadedAt);

/** @param {number} at milliseconds @returns {string} */
export const timeOfDay = (at) => clock.format(at);

/** Put every time below `root` into the viewer's words. @param {ParentNode} [root] */
export function showMoments(root = document) {
  for (const element of root.querySelectorAll("time[data-moment]")) show(/** @type {HTMLTimeElement} */ (element));
}

/** Keep what counts going, while somebody looks. */
export function startMoments() {
  showMoments();
  setInterval(() => {
    if (document.hidden) return;
    for (const element of document.querySelectorAll('time[data-moment="ago"], time[data-moment="countdown"]')) {
      show(/** @type {HTMLTimeElement} */ (element));
    }
  }, 1000);
  document.addEventListener("visibilitychange", () => showMoments());
}

/** @param {HTMLTimeElement} element */
function show(element) {
  const at = Date.parse(element.dateTime);
  if (Number.isNaN(at)) return;
  const text = inWords(at, element.dataset.moment ?? "time");
  if (element.textContent !== text) element.textContent = text;
}

/** @param {number} at @param {string} style @returns {string} */
function inWords(at, style) {
  if (style === "ago") return ago((now() - at) / 1000);
  if (style === "countdown") return countdown((at - now()) / 1000);
  if (style === "time" && sameDay(at, now())) return clock.format(at);
  return new Date(at).getFullYear() === new Date(now()).getFullYear() ? dayAndClock.format(at) : withYear.format(at);
}

/** @param {number} one @param {number} other */
const sameDay = (one, other) => new Date(one).toDateString() === new Date(other).toDateString();

/** @param {number} seconds @returns {string} */
function ago(seconds) {
  if (seconds < -1) return words("common.js.ahead", { time: length(-seconds) });
  return seconds < 2 ? words("common.js.just_now") : words("common.js.ago", { time: length(seconds) });
}

/** @param {number} seconds @returns {string} 4:05, 1:04:05, or days */
function countdown(seconds) {
  if (seconds <= 0) return words("common.js.over");
  if (seconds >= 2 * DAY) return length(seconds);
  const whole = Math.ceil(seconds);
  const two = (/** @type {number} */ value) => String(value).padStart(2, "0");
  const minutes = Math.floor(whole / 60);
  return minutes < 60
    ? `${minutes}:${two(whole % 60)}`
    : `${Math.floor(minutes / 60)}:${two(minutes % 60)}:${two(whole % 60)}`;
}

/** @param {number} seconds @returns {string} one unit, as a glance needs it */
function length(seconds) {
  if (seconds < 60) return words("common.js.seconds", { count: Math.floor(seconds) });
  if (seconds < HOUR) return words("common.js.minutes", { count: Math.floor(seconds / 60) });
  if (seconds < 2 * DAY) return words("common.js.hours", { count: Math.floor(seconds / HOUR) });
  return words("common.js.days", { count: Math.floor(seconds / DAY) });
}
