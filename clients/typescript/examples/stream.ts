// Read an answer as it is made, and stop before its end.
import { type Client, type Code, type GenerateResponse, TrunklineError } from "@trunkline/client";

/** The text piece by piece, and the whole answer once it has come to its end. */
export async function stream(client: Client, model: string): Promise<[string, GenerateResponse]> {
  const answer = client.stream({ model, prompt: "Say hello" }, { timeoutMs: 10_000 });
  let text = "";
  for await (const piece of answer.text) text += piece;
  return [text, answer.response];
}

/** Abort a stream after its first piece: the work stops, at the provider too. The status that it ends with. */
export async function cancel(client: Client, model: string): Promise<Code> {
  const aborting = new AbortController();
  try {
    for await (const _ of client.stream({ model, prompt: "cancel me" }, { signal: aborting.signal }).text) {
      aborting.abort(); // leaving the loop does the same
    }
  } catch (error) {
    if (error instanceof TrunklineError) return error.code;
    throw error;
  }
  return "OK";
}
