// One event stream per visible tab. Browsers open six connections per host and no more, so a hidden
// tab closes its stream, and of many visible ones only the latest few have one; the others ask now
// and then. htmx's own extension for event streams can do neither.

import { t } from "./words.js";

const STREAMS = 4;
const POLL = 3000;
const PATIENCE = [300, 600, 1000, 2000, 3000];

export class Live {
  #source = null;
  #timer = 0;
  #tries = 0;
  #later = 0;
  #polling = false;
  #opened = 0;
  #tabs = "BroadcastChannel" in window ? new BroadcastChannel("llm-manager-tabs") : null;

  /** `on` has update, history and log, each called with its data. */
  constructor(on) {
    this.on = on;
    document.addEventListener("visibilitychange", () => this.restart());
    window.addEventListener("focus", () => this.#polling && this.restart());
    window.addEventListener("pagehide", () => this.#stop());
    window.addEventListener("pageshow", (event) => event.persisted && this.restart());
    if (this.#tabs) this.#tabs.onmessage = () => this.#anotherOpened();
    this.restart();
  }

  /** Begin anew: the panel is another one, or the tab was shown or hidden. */
  restart() {
    this.#stop();
    if (document.hidden) return this.#show("paused");
    this.#polling = false;
    this.#open();
  }

  #stop() {
    clearTimeout(this.#timer);
    this.#source?.close();
    this.#source = null;
    this.#opened += 1;
  }

  #url(once) {
    const { boot, version, language } = document.body.dataset;
    const panel = document.getElementById("panel")?.dataset ?? {};
    const query = new URLSearchParams({ boot, version, language });
    for (const key of ["panel", "name", "tab"]) if (panel[key]) query.set(key, panel[key]);
    if (once) query.set("once", "1");
    return `/live?${query}`;
  }

  #open() {
    this.#later = 0;
    this.#tabs?.postMessage("open");
    const source = new EventSource(this.#url(false));
    this.#source = source;
    for (const name of ["update", "history", "log"]) {
      source.addEventListener(name, (event) => {
        if (source !== this.#source) return;
        this.#tries = 0;
        this.#show("live");
        this.on[name](JSON.parse(event.data));
      });
    }
    source.onerror = () => source === this.#source && this.#lost();
  }

  #anotherOpened() {
    this.#later += 1;
    if (this.#source && this.#later >= STREAMS) {
      this.#stop();
      this.#polling = true;
      this.#poll();
    }
  }

  async #poll() {
    const turn = this.#opened;
    try {
      const answer = await fetch(this.#url(true), { signal: AbortSignal.timeout(5000) });
      const data = await answer.json();
      if (turn !== this.#opened) return;
      this.#tries = 0;
      this.#show("live");
      this.on.update(data.update);
      this.on.history(data.history);
      if (data.log) this.on.log(data.log);
      this.#timer = setTimeout(() => this.#poll(), POLL);
    } catch {
      if (turn === this.#opened) this.#lost();
    }
  }

  #lost() {
    this.#stop();
    this.#show("lost");
    const wait = PATIENCE[Math.min(this.#tries++, PATIENCE.length - 1)];
    this.#timer = setTimeout(() => (this.#polling ? this.#poll() : this.#open()), wait);
  }

  #show(state) {
    const mark = document.getElementById("link");
    if (mark.dataset.link === state) return;
    mark.dataset.link = state;
    mark.lastElementChild.textContent = t(state);
  }
}
