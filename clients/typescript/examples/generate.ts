// Ask, and wait for the whole answer.
import type { Client, GenerateResponse } from "@trunkline/client";

/** The answer, and what it used. */
export async function generate(client: Client, model: string): Promise<GenerateResponse> {
  return client.generate({ model, prompt: "Say hello", config: { maxOutputTokens: 100 } }, { timeoutMs: 10_000 });
}
