// See how the gateway is, in its own words and in those of load balancers.
import { Client, Health, HealthCheckResponse_ServingStatus, HealthCheckResponse_State } from "@trunkline/client";

/** grpc.health.v1, which needs no key, and HealthCheck. */
export async function health(client: Client, address: string): Promise<[string, string]> {
  const anybody = new Client(address);
  const service = "trunkline.v1.GatewayService";
  const answer = await anybody.call(Health.method.check, { service }, { timeoutMs: 10_000 });
  anybody.close();
  const told = await client.health({}, { timeoutMs: 10_000 });
  return [HealthCheckResponse_ServingStatus[answer.status], `STATE_${HealthCheckResponse_State[told.state]}`];
}
