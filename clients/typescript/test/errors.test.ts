import assert from "node:assert/strict";
import { test } from "node:test";
import { create, type DescMessage, type MessageInitShape, toBinary } from "@bufbuild/protobuf";
import { anyPack } from "@bufbuild/protobuf/wkt";
import * as grpc from "@grpc/grpc-js";
import { CallFailureSchema, TrunklineError } from "@trunkline/client";
import { BadRequestSchema, ErrorInfoSchema, RetryInfoSchema } from "../src/generated/google/rpc/error_details_pb.js";
import { StatusSchema } from "../src/generated/google/rpc/status_pb.js";
import { type Call, calling, started } from "./gateway.js";

type Trailers = Record<string, string | Buffer>;

function packed<T extends DescMessage>(schema: T, init: MessageInitShape<T>) {
  return anyPack(schema, create(schema, init));
}

function details(...all: ReturnType<typeof packed>[]): Trailers {
  return { "grpc-status-details-bin": Buffer.from(toBinary(StatusSchema, create(StatusSchema, { details: all }))) };
}

function fail(call: Call, code: grpc.status, trailers: Trailers = {}): void {
  const metadata = new grpc.Metadata();
  for (const [key, value] of Object.entries(trailers)) metadata.set(key, value);
  call.emit("error", { code, details: "said so", metadata });
}

async function errorOf(play: (call: Call) => void): Promise<TrunklineError> {
  let caught: unknown;
  await calling(play, async (client) => {
    try {
      for await (const _ of client.stream({ prompt: "hi" }));
    } catch (error) {
      caught = error;
    }
  });
  assert(caught instanceof TrunklineError);
  return caught;
}

const OURS = packed(ErrorInfoSchema, { domain: "trunkline", reason: "RATE_LIMITED", metadata: { limit: "3" } });
const RETRY = packed(RetryInfoSchema, { retryDelay: { seconds: 1n, nanos: 500_000_000 } });

test("all typed details are there", async () => {
  const bad = packed(BadRequestSchema, { fieldViolations: [{ field: "config.top_p", description: "above 0" }] });
  const failure = packed(CallFailureSchema, { id: "call-7", usage: { inputTokens: 3n } });
  const error = await errorOf((call) => fail(call, grpc.status.RESOURCE_EXHAUSTED, details(OURS, RETRY, bad, failure)));
  assert.equal(error.message, "said so");
  assert.equal(error.code, "RESOURCE_EXHAUSTED");
  assert.equal(error.reason, "RATE_LIMITED");
  assert.deepEqual(error.metadata, { limit: "3" });
  assert.equal(error.retryDelayMs, 1500);
  assert.deepEqual(error.fieldViolations.map(({ field }) => field), ["config.top_p"]);
  assert.equal(error.callId, "call-7");
  assert.equal(error.failure?.usage?.inputTokens, 3n);
  assert.equal(error.isRetryable, true);
});

test("the call's id is in the trailers, too", async () => {
  assert.equal((await errorOf((call) => fail(call, grpc.status.INTERNAL, { "trunkline-call-id": "call-8" }))).callId, "call-8");
});

test("the reason of another domain is not ours, and details that cannot be read are not there", async () => {
  const theirs = packed(ErrorInfoSchema, { domain: "proxy.example", reason: "RATE_LIMITED" });
  assert.equal((await errorOf((call) => fail(call, grpc.status.ABORTED, details(theirs)))).reason, "");
  const mangled = { "grpc-status-details-bin": Buffer.from([0xff, 0xff]) };
  const error = await errorOf((call) => fail(call, grpc.status.ABORTED, mangled));
  assert.deepEqual([error.code, error.reason, error.retryDelayMs], ["ABORTED", "", undefined]);
});

test("an answer that has begun is not asked for again", async () => {
  let calls = 0;
  const error = await errorOf((call) => {
    calls++;
    call.write(started("on"));
    fail(call, grpc.status.UNAVAILABLE, details(OURS, RETRY));
  });
  assert.deepEqual([calls, error.isRetryable], [1, false]);
});

test("a gateway that says not to ask again is not asked again", async () => {
  let calls = 0;
  const error = await errorOf((call) => {
    calls++;
    fail(call, grpc.status.UNAVAILABLE, { ...details(OURS, RETRY), "grpc-retry-pushback-ms": "-1" });
  });
  assert.deepEqual([calls, error.isRetryable], [1, false]);
});

test("a gateway that says when is asked again then, four times in all", async () => {
  const asked: number[] = [];
  const error = await errorOf((call) => {
    asked.push(performance.now());
    fail(call, grpc.status.UNAVAILABLE, { ...details(OURS, RETRY), "grpc-retry-pushback-ms": "50" });
  });
  const waits = asked.slice(1).map((time, place) => time - (asked[place] ?? 0));
  assert.equal(asked.length, 4);
  assert(waits.every((wait) => wait >= 45), String(waits));
  assert.deepEqual([error.code, error.isRetryable], ["UNAVAILABLE", true]);
});

test("other codes are not asked again", async () => {
  let calls = 0;
  await errorOf((call) => (calls++, fail(call, grpc.status.RESOURCE_EXHAUSTED, details(OURS, RETRY))));
  assert.equal(calls, 1);
});
