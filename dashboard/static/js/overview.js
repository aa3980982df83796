// The charts of the last hour. All else on the page freshens itself (live.js); what they draw changes by the minute, so
// it is asked for now and then.

import { timeChart } from "./charts.js";
import { words } from "./words.js";

const EVERY_MS = 10_000;
const time = words("overview.js.time");

const firstAudio = timeChart(document.getElementById("chart-first-audio"), {
  unit: words("overview.js.seconds"),
  digits: 2,
  time,
  series: [
    { label: words("overview.js.usual"), colour: "--accent" },
    { label: words("overview.js.slow"), colour: "--info", dashed: true },
  ],
});
const errors = timeChart(document.getElementById("chart-errors"), {
  time,
  series: [{ label: words("overview.js.errors"), colour: "--bad", bars: true }],
});
const failovers = timeChart(document.getElementById("chart-failovers"), {
  time,
  series: [{ label: words("overview.js.failovers"), colour: "--warn", bars: true }],
});

let askedAt = 0;

async function refresh() {
  if (Date.now() - askedAt < EVERY_MS) return;
  askedAt = Date.now();
  // Not by ask.js: nobody did anything, so this must neither keep the session from going idle nor ask for a password.
  const answer = await fetch("/api/history", { headers: { "X-Fragment": "live" } }).catch(() => null);
  if (!answer?.ok) return; // the page itself says what does not answer; the charts stay as they were
  const history = await answer.json();
  firstAudio.update([history.starts, history.first_audio_p50, history.first_audio_p95]);
  errors.update([history.starts, history.errors]);
  failovers.update([history.starts, history.failovers]);
}

document.addEventListener("live", refresh);
refresh();
