// What buttons do. Every change is a POST; what it changed comes back over the event stream.

import { choose, describe, send } from "./try.js";
import { said, t } from "./words.js";

export function toast(text, bad = false) {
  const note = document.createElement("p");
  note.className = bad ? "toast bad" : "toast";
  note.textContent = text;
  document.getElementById("toasts").append(note);
  setTimeout(() => note.remove(), bad ? 8000 : 2000);
}

async function call(path, method = "POST") {
  let answer;
  try {
    answer = await fetch(path, { method });
  } catch {
    throw new Error(t("not_reached"));
  }
  const data = await answer.json().catch(() => ({}));
  if (!answer.ok) throw new Error(await said(data.error?.message ?? String(answer.status)));
  return data;
}

/** Ask in the page's own dialog; resolves to true or false. */
function ask(text, yes) {
  const dialog = document.getElementById("ask");
  document.getElementById("ask-text").textContent = text;
  dialog.querySelector("[value=yes]").textContent = yes;
  dialog.returnValue = "no";
  dialog.showModal();
  return new Promise((done) => {
    dialog.addEventListener("close", () => done(dialog.returnValue === "yes"), { once: true });
  });
}

async function start(model) {
  const seen = await call(`/api/models/${model}/preview`, "GET");
  if (seen.unloads.length) {
    const text = `${t("start_unloads")} ${seen.unloads.join(", ")}`;
    if (!(await ask(text, t("start_anyway")))) return;
  }
  await call(`/api/models/${model}/start`);
}

function remember(name, value) {
  document.cookie = `${name}=${value}; path=/; max-age=31536000; SameSite=Strict`;
}

function theme(to) {
  remember("llm-manager-theme", to);
  document.documentElement.dataset.theme = to;
  for (const button of document.querySelectorAll("[data-act=theme]")) {
    button.setAttribute("aria-pressed", String(button.dataset.to === to));
  }
  dispatchEvent(new Event("theme"));
}

export function hideWhatWasHidden() {
  for (const element of document.querySelectorAll("[data-hideable]")) {
    if (localStorage.getItem(`llm-manager-hidden-${element.dataset.hideable}`)) element.hidden = true;
  }
}

const ACTS = {
  start: ({ model }) => start(model),
  stop: ({ model }) => call(`/api/models/${model}/stop`),
  pin: ({ model }) => call(`/api/models/${model}/pin`),
  unpin: ({ model }) => call(`/api/models/${model}/unpin`),
  cancel: ({ number }) => call(`/api/requests/${number}/cancel`),
  "restart-auto": () => call("/api/models/restart-autostart"),
  "stop-all": async () => {
    if (await ask(t("stop_all_ask"), t("stop_all"))) await call("/api/models/stop-all");
  },
  "only-here": async () => {
    const here = /^(localhost|127\.[\d.]+|\[::1\])$/.test(location.hostname);
    if (here || (await ask(t("only_here_ask"), t("only_here")))) await call("/api/only-this-machine");
  },
  "reload-plugins": () => call("/api/plugins/reload"),
  theme: ({ to }) => theme(to),
  language: ({ to }) => {
    remember("llm-manager-language", to);
    location.reload();
  },
  hide: ({ to }) => {
    localStorage.setItem(`llm-manager-hidden-${to}`, "1");
    hideWhatWasHidden();
  },
  widen: () => document.body.classList.toggle("is-wide"),
};

async function act(button) {
  button.disabled = true;
  try {
    await ACTS[button.dataset.act](button.dataset);
  } catch (error) {
    toast(error.message, true);
  } finally {
    button.disabled = false;
  }
}

async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    // Not a secure address (another machine of the network): the old way.
    const field = document.createElement("textarea");
    field.value = text;
    document.body.append(field);
    field.select();
    document.execCommand("copy");
    field.remove();
  }
  toast(t("copied"));
}

export function startActions() {
  document.addEventListener("click", (event) => {
    const button = event.target.closest("button");
    if (!button) return;
    const data = button.dataset;
    if (data.copy !== undefined) copy(data.copy);
    else if (data.copyFrom) copy(button.form.querySelector(`[data-call=${data.copyFrom}]`).textContent);
    else if (data.kind) choose(button);
    else if (data.act === "stop-try") button.form.abort?.abort();
    else if (data.act) act(button);
  });
  document.getElementById("ask").addEventListener("click", (event) => {
    const value = event.target.closest("button")?.value;
    if (value) event.currentTarget.close(value);
  });
  document.addEventListener("submit", (event) => {
    if (!event.target.dataset.try) return;
    event.preventDefault();
    send(event.target);
  });
  document.addEventListener("input", (event) => {
    const form = event.target.form;
    if (form?.dataset.try) describe(form);
  });
}
