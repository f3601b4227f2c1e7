// Joins the parts: what the stream brings goes into the page, what the panel shows goes to the stream.

import { hideWhatWasHidden, startActions } from "./actions.js";
import { render } from "./ansi.js";
import { draw, startCharts } from "./chart.js";
import { setClock, startClock, tick } from "./clock.js";
import { Live } from "./live.js";
import { LogView } from "./log.js";
import { arrange, startModels } from "./models.js";
import { describe } from "./try.js";

let log = null;

const KEEP = {
  ignoreActiveValue: true,
  callbacks: {
    beforeNodeMorphed: (old) => !(old instanceof Element && old.hasAttribute("data-keep")),
  },
};

function update({ boot, version, now, html }) {
  const { dataset } = document.body;
  setClock(now);
  dataset.boot = boot;
  dataset.version = version;
  for (const [id, text] of Object.entries(html)) {
    const old = document.getElementById(id);
    if (!old) continue;
    Idiomorph.morph(old, text, { morphStyle: "outerHTML", ...KEEP });
    htmx.process(document.getElementById(id));
  }
  settle();
}

/** What only the browser knows: order, hidden banners, seconds, charts of new devices. */
function settle() {
  arrange();
  hideWhatWasHidden();
  colour();
  tick();
  draw();
}

function colour() {
  for (const element of document.querySelectorAll("[data-ansi]")) {
    element.removeAttribute("data-ansi");
    const text = element.textContent;
    if (text.includes("\x1b")) render(element, text, 0, Infinity, "");
  }
}

function panelChanged() {
  log?.close();
  const root = document.querySelector("[data-log-view]");
  log = root ? new LogView(root) : null;
  const panel = document.getElementById("panel");
  for (const form of document.querySelectorAll("form.try")) describe(form);
  for (const link of document.querySelectorAll("[data-page]")) {
    const here = link.dataset.page === (panel?.dataset.url ?? "/");
    if (here) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  if (!panel) document.body.classList.remove("is-wide");
  colour();
  tick();
}

function startPanel(live) {
  let inside = false;
  let opener = ""; // where the focus goes when the panel closes
  document.body.addEventListener("htmx:beforeSwap", (event) => {
    if (event.detail.xhr.status === 404) event.detail.shouldSwap = true; // the page says it itself
    const at = document.activeElement; // the body: an update replaced what had the focus
    inside = document.getElementById("detail").contains(at) || (at === document.body && opener);
    if (!inside) opener = at.getAttribute("href") ?? "";
  });
  const changed = () => {
    panelChanged();
    live.restart();
    const place = inside ? "#panel .tabs [aria-current]" : "#panel-title";
    const target = document.querySelector(place) ?? document.getElementById("panel-title");
    if (target) target.focus({ preventScroll: true });
    else if (inside && opener) document.querySelector(`a[href="${CSS.escape(opener)}"]`)?.focus();
    if (!target) opener = "";
  };
  document.body.addEventListener("htmx:afterSettle", changed); // its links work from then on
  document.body.addEventListener("htmx:historyRestore", changed);
  document.addEventListener("keydown", (event) => {
    const typing = event.target.closest("input, textarea, select, dialog");
    if (event.key === "Escape" && !typing && !document.querySelector("dialog[open]")) {
      document.getElementById("panel-close")?.click();
    }
    if (event.key === "/" && !typing && !event.ctrlKey && !event.metaKey) {
      event.preventDefault();
      document.getElementById("model-search").focus();
    }
  });
}

startClock();
startActions();
startModels();
startCharts();
panelChanged();
hideWhatWasHidden();
const live = new Live({ update, history: draw, log: (batch) => log?.add(batch) });
startPanel(live);
