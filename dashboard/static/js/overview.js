// The charts of the last hour.

import { timeChart } from "./charts.js";
import { followHour } from "./hour.js";
import { words } from "./words.js";

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

followHour((history) => {
  firstAudio.update([history.starts, history.first_audio_p50, history.first_audio_p95]);
  errors.update([history.starts, history.errors]);
  failovers.update([history.starts, history.failovers]);
});
