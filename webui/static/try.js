// Try it: one call to a model's own endpoint, timed, and the same call to copy.

import { said, t } from "./words.js";

const lines = (text) => text.split("\n").map((s) => s.trim()).filter(Boolean);

/** The body of the call that the form describes; throws if raw JSON is broken. */
function bodyOf(form) {
  const fields = form.querySelector("fieldset:not([disabled])") ?? form;
  const value = (name) => fields.querySelector(`[name=${name}]`)?.value ?? "";
  const { model } = form.dataset;
  const max_tokens = Math.max(1, Number(value("max_tokens")) || 128);
  switch (form.dataset.try) {
    case "chat":
      return { model, messages: [{ role: "user", content: value("text") }], max_tokens, stream: true };
    case "completion":
      return { model, prompt: value("text"), max_tokens, stream: true };
    case "embedding":
      return { model, input: lines(value("text")) };
    case "rerank":
      return { model, query: value("query"), documents: lines(value("text")) };
    default:
      return JSON.parse(value("text"));
  }
}

const quoted = (text) => `'${text.replaceAll("'", "'\\''")}'`;

function asCurl(path, body) {
  const flag = body.stream ? " -N" : "";
  return `curl${flag} ${document.body.dataset.address}${path} \\\n  -H 'Content-Type: application/json' \\\n  -d ${quoted(JSON.stringify(body))}`;
}

function pythonValue(value) {
  return JSON.stringify(value, null, 4)
    .replaceAll(/^(\s*"(?:[^"\\]|\\.)*": |\s*)(true|false|null)(,?)$/gm, (_, head, word, tail) =>
      head + { true: "True", false: "False", null: "None" }[word] + tail);
}

function asPython(form, path, body) {
  const address = document.body.dataset.address;
  const call = { chat: "chat.completions", completion: "completions", embedding: "embeddings" }[form.dataset.try];
  if (call) {
    const args = Object.entries(body).map(([k, v]) => `    ${k}=${pythonValue(v).replaceAll("\n", "\n    ")},`);
    const head = `from openai import OpenAI\n\nclient = OpenAI(base_url="${address}/v1", api_key="not-needed")\nanswer = client.${call}.create(\n${args.join("\n")}\n)\n`;
    if (call === "chat.completions") return head + 'for chunk in answer:\n    print(chunk.choices[0].delta.content or "", end="", flush=True)\n';
    if (call === "completions") return head + 'for chunk in answer:\n    print(chunk.choices[0].text, end="", flush=True)\n';
    return head + "print(len(answer.data), len(answer.data[0].embedding))\n";
  }
  return `import json\nimport urllib.request\n\nbody = ${pythonValue(body)}\nrequest = urllib.request.Request(\n    "${address}${path}",\n    json.dumps(body).encode(),\n    {"Content-Type": "application/json"},\n)\nprint(json.load(urllib.request.urlopen(request)))\n`;
}

/** Keep the copyable calls equal to what the form would send. */
export function describe(form) {
  const curl = form.querySelector("[data-call=curl]");
  if (!curl) return;
  const python = form.querySelector("[data-call=python]");
  try {
    const body = bodyOf(form);
    curl.textContent = asCurl(form.dataset.path, body);
    python.textContent = asPython(form, form.dataset.path, body);
  } catch (error) {
    curl.textContent = python.textContent = String(error.message);
  }
}

/** Show the form of another endpoint. */
export function choose(button) {
  const form = button.form;
  for (const other of form.querySelectorAll("[data-kind]")) {
    other.setAttribute("aria-pressed", String(other === button));
  }
  for (const set of form.querySelectorAll("fieldset")) {
    set.hidden = set.disabled = set.dataset.for !== button.dataset.path;
  }
  form.dataset.try = button.dataset.kind;
  form.dataset.path = button.dataset.path;
  describe(form);
}

/** Yield the data of each server-sent event of a response. */
async function* events(response) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    const parts = (rest + value).split(/\r?\n\r?\n/);
    rest = parts.pop();
    for (const part of parts) {
      const data = part.split(/\r?\n/).filter((l) => l.startsWith("data:")).map((l) => l.slice(5).trim());
      if (data.length && data[0] !== "[DONE]") yield data.join("\n");
    }
  }
}

