// A log of any length: only the rows in sight exist. All rows are equally high; a long line takes
// several of them when it is wrapped.

import { plain, render } from "./ansi.js";
import { t } from "./words.js";

const ROW = 18;
const KEPT = 200_000;
const BESIDE = 20; // rows above and below those in sight
const WRAP = "llm-manager-log-wrap";

export class LogView {
  #lines = [];
  #rows = []; // [line, from, to] per row that can be seen; null: one row per line
  #fresh = 0;
  #follow = true;
  #wrap = localStorage.getItem(WRAP) === "1";
  #only = false;
  #mark = "";
  #hits = [];
  #hit = -1;
  #frame = 0;
  #columns = 80;

  constructor(root) {
    this.root = root;
    this.view = root.querySelector(".log-view");
    this.space = root.querySelector(".log-space");
    this.rows = root.querySelector(".log-rows");
    this.button = root.querySelector(".log-follow");
    this.count = root.querySelector(".log-count");
    this.search = root.querySelector(".log-search");
    root.querySelector("[data-log-act=wrap]").checked = this.#wrap;
    this.view.addEventListener("scroll", () => this.#scrolled(), { passive: true });
    this.search.addEventListener("input", () => this.#find(this.search.value));
    this.search.addEventListener("keydown", (event) => {
      if (event.key === "Enter") this.#step(event.shiftKey ? -1 : 1);
    });
    root.addEventListener("click", (event) => this.#clicked(event));
    root.addEventListener("change", (event) => this.#changed(event));
    this.sizes = new ResizeObserver(() => this.#resized());
    this.sizes.observe(this.view);
    this.#soon();
  }

  close() {
    this.sizes.disconnect();
    cancelAnimationFrame(this.#frame);
  }

  /** A batch from the stream. */
  add({ reset, lines, skipped }) {
    if (reset) {
      this.#lines = [];
      this.#rows = [];
      this.#hits = [];
      this.#hit = -1;
      this.#fresh = 0;
    }
    if (skipped) lines = [`[LLM-Manager] ${skipped} ${t("skipped")}`, ...lines];
    const from = this.#lines.length;
    for (const line of lines) this.#lines.push(line);
    if (!this.#follow) this.#fresh += lines.length;
    if (this.#lines.length > KEPT) {
      this.#lines.splice(0, this.#lines.length - KEPT * 0.9);
      this.#layOut();
    } else {
      this.#index(from);
    }
    this.#soon();
  }

  #index(from) {
    const mark = this.#mark;
    for (let n = from; n < this.#lines.length; n++) {
      const text = mark || this.#wrap ? plain(this.#lines[n]) : "";
      const hit = mark && text.toLowerCase().includes(mark);
      if (this.#only && mark && !hit) continue;
      if (hit) this.#hits.push(this.#rows.length);
      if (!this.#wrap || text.length <= this.#columns / 2) {
        this.#rows.push([n, 0, Infinity]);
        continue;
      }
      this.#fold(n, text);
    }
  }

  /** Cut a line at the columns of the view; wide characters take two of them. */
  #fold(n, text) {
    let from = 0;
    let width = 0;
    for (let i = 0; i < text.length; i++) {
      const wide = text.charCodeAt(i) > 0x2e7f ? 2 : 1;
      if (width + wide > this.#columns) {
        this.#rows.push([n, from, i]);
        from = i;
        width = 0;
      }
      width += wide;
    }
    this.#rows.push([n, from, Infinity]);
  }

  #layOut() {
    this.#rows = [];
    this.#hits = [];
    this.#index(0);
    this.#hit = Math.min(this.#hit, this.#hits.length - 1);
    this.#soon();
  }

  #resized() {
    const probe = document.createElement("span");
    probe.className = "log-probe";
    probe.textContent = "0".repeat(50);
    this.rows.append(probe);
    const wide = probe.getBoundingClientRect().width / 50;
    probe.remove();
    const columns = Math.max(20, Math.floor((this.view.clientWidth - 24) / wide));
    if (columns !== this.#columns) {
      this.#columns = columns;
      if (this.#wrap) this.#layOut();
    }
    this.#soon();
  }

  #soon() {
    if (!this.#frame) this.#frame = requestAnimationFrame(() => this.#draw());
  }

  #draw() {
    this.#frame = 0;
    const total = this.#rows.length;
    this.root.querySelector(".log-empty").hidden = this.#lines.length > 0;
    this.space.style.height = `${total * ROW}px`;
    if (this.#follow) this.view.scrollTop = total * ROW;
    const seen = Math.ceil(this.view.clientHeight / ROW) + 2 * BESIDE;
    const top = Math.min(Math.floor(this.view.scrollTop / ROW) - BESIDE, total - seen);
    const first = Math.max(0, top);
    const last = Math.min(total, first + seen);
    while (this.rows.children.length > last - first) this.rows.lastChild.remove();
    while (this.rows.children.length < last - first) {
      const row = document.createElement("div");
      row.className = "log-row";
      this.rows.append(row);
    }
    const current = this.#hits[this.#hit];
    for (let i = first; i < last; i++) {
      const [n, from, to] = this.#rows[i];
      const row = this.rows.children[i - first];
      render(row, this.#lines[n], from, to, this.#mark);
      row.classList.toggle("is-hit", i === current);
      row.classList.toggle("is-ours", this.#lines[n].startsWith("[LLM-Manager]"));
    }
    this.rows.style.transform = `translateY(${first * ROW}px)`;
    this.button.hidden = this.#follow;
    this.button.lastElementChild.textContent = this.#fresh ? `${this.#fresh} ${t("new_lines")}` : "";
    const hits = this.#mark ? `${this.#hits.length} ${t("matches")}` : `${this.#lines.length} ${t("lines")}`;
    if (this.count.textContent !== hits) this.count.textContent = hits;
  }

  #scrolled() {
    const left = this.view.scrollHeight - this.view.clientHeight - this.view.scrollTop;
    this.#follow = left < ROW * 1.5;
    if (this.#follow) this.#fresh = 0;
    this.#soon();
  }

  #find(text) {
    this.#mark = text.toLowerCase();
    this.#hit = -1;
    this.#layOut();
    if (this.#mark && this.#hits.length) this.#step(-1);
  }

  #step(by) {
    if (!this.#hits.length) return;
    const from = this.#hit < 0 && by < 0 ? this.#hits.length : this.#hit;
    this.#hit = (from + by + this.#hits.length) % this.#hits.length;
    this.#follow = false;
    this.view.scrollTop = this.#hits[this.#hit] * ROW - this.view.clientHeight / 2;
    this.#soon();
  }

  #clicked(event) {
    const act = event.target.closest("button[data-log-act]")?.dataset.logAct;
    if (act === "next") this.#step(1);
    if (act === "previous") this.#step(-1);
    if (act === "follow") {
      this.#follow = true;
      this.#fresh = 0;
      this.#soon();
      this.view.focus({ preventScroll: true });
    }
  }

  #changed(event) {
    const { logAct } = event.target.dataset;
    if (logAct === "wrap") {
      this.#wrap = event.target.checked;
      localStorage.setItem(WRAP, this.#wrap ? "1" : "0");
      this.#layOut();
    }
    if (logAct === "only") {
      this.#only = event.target.checked;
      this.#layOut();
    }
  }
}
