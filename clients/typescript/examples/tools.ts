// Let the model ask for a tool, and tell it what the tool returned.
import { type Client, type GenerateInit, Role, textOf, type ToolCall, toolCallsOf } from "@trunkline/client";

const WEATHER = { kind: { case: "function", value: { name: "get_weather", parametersJsonSchema: '{"type": "object"}' } } } as const;

/** What the model asked for, and its answer once it knows. */
export async function askWithTools(client: Client, model: string): Promise<[ToolCall, string]> {
  const messages: GenerateInit["messages"] = [
    { role: Role.USER, parts: [{ data: { case: "text", value: "What is the weather in Paris?" } }] },
  ];
  const asked = await client.generate({ model, messages, tools: [WEATHER] }, { timeoutMs: 10_000 });
  const [call] = toolCallsOf(asked);
  if (!call || !asked.message) throw new Error("no tool was asked for");
  const result = { toolCallId: call.id, parts: [{ data: { case: "text", value: "sunny" } as const }] };
  messages.push(asked.message, { role: Role.TOOL, parts: [{ data: { case: "toolResult", value: result } }] });
  const answer = await client.generate({ model, messages, tools: [WEATHER] }, { timeoutMs: 10_000 });
  return [call, textOf(answer)];
}
