// See why a call failed.
import { type Client, type GenerateInit, TrunklineError } from "@trunkline/client";

/** The error of a call that fails: its code, reason, retryDelayMs and fieldViolations. */
export async function fail(client: Client, model: string, settings: GenerateInit = {}): Promise<TrunklineError> {
  try {
    await client.generate({ ...settings, model, prompt: "Say hello" }, { timeoutMs: 10_000 });
  } catch (error) {
    if (error instanceof TrunklineError) return error;
    throw error;
  }
  throw new Error("the call went well");
}