class Run {
  chunks = 0;
  tokens = null;
  first = null;

  constructor(form) {
    this.form = form;
    this.began = performance.now();
    this.answer = form.querySelector(".try-answer");
    this.numbers = form.querySelector(".try-numbers");
  }

  say() {
    const now = performance.now();
    const s = (ms) => `${(ms / 1000).toFixed(2)} ${t("unit_s")}`;
    const parts = [];
    if (this.first !== null) parts.push(`${t("first_token")} ${s(this.first - this.began)}`);
    parts.push(`${t("total_time")} ${s(now - this.began)}`);
    const tokens = this.tokens ?? (this.chunks || null);
    if (tokens !== null && this.first !== null) {
      parts.push(`${tokens} ${t("tokens")}`);
      const seconds = (now - this.first) / 1000;
      if (tokens > 1 && seconds > 0.005) parts.push(`${((tokens - 1) / seconds).toFixed(1)} ${t("speed")}`);
    }
    this.numbers.textContent = parts.join(" · ");
  }

  async stream(response) {
    this.answer.textContent = "";
    for await (const data of events(response)) {
      const event = JSON.parse(data);
      if (event.error) throw new Error(await said(event.error.message ?? String(event.error)));
      this.tokens = event.usage?.completion_tokens ?? this.tokens;
      const choice = event.choices?.[0];
      const text = choice?.delta?.content ?? choice?.delta?.reasoning_content ?? choice?.text ?? "";
      if (!text) continue;
      this.first ??= performance.now();
      this.chunks += 1;
      this.answer.append(text);
      this.say();
    }
  }

  async whole(response) {
    const data = await response.json();
    if (this.form.dataset.try === "embedding") {
      this.answer.textContent = data.data
        .map(({ embedding }) => `${embedding.length} ${t("dimensions")}: [${embedding.slice(0, 6).map((x) => x.toFixed(4)).join(", ")}${embedding.length > 6 ? ", …" : ""}]`)
        .join("\n");
    } else if (this.form.dataset.try === "rerank") {
      const documents = bodyOf(this.form).documents;
      this.answer.textContent = data.results
        .map((r) => `${r.relevance_score.toFixed(4)}  ${documents[r.index] ?? r.index}`)
        .join("\n");
    } else {
      this.answer.textContent = JSON.stringify(data, null, 2);
    }
  }
}

async function problem(response) {
  try {
    return await said((await response.json()).error.message);
  } catch {
    return `${response.status} ${response.statusText}`;
  }
}

/** Send the call and show the answer as it comes. */
export async function send(form) {
  const run = new Run(form);
  const stop = form.querySelector("[data-act=stop-try]");
  const button = form.querySelector("[type=submit]");
  const control = new AbortController();
  form.abort = control;
  form.querySelector(".answer")?.removeAttribute("hidden");
  button.disabled = true;
  if (stop) stop.hidden = false;
  run.answer.classList.remove("bad-text");
  run.answer.textContent = "…";
  const clock = setInterval(() => run.first === null && run.say(), 100);
  try {
    const body = bodyOf(form);
    if (body.stream) body.stream_options = { include_usage: true };
    const response = await fetch(form.dataset.path, {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify(body),
      signal: control.signal,
    });
    if (!response.ok) throw new Error(await problem(response));
    if ((response.headers.get("Content-Type") ?? "").startsWith("text/event-stream")) await run.stream(response);
    else await run.whole(response);
    run.say();
  } catch (error) {
    if (error.name !== "AbortError") {
      run.answer.classList.add("bad-text");
      run.answer.append(run.first === null ? "" : "\n");
      if (run.first === null) run.answer.textContent = "";
      run.answer.append(error instanceof TypeError ? t("not_reached") : error.message);
    }
  } finally {
    clearInterval(clock);
    button.disabled = false;
    if (stop) stop.hidden = true;
  }
}
