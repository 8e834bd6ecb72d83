// Every case of tests/matrix/CASES.md, and the load.
import { readFileSync } from "node:fs";
import {
  createRegistry,
  type DescMessage,
  equals,
  fromBinary,
  fromJson,
  type JsonValue,
  type Registry,
  toBinary,
  toJson,
} from "@bufbuild/protobuf";
import { Client, FinishReasonSchema, GenerateResponseSchema, textOf, TrunklineError } from "@trunkline/client";
import { file_google_rpc_error_details } from "../src/generated/google/rpc/error_details_pb.js";
import { file_google_rpc_status } from "../src/generated/google/rpc/status_pb.js";
import { file_trunkline_v1_gateway_service } from "../src/generated/trunkline/v1/gateway_service_pb.js";
import { fail } from "./errors.js";
import { generate } from "./generate.js";
import { health } from "./health.js";
import { cancel, stream } from "./stream.js";
import { askWithTools } from "./tools.js";
import { usage } from "./usage.js";

const [HELLO, TOOLS, SLOW] = ["scripted/hello", "scripted/tools", "slow/upstream"];
const WORKERS = 4;
const ADDRESS = environment("TRUNKLINE_ADDRESS");
const API_KEY = environment("TRUNKLINE_API_KEY");

function environment(name: string): string {
  const value = process.env[name];
  if (value === undefined) throw new Error(`${name} is not set`);
  return value;
}

const CASES: Record<string, (client: Client) => Promise<unknown>> = {
  async unary(client) {
    const answer = await generate(client, HELLO);
    return {
      text: textOf(answer),
      finish_reason: FinishReasonSchema.value[answer.finishReason]?.name,
      input_tokens: Number(answer.usage?.inputTokens),
      output_tokens: Number(answer.usage?.outputTokens),
    };
  },

  async stream(client) {
    let completed = 0;
    for await (const { event } of client.stream({ model: HELLO, prompt: "Say hello" })) {
      if (event.case === "completed") completed++;
    }
    const [text] = await stream(client, HELLO);
    return { text, completed };
  },

  async cancel(client) {
    return { code: await cancel(client, SLOW) };
  },

  async deadline(client) {
    const began = performance.now();
    const code = await reading(client.stream({ model: SLOW, prompt: "too slow" }, { timeoutMs: 300 }));
    if (performance.now() - began >= 1000) throw new Error("took a second");
    return { code };
  },

  async tools(client) {
    const [call, text] = await askWithTools(client, TOOLS);
    return { name: call.name, arguments: call.argumentsJson, text };
  },

  async error_details(client) {
    const bad = await fail(client, HELLO, { config: { temperature: 9, topP: 0 } });
    return [told(bad), told(await fail(client, "scripted/error"))];
  },

  async retry_pushback(client) {
    const began = performance.now();
    const answer = await generate(client, "scripted/busy");
    const waited = performance.now() - began >= 600;
    await fail(client, "scripted/stop");
    const requests = async (model: string) => Number((await usage(client, model))?.requests);
    const attempts = await requests("scripted/busy");
    return { text: textOf(answer), attempts, waited, stopped_after: await requests("scripted/stop") };
  },

  async health(client) {
    const [status, state] = await health(client, ADDRESS);
    return { status, state };
  },

  async usage(client) {
    return { calls: ((await client.usage()).totals?.requests ?? 0n) > 0n };
  },

  async tls() {
    const ca = readFileSync(environment("TRUNKLINE_CA"));
    const client = new Client(environment("TRUNKLINE_TLS_ADDRESS"), { tls: { ca }, apiKey: API_KEY });
    const answer = await generate(client, HELLO);
    client.close();
    return { text: textOf(answer) };
  },

  async api_key() {
    const client = new Client(ADDRESS);
    const { code, reason } = await fail(client, HELLO);
    client.close();
    return { code, reason };
  },

  async unknown() {
    const written = golden("unknown.bin");
    const response = fromBinary(GenerateResponseSchema, written);
    const [part] = response.message?.parts ?? [];
    return {
      id: response.id,
      finish_reason: response.finishReason,
      text: part?.data.value,
      same_bytes: Buffer.from(toBinary(GenerateResponseSchema, response)).equals(written),
    };
  },

  async golden() {
    const types = JSON.parse(golden("types.json").toString()) as Record<string, string>;
    return Object.fromEntries(Object.entries(types).map(([name, type]) => [name, reread(name, type)]));
  },
};

