// Short ways to what is asked for most of an answer.
import type { ToolCall } from "./generated/trunkline/v1/content_pb.js";
import type { GenerateResponse, StreamGenerateResponse } from "./generated/trunkline/v1/gateway_service_pb.js";

/** All text of an answer. */
export function textOf(answer: GenerateResponse): string {
  return (answer.message?.parts ?? []).map(({ data }) => (data.case === "text" ? data.value : "")).join("");
}

/** The tools that the model wants to be run, in its order. */
export function toolCallsOf(answer: GenerateResponse): ToolCall[] {
  return (answer.message?.parts ?? []).flatMap(({ data }) => (data.case === "toolCall" ? [data.value] : []));
}

/** The text that an event of a stream adds to the answer; empty if it adds none. */
export function textAdded({ event }: StreamGenerateResponse): string {
  if (event.case === "partStarted" && event.value.part?.data.case === "text") return event.value.part.data.value;
  if (event.case === "partDelta" && event.value.delta.case === "text") return event.value.delta.value;
  return "";
}
