// Asks a model through Vercel's AI SDK while its telemetry is exported as OTLP/JSON.
//
//     node drive_ai_sdk.mjs FOLDER_OF_NODE_MODULES URL COLLECTOR
//
// The scenarios are those of drive_frameworks.py. Version 6 records through `experimental_telemetry`,
// version 7 through `@ai-sdk/otel`.
import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";

const [folder, url, collector] = process.argv.slice(2);
const require = createRequire(`${folder}/`);
const load = async (name) => import(pathToFileURL(require.resolve(name)));

const { NodeTracerProvider, SimpleSpanProcessor } = await load("@opentelemetry/sdk-trace-node");
const { OTLPTraceExporter } = await load("@opentelemetry/exporter-trace-otlp-http");
const { resourceFromAttributes } = await load("@opentelemetry/resources");
const { createOpenAICompatible } = await load("@ai-sdk/openai-compatible");
const { generateText, streamText, generateObject, jsonSchema, tool, stepCountIs, isStepCount, registerTelemetry } =
  await load("ai");

const provider = new NodeTracerProvider({
  resource: resourceFromAttributes({ "service.name": "client" }),
  spanProcessors: [new SimpleSpanProcessor(new OTLPTraceExporter({ url: `${collector}/v1/traces` }))],
});
provider.register();
try {
  const { OpenTelemetry } = await load("@ai-sdk/otel");
  registerTelemetry(new OpenTelemetry());
} catch (error) {
  if (error.code !== "MODULE_NOT_FOUND") throw error;
}

const model = (name) => createOpenAICompatible({ name: "local", baseURL: url, apiKey: "x", supportsStructuredOutputs: true })(name);
const SYSTEM = "You answer in one sentence, with “quotes” and an é.";
const PIXEL =
  "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==";
const schema = {
  type: "object",
  properties: { city: { type: "string", description: "Name of the city" } },
  required: ["city"],
};
const weather = tool({
  description: "Says what the weather is.",
  inputSchema: jsonSchema(schema),
  execute: async () => ({ sky: "blue", degrees: 21 }),
});
const told = { isEnabled: true, functionId: "shop" };
const base = { model: model("base"), experimental_telemetry: told, telemetry: told, maxRetries: 0 };
const ONE = "Where is my parcel?";
const WEATHER = "What is the weather in Paris?";
const rounds = (stepCountIs ?? isStepCount)(3);
const drain = async (found) => {
  for await (const _ of found.textStream);
};

const scenarios = {
  plain: () => generateText({ ...base, system: SYSTEM, prompt: ONE }),
  several: () =>
    generateText({
      ...base,
      system: SYSTEM,
      messages: [
        { role: "user", content: ONE },
        { role: "assistant", content: "It is in Lyon." },
        { role: "user", content: "And when will it\narrive?" },
      ],
    }),
  tools: () => generateText({ ...base, prompt: WEATHER, tools: { weather }, toolChoice: "auto", stopWhen: rounds }),
  stream: () => drain(streamText({ ...base, system: SYSTEM, prompt: ONE })),
  stream_tools: () => drain(streamText({ ...base, prompt: WEATHER, tools: { weather }, stopWhen: rounds })),
  settings: () =>
    generateText({
      ...base,
      prompt: "Write a poem.",
      temperature: 0.25,
      topP: 0.9,
      maxOutputTokens: 50,
      seed: 7,
      stopSequences: ["END", "\n\n"],
      frequencyPenalty: 0.5,
      presencePenalty: 0.125,
    }),
  schema: () => generateObject({ ...base, prompt: "Write a poem.", schema: jsonSchema(schema), schemaName: "poem" }),
  image: () =>
    generateText({
      ...base,
      messages: [
        {
          role: "user",
          content: [
            { type: "text", text: "What is this?" },
            { type: "image", image: Buffer.from(PIXEL, "base64"), mediaType: "image/png" },
          ],
        },
      ],
    }),
  failed: () => generateText({ ...base, model: model("refuse"), prompt: ONE }),
};

for (const [name, ask] of Object.entries(scenarios)) {
  try {
    await ask();
  } catch (error) {
    if (name !== "failed" && name !== "schema") throw error;
  }
}
await provider.forceFlush();
await provider.shutdown();
