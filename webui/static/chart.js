// The time line of each device: memory in use, and our share of it, over the last 15 minutes.

import { duration, megabytes, t } from "./words.js";

const HEIGHT = 52;
const plots = new Map(); // element -> uPlot
let latest = null;

const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

/** As long as the history is: a program that has just started shows its first minutes large. */
const span = (_, from) => [Math.max(-900, Math.min(from ?? 0, -60)), 0];

function labels(from) {
  const step = [15, 30, 60, 120, 300].find((s) => -from / s <= 4.5) ?? 300;
  const places = [];
  for (let s = -step; s > from * 0.95; s -= step) places.unshift(s);
  return places;
}

const ago = (s) => (s > -60 ? `${s} ${t("unit_s")}` : `${s / 60} ${t("unit_min")}`).replace("-", "−");

function options(element, total) {
  const stepped = uPlot.paths.stepped({ align: 1 });
  const note = document.createElement("p");
  note.className = "chart-note";
  element.append(note);
  const axis = { stroke: css("--text-2"), grid: { show: false }, ticks: { show: false } };
  return {
    width: element.clientWidth,
    height: HEIGHT,
    legend: { show: false },
    cursor: { y: false, drag: { x: false, y: false }, points: { size: 5 } },
    scales: { x: { time: false, range: span }, y: { range: [0, total] } },
    padding: [4, 0, 0, 0],
    axes: [
      {
        ...axis,
        size: 18,
        gap: 3,
        font: `11px ${css("--sans")}`,
        splits: (_, __, from) => labels(from),
        values: (_, splits) => splits.map(ago),
      },
      { show: false },
    ],
    series: [
      {},
      { stroke: css("--others-line"), fill: css("--others-fill"), width: 1, points: { show: false }, paths: stepped },
      { stroke: css("--ours-line"), fill: css("--ours-fill"), width: 1, points: { show: false }, paths: stepped },
    ],
    hooks: {
      setCursor: [
        (plot) => {
          const at = plot.cursor.idx;
          const used = at == null ? null : plot.data[1][at];
          note.textContent =
            used == null
              ? ""
              : `−${duration(-plot.data[0][at])} · ${t("in_use")} ${megabytes(used)} · ${t("ours")} ${megabytes(plot.data[2][at])}`;
        },
      ],
    },
  };
}

/** Show new data, or the last data again where elements are new. */
export function draw(data = latest) {
  latest = data;
  for (const [element, plot] of plots) {
    if (!element.isConnected) {
      plot.destroy();
      plots.delete(element);
    }
  }
  if (!data) return;
  for (const element of document.querySelectorAll("[data-chart]")) {
    const device = data.devices[element.dataset.chart];
    if (!device || !element.clientWidth) continue;
    const rows = [data.t, device.used, device.ours];
    const known = plots.get(element);
    if (known) known.setData(rows);
    else plots.set(element, new uPlot(options(element, device.total), rows, element));
  }
}

function again() {
  for (const [element, plot] of plots) {
    plot.destroy();
    element.replaceChildren();
  }
  plots.clear();
  draw();
}

export function startCharts() {
  addEventListener("theme", again);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", again);
  new ResizeObserver(() => {
    for (const [element, plot] of plots) {
      if (element.clientWidth && element.clientWidth !== plot.width) {
        plot.setSize({ width: element.clientWidth, height: HEIGHT });
      }
    }
    draw();
  }).observe(document.querySelector(".board"));
}
