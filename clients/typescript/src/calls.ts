// One call on a channel: typed by its method's descriptor, cancelled by a signal, failing in TrunklineErrors.
import {
  create,
  type DescMethodServerStreaming,
  type DescMethodUnary,
  type DescMessage,
  fromBinary,
  type MessageInitShape,
  type MessageShape,
  toBinary,
} from "@bufbuild/protobuf";
import type * as grpc from "@grpc/grpc-js";
import { aborted, errorOf } from "./errors.js";

export interface CallOptions {
  /** Cancels the call, and with it what the provider does for it. */
  signal?: AbortSignal;
  /** Milliseconds for the whole call, a stream to its end; DEADLINE_EXCEEDED after that. */
  timeoutMs?: number;
}

/** The answer to a unary call. */
export function unary<I extends DescMessage, O extends DescMessage>(
  channel: grpc.Client,
  method: DescMethodUnary<I, O>,
  request: MessageInitShape<I>,
  metadata: grpc.Metadata,
  options: CallOptions,
): Promise<MessageShape<O>> {
  return new Promise((resolve, reject) => {
    const { signal } = options;
    if (signal?.aborted) return reject(aborted(signal));
    const { path, encode, decode } = wire(method);
    const message = create(method.input, request);
    const call = channel.makeUnaryRequest(path, encode, decode, message, metadata, limits(options), (error, answer) => {
      release();
      if (!error) resolve(answer as MessageShape<O>);
      else reject(signal?.aborted ? aborted(signal) : errorOf(error, false));
    });
    const release = cancelling(call, signal);
  });
}

/** The answers to a streaming call. However their reading ends, the call is cancelled. `begun` tells if an answer has begun. */
export async function* serverStream<I extends DescMessage, O extends DescMessage>(
  channel: grpc.Client,
  method: DescMethodServerStreaming<I, O>,
  request: MessageInitShape<I>,
  metadata: grpc.Metadata,
  options: CallOptions,
  begun: (last: MessageShape<O>) => boolean = () => true,
): AsyncGenerator<MessageShape<O>, void, undefined> {
  const { signal } = options;
  if (signal?.aborted) throw aborted(signal);
  const { path, encode, decode } = wire(method);
  const message = create(method.input, request);
  const call = channel.makeServerStreamRequest(path, encode, decode, message, metadata, limits(options));
  call.on("error", () => {}); // a call that nobody reads any more still reports that it was cancelled
  const release = cancelling(call, signal);
  let started = false;
  try {
    for await (const answer of call as AsyncIterable<MessageShape<O>>) {
      started ||= begun(answer);
      yield answer;
      if (signal?.aborted) throw aborted(signal); // what has come meanwhile does not count
    }
  } catch (error) {
    throw signal?.aborted ? aborted(signal) : isStatus(error) ? errorOf(error, started) : error;
  } finally {
    release();
    call.cancel(); // dropping a call does not end it
  }
}

function wire<I extends DescMessage, O extends DescMessage>(method: DescMethodUnary<I, O> | DescMethodServerStreaming<I, O>) {
  return {
    path: `/${method.parent.typeName}/${method.name}`,
    encode: (request: MessageShape<I>) => Buffer.from(toBinary(method.input, request)),
    decode: (bytes: Buffer): MessageShape<O> => fromBinary(method.output, bytes),
  };
}

function limits({ timeoutMs }: CallOptions): grpc.CallOptions {
  return timeoutMs === undefined ? {} : { deadline: Date.now() + timeoutMs };
}

/** Cancels the call when the signal is aborted; the function that it gives back ends that. */
function cancelling(call: { cancel(): void }, signal: AbortSignal | undefined): () => void {
  const cancel = () => call.cancel();
  signal?.addEventListener("abort", cancel, { once: true });
  return () => signal?.removeEventListener("abort", cancel);
}

function isStatus(error: unknown): error is grpc.ServiceError {
  return error instanceof Error && "metadata" in error && "code" in error;
}
