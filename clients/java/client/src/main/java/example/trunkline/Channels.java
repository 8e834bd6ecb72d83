package example.trunkline;

import io.grpc.ChannelCredentials;
import io.grpc.Grpc;
import io.grpc.ManagedChannel;
import java.util.List;
import java.util.Map;
import java.util.concurrent.TimeUnit;
import java.util.stream.Stream;

/** How a channel to a gateway is set up. */
final class Channels {
    /** Bytes; the gateway takes and sends as much. */
    private static final int MAX_MESSAGE = 32 << 20;

    /**
     * gRPC asks again, up to four times in all, while the gateway cannot be reached or says that it cannot answer just now
     * and nothing of an answer has come. How long it waits, and whether it may, the gateway says
     * (grpc-retry-pushback-ms): what may have been done and paid is not asked for again.
     */
    private static final Map<String, ?> RETRIES = Map.of(
            "maxAttempts", 4.0,
            "initialBackoff", "0.2s",
            "maxBackoff", "5s",
            "backoffMultiplier", 2.0,
            "retryableStatusCodes", List.of("UNAVAILABLE"));

    private static final List<Map<String, String>> SERVICES =
            Stream.of("GatewayService", "ModelService", "FeedbackService")
                    .map(name -> Map.of("service", "trunkline.v1." + name))
                    .toList();

    private Channels() {}

    static ManagedChannel open(String address, ChannelCredentials credentials) {
        return Grpc.newChannelBuilder(address, credentials)
                .keepAliveTime(30, TimeUnit.SECONDS)
                .keepAliveTimeout(10, TimeUnit.SECONDS)
                .maxInboundMessageSize(MAX_MESSAGE)
                .defaultServiceConfig(Map.of("methodConfig", List.of(Map.of("name", SERVICES, "retryPolicy", RETRIES))))
                .userAgent("trunkline-client-java")
                .build();
    }
}
