// The list of models: search, filter, sort. The server sends rows; this only hides and orders them.

const KEY = "llm-manager-list";
const RANK = { bad: 0, load: 1, busy: 2, leave: 3, idle: 4, park: 5, off: 6 };
const ORDERS = {
  file: (a, b) => a.dataset.order - b.dataset.order,
  name: (a, b) => a.dataset.name.localeCompare(b.dataset.name),
  state: (a, b) => RANK[a.dataset.tone] - RANK[b.dataset.tone] || ORDERS.file(a, b),
  memory: (a, b) => b.dataset.memory - a.dataset.memory || ORDERS.file(a, b),
};

const field = (id) => document.getElementById(id);

function wanted(row, words, group) {
  const { group: own } = row.dataset;
  const fits = !group || own === group || (group === "loaded" && row.dataset.tone === "busy");
  return fits && words.every((word) => row.dataset.words.includes(word));
}

/** Hide what the filters leave out and put the rest in order; focus and scroll stay. */
export function arrange() {
  const list = field("model-list");
  if (!list) return;
  const words = field("model-search").value.toLowerCase().split(/\s+/).filter(Boolean);
  const group = field("model-filter").value;
  const rows = [...list.children];
  let seen = 0;
  for (const row of rows) {
    row.hidden = !wanted(row, words, group);
    seen += row.hidden ? 0 : 1;
  }
  field("no-match").hidden = seen > 0 || !rows.length;
  const sorted = [...rows].sort(ORDERS[field("model-sort").value] ?? ORDERS.file);
  if (sorted.some((row, n) => row !== rows[n])) {
    const focus = document.activeElement;
    list.append(...sorted);
    if (list.contains(focus)) focus.focus({ preventScroll: true });
  }
}

export function startModels() {
  const kept = JSON.parse(sessionStorage.getItem(KEY) ?? "{}");
  for (const name of ["filter", "sort"]) {
    if (kept[name]) field(`model-${name}`).value = kept[name];
    field(`model-${name}`).addEventListener("change", () => {
      const values = { filter: field("model-filter").value, sort: field("model-sort").value };
      sessionStorage.setItem(KEY, JSON.stringify(values));
      arrange();
    });
  }
  field("model-search").addEventListener("input", arrange);
  arrange();
}
