// The charts of the pools' last hour.

import { timeChart } from "./charts.js";
import { followHour } from "./hour.js";
import { words } from "./words.js";

const time = words("pool.js.time");

function chartsOf(pool) {
  const chart = (name, options) => timeChart(document.getElementById(`chart-${pool}-${name}`), { time, ...options });
  const lent = chart("lent", { digits: 1, series: [{ label: words("pool.js.lent"), colour: "--accent" }] });
  const wait = chart("wait", {
    unit: words("pool.js.seconds"),
    digits: 3,
    series: [{ label: words("pool.js.wait"), colour: "--info" }],
  });
  const refused = chart("refused", { series: [{ label: words("pool.js.refused"), colour: "--bad", bars: true }] });
  return (starts, columns) => {
    lent.update([starts, columns.lent]);
    wait.update([starts, columns.mean_wait_seconds]);
    refused.update([starts, columns.refused]);
  };
}

const draw = { agents: chartsOf("agents"), speech: chartsOf("speech") };

followHour(({ starts, pools }) => {
  for (const [pool, columns] of Object.entries(pools)) draw[pool]?.(starts, columns);
});
