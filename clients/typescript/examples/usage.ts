// See what was used.
import { type Client, UsageDimension_Kind, type UsageTotals } from "@trunkline/client";

/** Calls, tokens and cost of a model in the last day. */
export async function usage(client: Client, model: string): Promise<UsageTotals | undefined> {
  const filters = [{ dimension: { kind: UsageDimension_Kind.REQUESTED_MODEL }, values: [model] }];
  return (await client.usage({ filters }, { timeoutMs: 10_000 })).totals;
}
