// @ts-check
/**
 * Keeps the parts of the page that change by themselves (`data-live`) up to date, while somebody looks.
 *
 * The key decision: the server says only that there is something new. The page then fetches itself and lays the new parts
 * over the old ones, so focus, selection, scrolling and open details stay, and there is one way in which things are shown.
 */

import { Idiomorph } from "../vendor/idiomorph/idiomorph.esm.js";
import { announce } from "./announce.js";
import { signInAgain } from "./ask.js";
import { now, showMoments, timeOfDay } from "./moments.js";
import { words } from "./words.js";

const STALE_AFTER_MILLISECONDS = 5000;
const AGAIN_AFTER_MILLISECONDS = 4000;
const TIMEOUT_MILLISECONDS = 8000;

/** @typedef {"starting" | "live" | "paused" | "stale" | "ended"} State */

/** @type {EventSource | null} */
let stream = null;
/** @type {State} */
let state = "starting";
let updatedAt = now();
/** When something came last, or when it was begun to wait for it, by the browser's own clock. */
let heardAt = performance.now();
let wanted = false;
/** @type {Promise<void> | null} */
let running = null;
/** @type {ReturnType<typeof setTimeout> | undefined} */
let reopening;
/** The ids of what the viewer has opened: a pool whose workers were silent for a moment comes back as it was left. */
const opened = new Set();

export function startLive() {
  if (!document.querySelector("[data-live]")) return;
  document.addEventListener("toggle", ({ target }) => {
    if (target instanceof HTMLDetailsElement && target.id) target.open ? opened.add(target.id) : opened.delete(target.id);
  }, { capture: true }); // it does not bubble
  /** @type {HTMLElement} */ (document.getElementById("live-mark")).hidden = false;
  document.addEventListener("visibilitychange", () => (document.hidden ? pause() : begin()));
  document.addEventListener("signed-in", begin);
  setInterval(() => {
    const isQuiet = performance.now() - heardAt > STALE_AFTER_MILLISECONDS;
    if (isQuiet && (state === "live" || state === "starting")) show("stale");
  }, 500);
  if (document.hidden) show("paused");
  else begin();
}

/** Bring the page up to date now. Several calls at once are one. @returns {Promise<void>} */
export function refresh() {
  wanted = true;
  running ??= catchUp().finally(() => (running = null));
  return running;
}

async function catchUp() {
  while (wanted) {
    wanted = false;
    try {
      await fetchParts();
    } catch {
      return; // nothing arrived: the mark says since when
    }
  }
}

/** Begin to wait for news. Trying once more because nothing answers is no new beginning: the page grows stale meanwhile. */
function begin() {
  heardAt = performance.now();
  show("starting");
  open();
}

function open() {
  stop();
  stream = new EventSource("/api/live");
  stream.addEventListener("seen", () => void refresh());
  stream.addEventListener("ended", ended);
  stream.addEventListener("error", () => {
    // The browser comes back by itself after a cut, but not after a refusal: nobody is signed in, or all seats are taken.
    if (stream?.readyState !== EventSource.CLOSED || state === "ended") return;
    void refresh();
    clearTimeout(reopening);
    reopening = setTimeout(open, AGAIN_AFTER_MILLISECONDS);
  });
}

function pause() {
  stop();
  if (state !== "ended") show("paused");
}

function stop() {
  clearTimeout(reopening);
  stream?.close();
  stream = null;
}

async function fetchParts() {
  const response = await fetch(location.href, {
    headers: { "X-Fragment": "live" }, credentials: "same-origin", cache: "no-store",
    signal: AbortSignal.timeout(TIMEOUT_MILLISECONDS),
  });
  if (response.status === 401 || response.redirected) {
    ended();
    return;
  }
  if (!response.ok) return;
  const page = new DOMParser().parseFromString(await response.text(), "text/html");
  for (const part of document.querySelectorAll("[data-live]")) {
    const newer = part.id && page.getElementById(part.id);
    if (newer) lay(newer, part);
  }
  heardAt = performance.now();
  updatedAt = now();
  if (!document.hidden) show("live");
  document.dispatchEvent(new CustomEvent("live", { detail: { at: updatedAt } }));
}

/** @param {Element} newer @param {Element} older */
function lay(newer, older) {
  showMoments(newer);
  Idiomorph.morph(older, newer, {
    ignoreActiveValue: true,
    callbacks: {
      // What the viewer has opened stays open, and what a script has drawn stays drawn.
      beforeAttributeUpdated: (/** @type {string} */ name, /** @type {Element} */ element) =>
        !(name === "open" && element instanceof HTMLDetailsElement),
      beforeNodeMorphed: (/** @type {Node} */ node) => !(node instanceof Element && node.hasAttribute("data-drawn")),
      afterNodeAdded: (/** @type {Node} */ node) => {
        if (!(node instanceof Element)) return;
        for (const details of [node, ...node.querySelectorAll("details")]) {
          if (details instanceof HTMLDetailsElement && opened.has(details.id)) details.open = true;
        }
      },
    },
  });
}

function ended() {
  if (state === "ended") return;
  stop();
  show("ended");
  // Whoever is typing goes on; they are asked when they send it. And one may look on without: the mark says what it is.
  if (!document.activeElement?.closest("input, textarea, select, dialog")) signInAgain().catch(() => {});
}

/** @param {State} next */
function show(next) {
  const before = state;
  state = next;
  const mark = /** @type {HTMLElement} */ (document.getElementById("live-mark"));
  mark.dataset.state = next;
  const isOld = next === "stale" || next === "ended";
  document.documentElement.toggleAttribute("data-stale", isOld);
  const key = { starting: "live_starting", live: "live_on", paused: "live_paused", stale: "live_stale", ended: "live_ended" }[next];
  /** @type {HTMLElement} */ (document.getElementById("live-text")).textContent = words(`common.js.${key}`, {
    time: timeOfDay(updatedAt),
  });
  if (before === next) return;
  if (next === "stale") announce(words("common.js.said_stale"));
  if (next === "ended") announce(words("common.js.said_ended"));
  if (next === "live" && (before === "stale" || before === "ended")) announce(words("common.js.said_live"));
}
