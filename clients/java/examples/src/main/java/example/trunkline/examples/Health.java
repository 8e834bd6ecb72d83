package example.trunkline.examples;

import example.trunkline.TrunklineClient;
import example.trunkline.v1.HealthCheckRequest;
import example.trunkline.v1.HealthCheckResponse;
import io.grpc.health.v1.HealthCheckResponse.ServingStatus;
import io.grpc.health.v1.HealthGrpc;

/** See how the gateway is, in its own words and in those of load balancers. */
final class Health {
    private Health() {}

    /** grpc.health.v1, which needs no key. */
    static ServingStatus serving(TrunklineClient client) {
        var request = io.grpc.health.v1.HealthCheckRequest.newBuilder().setService("trunkline.v1.GatewayService").build();
        return HealthGrpc.newBlockingStub(client.channel()).check(request).getStatus();
    }

    /** HealthCheck. */
    static HealthCheckResponse told(TrunklineClient client) {
        return client.health(HealthCheckRequest.newBuilder().setIncludeProviders(true).build());
    }
}