async function reading(events: AsyncIterable<unknown>): Promise<string> {
  try {
    for await (const _ of events);
  } catch (error) {
    if (error instanceof TrunklineError) return error.code;
    throw error;
  }
  return "OK";
}

function told({ code, reason, retryDelayMs, fieldViolations }: TrunklineError): unknown {
  const fields = fieldViolations.map(({ field }) => field).sort();
  return { code, reason, retry_delay: retryDelayMs === undefined ? null : retryDelayMs / 1000, fields };
}

// --- golden messages --------------------------------------------------------------------------------------------------

const registry: Registry = createRegistry(
  file_trunkline_v1_gateway_service,
  file_google_rpc_status,
  file_google_rpc_error_details,
  ...file_trunkline_v1_gateway_service.dependencies,
);

function golden(name: string): Buffer {
  return readFileSync(`${environment("TRUNKLINE_GOLDEN")}/${name}`);
}

function reread(name: string, type: string): JsonValue {
  const schema = registry.getMessage(type);
  if (!schema) throw new Error(`${type} is not known`);
  const message = fromBinary(schema, golden(`${name}.bin`));
  const text = readJson(schema, JSON.parse(golden(`${name}.json`).toString()) as JsonValue);
  const again = readJson(schema, toJson(schema, message, { registry }));
  const wired = fromBinary(schema, toBinary(schema, text));
  if (![text, again, wired].every((other) => equals(schema, other, message, { registry, unpackAny: true }))) {
    throw new Error(`${name}: not the same message`);
  }
  return toJson(schema, again, { registry });
}

function readJson(schema: DescMessage, json: JsonValue) {
  return fromJson(schema, json, { registry });
}

// --- what is run ------------------------------------------------------------------------------------------------------

async function run(): Promise<void> {
  const client = new Client(ADDRESS, { apiKey: API_KEY });
  for (const [name, call] of Object.entries(CASES)) {
    try {
      say({ case: name, ok: true, value: await call(client) });
    } catch (error) {
      say({ case: name, ok: false, value: null, why: String(error) });
    }
  }
  client.close();
}

// What a worker repeats under load, and what it makes of it.
const KINDS: Record<string, (client: Client) => Promise<string>> = {
  unary: async (client) => textOf(await generate(client, HELLO)),
  stream: async (client) => (await stream(client, HELLO))[0],
  tools: async (client) => (await askWithTools(client, TOOLS))[1],
  cancel: (client) => cancel(client, SLOW),
};

/** WORKERS that call for so long, on one client. */
async function load(seconds: number): Promise<void> {
  const until = performance.now() + 1000 * seconds;
  const client = new Client(ADDRESS, { apiKey: API_KEY });
  const heard = new Map(Object.keys(KINDS).map((kind) => [kind, new Set<string>()]));
  const calls = await Promise.all(Array.from({ length: WORKERS }, () => work(client, until, heard)));
  client.close();
  const value = Object.fromEntries([...heard].map(([kind, answers]) => [kind, [...answers].sort()]));
  say({ case: "load", ok: true, value, calls: calls.reduce((sum, count) => sum + count, 0) });
}

async function work(client: Client, until: number, heard: Map<string, Set<string>>): Promise<number> {
  let calls = 0;
  while (performance.now() < until) {
    for (const [kind, call] of Object.entries(KINDS)) {
      heard.get(kind)?.add(await call(client));
      calls++;
    }
  }
  return calls;
}

function say(row: object): void {
  console.log(JSON.stringify(row));
}

const seconds = process.env["TRUNKLINE_SECONDS"];
await (seconds ? load(Number(seconds)) : run());
