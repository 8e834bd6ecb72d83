// One streamed answer.
import { textAdded } from "./answer.js";
import { interrupted } from "./errors.js";
import { Fold } from "./fold.js";
import type { GenerateResponse, StreamGenerateResponse } from "./generated/trunkline/v1/gateway_service_pb.js";

/**
 * An answer as it is made. Read it once, by its events or by its `text`. The call begins with the reading, and is cancelled
 * however that ends: by `break`, by an exception, by the signal.
 */
export class AnswerStream implements AsyncIterable<StreamGenerateResponse> {
  readonly #start: () => AsyncIterable<StreamGenerateResponse>;
  readonly #fold = new Fold();
  #read = false;

  constructor(start: () => AsyncIterable<StreamGenerateResponse>) {
    this.#start = start;
  }

  /** The events, `completed` last. Throws TrunklineError; STREAM_INTERRUPTED also if the stream ends without `completed`. */
  async *[Symbol.asyncIterator](): AsyncGenerator<StreamGenerateResponse, void, undefined> {
    if (this.#read) throw new Error("a stream is read once");
    this.#read = true;
    for await (const event of this.#start()) {
      this.#fold.add(event);
      yield event;
    }
    if (!this.#fold.isCompleted) throw interrupted(this.#fold.id);
  }

  /** The answer's text, piece by piece. Throws as the events do. */
  get text(): AsyncGenerator<string, void, undefined> {
    return this.#texts();
  }

  async *#texts(): AsyncGenerator<string, void, undefined> {
    for await (const event of this) {
      const text = textAdded(event);
      if (text) yield text;
    }
  }

  /** The whole answer, once it has been read to its end. Throws before that and after a failure. */
  get response(): GenerateResponse {
    return this.#fold.response();
  }
}
