// How the events of a stream make a whole answer.
import { clone, create } from "@bufbuild/protobuf";
import { type Part, PartSchema, type ProviderState, Role } from "./generated/trunkline/v1/content_pb.js";
import type { LogprobToken } from "./generated/trunkline/v1/content_pb.js";
import { MessageSchema } from "./generated/trunkline/v1/content_pb.js";
import {
  type GenerateResponse,
  GenerateResponseSchema,
  type PartDelta,
  type StreamGenerateResponse,
} from "./generated/trunkline/v1/gateway_service_pb.js";

/** Gathers the events of one stream. */
export class Fold {
  id = "";
  #completed: GenerateResponse | undefined;
  #parts = new Map<number, Part>();
  #logprobs: LogprobToken[] = [];

  /** Whether the answer is whole. */
  get isCompleted(): boolean {
    return this.#completed !== undefined;
  }

  /** Take the next event; one that is not known changes nothing. `restarted` with discard begins anew. */
  add({ event }: StreamGenerateResponse): void {
    switch (event.case) {
      case "started":
        this.id = event.value.id;
        break;
      case "partStarted":
        this.#parts.set(event.value.partIndex, clone(PartSchema, event.value.part ?? create(PartSchema)));
        break;
      case "partDelta":
        this.#append(event.value);
        break;
      case "partCompleted":
        this.#complete(event.value.partIndex, event.value.providerState);
        break;
      case "restarted":
        if (event.value.discard) this.#begin();
        break;
      case "completed":
        this.#completed = event.value.response ?? create(GenerateResponseSchema);
    }
  }

  /** The whole answer. Throws if the stream has not completed: a cut stream has no answer. */
  response(): GenerateResponse {
    if (!this.#completed) throw new Error("the answer is not whole: its stream has not come to `completed`");
    const response = clone(GenerateResponseSchema, this.#completed);
    if (!response.message) {
      // With includeFinalMessage it is there, and the logprobs with it.
      const parts = [...this.#parts].sort(([one], [other]) => one - other).map(([, part]) => part);
      response.message = create(MessageSchema, { role: Role.ASSISTANT, parts });
      response.logprobs = this.#logprobs;
    }
    return response;
  }

  #begin(): void {
    this.#parts.clear();
    this.#logprobs = [];
  }

  #append(delta: PartDelta): void {
    this.#logprobs.push(...delta.logprobs);
    const part = this.#parts.get(delta.partIndex);
    if (!part) return;
    part.citations.push(...delta.citations);
    append(part.data, delta.delta);
  }

  #complete(index: number, state: ProviderState | undefined): void {
    const part = this.#parts.get(index);
    if (part && state) part.providerState = state;
  }
}

/** Append a delta to what a part has so far. */
function append(data: Part["data"], delta: PartDelta["delta"]): void {
  if (delta.case === "text" && data.case === "text") data.value += delta.value;
  else if (delta.case === "refusal" && data.case === "refusal") data.value += delta.value;
  else if (delta.case === "reasoningText" && data.case === "reasoning") data.value.text += delta.value;
  else if (delta.case === "toolArgumentsJson" && data.case === "toolCall") data.value.argumentsJson += delta.value;
  else if (delta.case === "providerJson" && data.case === "providerPart") data.value.json += delta.value;
  else if (delta.case === "mediaData" && data.case === "media") appendBytes(data.value, delta.value);
}

function appendBytes(media: Extract<Part["data"], { case: "media" }>["value"], more: Uint8Array): void {
  const before = media.source.case === "data" ? media.source.value : new Uint8Array();
  media.source = { case: "data", value: Buffer.concat([before, more]) };
}
