package example.trunkline;

import example.trunkline.v1.GatewayServiceGrpc.GatewayServiceImplBase;
import example.trunkline.v1.GenerateRequest;
import example.trunkline.v1.GenerateResponse;
import example.trunkline.v1.StreamGenerateResponse;
import io.grpc.Context;
import io.grpc.Server;
import io.grpc.inprocess.InProcessChannelBuilder;
import io.grpc.inprocess.InProcessServerBuilder;
import io.grpc.stub.StreamObserver;
import java.io.IOException;
import java.util.UUID;
import java.util.concurrent.CountDownLatch;
import java.util.function.Consumer;

/** A gRPC server in this process whose StreamGenerate does what a test says, and whose Generate never answers. */
final class Gateway extends GatewayServiceImplBase implements AutoCloseable {
    /** Zero once a call was cancelled. */
    final CountDownLatch cancelled = new CountDownLatch(1);

    /** Zero once Generate was called. */
    final CountDownLatch asked = new CountDownLatch(1);

    final TrunklineClient client;
    private final Server server;
    private final Consumer<StreamObserver<StreamGenerateResponse>> answer;

    Gateway(Consumer<StreamObserver<StreamGenerateResponse>> answer) throws IOException {
        this.answer = answer;
        String name = UUID.randomUUID().toString();
        server = InProcessServerBuilder.forName(name).addService(this).build().start();
        client = TrunklineClient.over(InProcessChannelBuilder.forName(name).build(), null);
    }

    @Override
    public void streamGenerate(GenerateRequest request, StreamObserver<StreamGenerateResponse> events) {
        Context.current().addListener(context -> cancelled.countDown(), Runnable::run);
        answer.accept(events);
    }

    @Override
    public void generate(GenerateRequest request, StreamObserver<GenerateResponse> answer) {
        Context.current().addListener(context -> cancelled.countDown(), Runnable::run);
        asked.countDown();
    }

    @Override
    public void close() {
        client.close();
        server.shutdownNow();
    }
}
