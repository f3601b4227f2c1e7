// The `openai` package of npm against the address in argv[2]; prints what it saw as one JSON object.
import OpenAI from "openai";

const client = new OpenAI({ baseURL: process.argv[2], apiKey: "none", maxRetries: 0 });
const messages = [{ role: "user", content: "Hello" }];

async function failure(call) {
  try {
    await call();
  } catch (error) {
    const { status, code, message } = error;
    return { name: error.constructor.name, status, code, message };
  }
  return null;
}

const chat = await client.chat.completions.create({ model: "demo-chat", messages, temperature: 0 });
const stream = await client.chat.completions.create({
  model: "demo-chat",
  messages,
  temperature: 0,
  stream: true,
  stream_options: { include_usage: true },
});
let text = "";
let usage = null;
for await (const chunk of stream) {
  text += chunk.choices[0]?.delta?.content ?? "";
  usage = chunk.usage ?? usage;
}
const input = ["the dog sleeps", "token memory"];
const embeddings = await client.embeddings.create({ model: "demo-embedding", input });
const ids = [];
for await (const model of client.models.list()) ids.push(model.id);
const one = await client.models.retrieve("demo-reranker");

console.log(
  JSON.stringify({
    chat: chat.choices[0].message.content,
    chatUsage: chat.usage,
    stream: text,
    streamUsage: usage,
    dimensions: embeddings.data.map((each) => each.embedding.length),
    ids,
    retrieved: one.id,
    unknown: await failure(() => client.chat.completions.create({ model: "nobody", messages })),
    wrong: await failure(() => client.embeddings.create({ model: "demo-chat", input })),
    broken: await failure(() => client.chat.completions.create({ model: "broken", messages })),
  }),
);
