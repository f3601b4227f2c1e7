// The program's clock in this tab: ages and countdowns are counted here, not sent every second.

import { duration } from "./words.js";

let offset = 0;

export function setClock(now) {
  offset = now - performance.now() / 1000;
}

const now = () => performance.now() / 1000 + offset;

function write(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** Bring every age, countdown and progress bar on the page up to date. */
export function tick() {
  const at = now();
  for (const e of document.querySelectorAll("time[data-since]")) {
    write(e, duration(at - Number(e.dataset.since)));
  }
  for (const e of document.querySelectorAll("time[data-until]")) {
    write(e, duration(Math.ceil(Number(e.dataset.until) - at)));
  }
  for (const e of document.querySelectorAll("[data-gone-at]")) {
    e.hidden = at >= Number(e.dataset.goneAt);
  }
  for (const e of document.querySelectorAll("progress[data-from]")) {
    const part = (at - Number(e.dataset.from)) / Math.max(0.1, Number(e.dataset.usual));
    e.value = part < 0.9 ? part : 1 - 0.1 * Math.exp(0.9 - part); // never there before it is
  }
}

export function startClock() {
  setClock(Number(document.body.dataset.now));
  tick();
  setInterval(() => document.hidden || tick(), 500);
}
