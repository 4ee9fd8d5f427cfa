// Ollama's JavaScript client against a daemon: `node ollama_js.mjs CLIENT URL`. Prints what it was told, as JSON.
const { Ollama } = await import(process.argv[2]);
const ollama = new Ollama({ host: process.argv[3] });
const options = { temperature: 0 };
const messages = [{ role: "user", content: "What is 12 + 30?" }];
const weather = {
  type: "function",
  function: {
    name: "get_weather",
    description: "Get the weather of a city",
    parameters: { type: "object", properties: { city: { type: "string" } }, required: ["city"] },
  },
};
const schema = { type: "object", properties: { answer: { type: "integer" } }, required: ["answer"] };

const told = {};
told.whole = await ollama.chat({ model: "demo", messages, options, think: true });
told.parts = [];
for await (const part of await ollama.chat({ model: "demo", messages, options, think: true, stream: true })) {
  told.parts.push(part);
}
told.generated = await ollama.generate({ model: "demo", prompt: messages[0].content, options, think: false });
told.formatted = await ollama.chat({ model: "demo", messages, options, think: false, format: schema });
told.called = await ollama.chat({
  model: "demo",
  messages: [{ role: "user", content: "What is the weather in Oslo?" }],
  tools: [weather],
  options,
});
told.list = await ollama.list();
told.ps = await ollama.ps();
told.shown = await ollama.show({ model: "demo" });
told.embedded = await ollama.embed({ model: "demo", input: ["12 + 30", "42"] });
told.missing = await ollama.chat({ model: "nope", messages }).catch((error) => [error.status_code, error.message]);

const endless = { temperature: 100, top_k: 0, top_p: 1, num_predict: 1500 };
const stream = await ollama.generate({ model: "demo", prompt: "a", raw: true, options: endless, stream: true });
told.aborted = "not";
try {
  for await (const _ of stream) ollama.abort();
} catch (error) {
  told.aborted = error.name;
}
console.log(JSON.stringify(told));
