package example.trunkline;

import example.trunkline.v1.GatewayServiceGrpc;
import example.trunkline.v1.GenerateRequest;
import example.trunkline.v1.GenerateResponse;
import example.trunkline.v1.HealthCheckRequest;
import example.trunkline.v1.HealthCheckResponse;
import example.trunkline.v1.UsageStatsRequest;
import example.trunkline.v1.UsageStatsResponse;
import io.grpc.Channel;
import io.grpc.ChannelCredentials;
import io.grpc.ClientInterceptors;
import io.grpc.InsecureChannelCredentials;
import io.grpc.ManagedChannel;
import io.grpc.Metadata;
import io.grpc.StatusRuntimeException;
import io.grpc.stub.MetadataUtils;
import java.time.Duration;
import java.util.concurrent.TimeUnit;
import java.util.function.Supplier;

/**
 * A gateway. Every call takes and gives the contract's own messages, and throws {@link TrunklineException}.
 *
 * <p>It may be shared by threads. Interrupting a thread that waits for an answer cancels its call, and so does cancelling
 * the {@link io.grpc.Context} in which the call was made.
 */
public final class TrunklineClient implements AutoCloseable {
    private static final Metadata.Key<String> AUTHORIZATION =
            Metadata.Key.of("authorization", Metadata.ASCII_STRING_MARSHALLER);

    private final ManagedChannel owned;
    private final Channel channel;
    private final Duration timeout;

    private TrunklineClient(ManagedChannel owned, Channel channel, Duration timeout) {
        this.owned = owned;
        this.channel = channel;
        this.timeout = timeout;
    }

    /** The gateway at this address ("host:port"), in the clear and without a key. It connects with the first call. */
    public static TrunklineClient connect(String address) {
        return connect(address, null);
    }

    /** The same, with a key that is sent with every call; null: without one. */
    public static TrunklineClient connect(String address, String apiKey) {
        return connect(address, apiKey, InsecureChannelCredentials.create());
    }

    /** The same, with credentials: {@link io.grpc.TlsChannelCredentials} connects with TLS. */
    public static TrunklineClient connect(String address, String apiKey, ChannelCredentials credentials) {
        return over(Channels.open(address, credentials), apiKey);
    }

    /** The gateway at the other end of a channel that was set up elsewhere; {@link #close} closes it. */
    public static TrunklineClient over(ManagedChannel channel, String apiKey) {
        return new TrunklineClient(channel, apiKey == null ? channel : keyed(channel, apiKey), null);
    }

    private static Channel keyed(ManagedChannel channel, String apiKey) {
        Metadata headers = new Metadata();
        headers.put(AUTHORIZATION, "Bearer " + apiKey);
        return ClientInterceptors.intercept(channel, MetadataUtils.newAttachHeadersInterceptor(headers));
    }

    /**
     * The same client with a limit for each whole call, a stream to its end. Without one the gateway's own holds. Closing
     * either closes both.
     */
    public TrunklineClient withTimeout(Duration limit) {
        return new TrunklineClient(owned, channel, limit);
    }

    /**
     * The channel with the key, for stubs of your own: {@code GatewayServiceGrpc.newStub(client.channel())} takes a
     * {@link io.grpc.stub.StreamObserver}, and {@code newFutureStub} gives futures. What they fail with is for {@link
     * TrunklineException#of}.
     */
    public Channel channel() {
        return channel;
    }

    /** The whole answer of a model to a prompt. */
    public GenerateResponse generate(String model, String prompt) {
        return generate(Texts.request(model, prompt));
    }

    /** The whole answer to a request. */
    public GenerateResponse generate(GenerateRequest request) {
        return raising(() -> gateway().generate(request));
    }

    /** The answer of a model to a prompt as it is made. Close the stream: an open one goes on, and is paid for. */
    public AnswerStream stream(String model, String prompt) {
        return stream(Texts.request(model, prompt));
    }

    /** The answer to a request as it is made. Close the stream: an open one goes on, and is paid for. */
    public AnswerStream stream(GenerateRequest request) {
        return AnswerStream.start(gateway(), request);
    }

    /** How the gateway is, and its providers if asked for. */
    public HealthCheckResponse health(HealthCheckRequest request) {
        return raising(() -> gateway().healthCheck(request));
    }

    /** Counts, tokens, cost and times of the ledger's calls. */
    public UsageStatsResponse usage(UsageStatsRequest request) {
        return raising(() -> gateway().usageStats(request));
    }

    /** Cancels what still runs and closes the connection. */
    @Override
    public void close() {
        owned.shutdownNow();
        try {
            owned.awaitTermination(5, TimeUnit.SECONDS);
        } catch (InterruptedException interrupted) {
            Thread.currentThread().interrupt();
        }
    }

    private GatewayServiceGrpc.GatewayServiceBlockingStub gateway() {
        GatewayServiceGrpc.GatewayServiceBlockingStub stub = GatewayServiceGrpc.newBlockingStub(channel);
        return timeout == null ? stub : stub.withDeadlineAfter(timeout.toNanos(), TimeUnit.NANOSECONDS);
    }

    private static <T> T raising(Supplier<T> call) {
        try {
            return call.get();
        } catch (StatusRuntimeException error) {
            throw TrunklineException.of(error);
        }
    }
}
