import assert from "node:assert/strict";
import { test } from "node:test";
import { textOf, toolCallsOf, TrunklineError } from "@trunkline/client";
import { added, type Call, calling, COMPLETED, type Event, playing, started } from "./gateway.js";

async function read<T>(pieces: AsyncIterable<T>): Promise<T[]> {
  const all: T[] = [];
  for await (const piece of pieces) all.push(piece);
  return all;
}

async function failing(call: Promise<unknown>): Promise<TrunklineError> {
  return call.then(
    () => assert.fail("the call went well"),
    (error: unknown) => (assert(error instanceof TrunklineError), error),
  );
}

/** Sends a piece and then nothing; tells when the caller goes away. */
function hanging(): [(call: Call) => void, Promise<unknown>] {
  let left: (value?: unknown) => void;
  const gone = new Promise((resolve) => (left = resolve));
  return [(call) => (call.write(started("on")), void call.on("cancelled", () => left())), gone];
}

test("text comes piece by piece, and the whole answer at the end", () =>
  calling(playing(started("Hel"), added("lo"), COMPLETED), async (client) => {
    const stream = client.stream({ prompt: "hi" });
    assert.throws(() => stream.response, /not whole/);
    assert.deepEqual(await read(stream.text), ["Hel", "lo"]);
    assert.equal(textOf(stream.response), "Hello");
    assert.equal(stream.response.id, "call-1");
    await assert.rejects(read(stream), /read once/);
  }));

test("parts of every kind are folded in their order", () => {
  const events: Event[] = [
    { event: { case: "partStarted", value: { partIndex: 1, part: { data: { case: "toolCall", value: { id: "1", name: "look" } } } } } },
    { event: { case: "partStarted", value: { partIndex: 0, part: { data: { case: "reasoning", value: { text: "h" } } } } } },
    { event: { case: "partDelta", value: { partIndex: 1, delta: { case: "toolArgumentsJson", value: '{"a"' } } } },
    { event: { case: "partDelta", value: { partIndex: 0, delta: { case: "reasoningText", value: "m" } } } },
    { event: { case: "partDelta", value: { partIndex: 1, delta: { case: "toolArgumentsJson", value: ":1}" } } } },
    { event: { case: "partCompleted", value: { partIndex: 0, providerState: { format: "f", data: "d" } } } },
    { event: { case: "partStarted", value: { partIndex: 2, part: { data: { case: "media", value: { mimeType: "a/b" } } } } } },
    { event: { case: "partDelta", value: { partIndex: 2, delta: { case: "mediaData", value: Uint8Array.of(1) } } } },
    { event: { case: "partDelta", value: { partIndex: 2, delta: { case: "mediaData", value: Uint8Array.of(2) } } } },
    COMPLETED,
  ];
  return calling(playing(...events), async (client) => {
    const stream = client.stream({ prompt: "hi" });
    await read(stream);
    const parts = stream.response.message?.parts ?? [];
    assert.deepEqual(parts.map(({ data }) => data.case), ["reasoning", "toolCall", "media"]);
    assert.equal(parts[0]?.providerState?.data, "d");
    assert.equal(parts[0]?.data.case === "reasoning" && parts[0].data.value.text, "hm");
    assert.equal(toolCallsOf(stream.response)[0]?.argumentsJson, '{"a":1}');
    const media = parts[2]?.data.case === "media" && parts[2].data.value.source.value;
    assert.deepEqual([...(media as Uint8Array)], [1, 2]);
  });
});

test("what was before a restart that discards does not count; events that nobody knows change nothing", () => {
  const restarted: Event = { event: { case: "restarted", value: { discard: true } } };
  return calling(playing(started("no"), restarted, {}, started("yes"), COMPLETED), async (client) => {
    const stream = client.stream({ prompt: "hi" });
    await read(stream);
    assert.equal(textOf(stream.response), "yes");
  });
});

test("a stream without its end is an error", () =>
  calling(playing(started("Hel")), async (client) => {
    const stream = client.stream({ prompt: "hi" });
    const error = await failing(read(stream.text));
    assert.deepEqual([error.code, error.reason, error.isRetryable], ["ABORTED", "STREAM_INTERRUPTED", false]);
    assert.throws(() => stream.response, /not whole/);
  }));

test("leaving the loop cancels the call", () => {
  const [play, gone] = hanging();
  return calling(play, async (client) => {
    for await (const text of client.stream({ prompt: "hi" }).text) {
      assert.equal(text, "on");
      break;
    }
    await gone;
  });
});

test("an exception in the loop cancels the call and stands", () => {
  const [play, gone] = hanging();
  return calling(play, async (client) => {
    const reading = async () => {
      for await (const _ of client.stream({ prompt: "hi" })) throw new RangeError("mine");
    };
    await assert.rejects(reading(), RangeError);
    await gone;
  });
});

test("an aborted signal cancels a call that waits, and says why", () => {
  const [play, gone] = hanging();
  return calling(play, async (client) => {
    const aborting = new AbortController();
    const stream = client.stream({ prompt: "hi" }, { signal: aborting.signal });
    const reason = new Error("enough");
    const reading = failing(read((async function* () {
      for await (const event of stream) yield event, setImmediate(() => aborting.abort(reason));
    })()));
    const error = await reading;
    assert.equal(error.code, "CANCELLED");
    assert.equal(error.cause, reason);
    await gone;
  });
});

test("with a signal that was aborted before nothing is sent", () => {
  let calls = 0;
  return calling(() => calls++, async (client) => {
    const signal = AbortSignal.abort();
    assert.equal((await failing(read(client.stream({ prompt: "hi" }, { signal })))).code, "CANCELLED");
    assert.equal((await failing(client.generate({ prompt: "hi" }, { signal }))).code, "CANCELLED");
    assert.equal(calls, 0);
  });
});

test("the client's timeout holds for calls without their own", () => {
  const [play, gone] = hanging();
  return calling(play, async (client) => {
    assert.equal((await failing(read(client.stream({ prompt: "hi" })))).code, "DEADLINE_EXCEEDED");
    await gone;
  }, { timeoutMs: 100 });
});

test("signals that outlive their calls keep nothing of them", () =>
  calling(playing(started("hi"), COMPLETED), async (client) => {
    const listeners = new Set<unknown>();
    const { signal } = new AbortController();
    const [add, remove] = [signal.addEventListener, signal.removeEventListener];
    signal.addEventListener = (...[type, listener, options]: Parameters<typeof add>) => (listeners.add(listener), add.call(signal, type, listener, options));
    signal.removeEventListener = (...[type, listener]: Parameters<typeof remove>) => (listeners.delete(listener), remove.call(signal, type, listener));
    await read(client.stream({ prompt: "hi" }, { signal }));
    assert.equal(listeners.size, 0);
  }));
