// A small chart over time in an element: uPlot with our colours, our size, and a legend that reads the values out.

import uPlot from "../vendor/uplot/uPlot.esm.js";

const HEIGHT = 130;
const DASH = [6, 4];

// `series` are {label, colour, dashed, bars}: the name of a custom property of the style sheet, and how it is drawn, so
// that two lines can be told apart without their colours. Returns what takes new columns: times first, then one for
// each series; null is a gap.
export function timeChart(element, { series, time, unit = "", digits = 0 }) {
  const write = new Intl.NumberFormat(document.documentElement.lang, {
    minimumFractionDigits: digits,
    maximumFractionDigits: digits,
  });
  const clock = new Intl.DateTimeFormat(document.documentElement.lang, { hour: "2-digit", minute: "2-digit", hourCycle: "h23" });
  const say = (value) => (value === null || value === undefined ? "–" : `${write.format(value)}${unit ? ` ${unit}` : ""}`);
  let columns = [[], ...series.map(() => [])];
  let chart = draw();

  function draw() {
    const axis = { stroke: colour("--ink-soft"), grid: { stroke: colour("--line"), width: 1 }, ticks: { show: false } };
    return new uPlot(
      {
        width: Math.max(element.clientWidth, 160),
        height: HEIGHT,
        padding: [8, 20, 0, 0],
        cursor: { drag: { x: false, y: false }, points: { size: 6 } },
        scales: { y: { range: (_, least, most) => [0, Math.max(most ?? 0, digits ? 0.1 : 1) * 1.1] } },
        axes: [
          { ...axis, space: 60, size: 26, values: (_, moments) => moments.map((at) => clock.format(at * 1000)) },
          { ...axis, size: 44, space: 30, incrs: digits ? undefined : [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000] },
        ],
        series: [
          { value: (_, at) => (at === null ? "–" : clock.format(at * 1000)), label: time },
          ...series.map(({ label, colour: name, dashed, bars }) => ({
            label,
            stroke: colour(name),
            fill: bars ? colour(name) : undefined,
            width: bars ? 0 : 1.5,
            dash: dashed ? DASH : undefined,
            paths: bars ? uPlot.paths.bars({ size: [0.7, 12] }) : undefined,
            points: { show: !bars, size: 3 },
            value: (_, value) => say(value),
          })),
        ],
      },
      columns,
      element,
    );
  }

  // A canvas does not know the style sheet's light-dark(): the browser works out what it is now.
  function colour(name) {
    element.style.color = `var(${name})`;
    const found = getComputedStyle(element).color;
    element.style.color = "";
    return found;
  }

  function redraw() {
    chart.destroy();
    chart = draw();
  }

  new ResizeObserver(() => {
    const width = Math.max(element.clientWidth, 160);
    if (width !== chart.width) chart.setSize({ width, height: HEIGHT });
  }).observe(element);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
  new MutationObserver(redraw).observe(document.documentElement, { attributeFilter: ["data-theme"] });

  return {
    update(next) {
      columns = next;
      chart.setData(columns);
    },
  };
}
