package example.trunkline;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import example.trunkline.v1.ErrorReason;
import example.trunkline.v1.FinishReason;
import example.trunkline.v1.GenerateResponse;
import example.trunkline.v1.Part;
import example.trunkline.v1.ProviderState;
import example.trunkline.v1.Reasoning;
import example.trunkline.v1.StreamGenerateResponse;
import example.trunkline.v1.ToolCall;
import io.grpc.Context;
import io.grpc.Status;
import io.grpc.stub.StreamObserver;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.TimeUnit;
import java.util.function.Consumer;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

@Timeout(30)
final class AnswerStreamTest {
    private static final StreamGenerateResponse STARTED = event(event -> event.getStartedBuilder().setId("call-1"));
    private static final StreamGenerateResponse PART = event(event -> event.getPartStartedBuilder().getPartBuilder().setText(""));
    private static final StreamGenerateResponse COMPLETED = event(event ->
            event.getCompletedBuilder().getResponseBuilder().setId("call-1").setFinishReason(FinishReason.FINISH_REASON_STOP));

    @Test
    void itsResponseIsWhatTheEventsMake() throws Exception {
        try (Gateway gateway = saying(STARTED, PART, text("Hel"), text("lo"), COMPLETED);
                AnswerStream answer = gateway.client.stream("m", "p")) {
            List<String> texts = new ArrayList<>();
            answer.texts().forEach(texts::add);
            assertEquals(List.of("Hel", "lo"), texts);
            GenerateResponse response = answer.response();
            assertEquals("Hello", Texts.in(response));
            assertEquals(FinishReason.FINISH_REASON_STOP, response.getFinishReason());
        }
    }

    @Test
    void whatWasDiscardedDoesNotCount() throws Exception {
        StreamGenerateResponse second =
                event(event -> event.getPartStartedBuilder().setPartIndex(1).getPartBuilder().setText("worse"));
        StreamGenerateResponse restarted = event(event -> event.getRestartedBuilder().setDiscard(true));
        try (Gateway gateway = saying(STARTED, PART, text("bad"), second, restarted, PART, text("good"), COMPLETED);
                AnswerStream answer = gateway.client.stream("m", "p")) {
            answer.forEach(event -> {});
            assertEquals("good", Texts.in(answer.response()));
        }
    }

    @Test
    void everyPartIsMadeWhole() throws Exception {
        ProviderState signature = ProviderState.newBuilder().setFormat("anthropic.signature").setData("x").build();
        Part thought = Part.newBuilder().setReasoning(Reasoning.newBuilder().setText("hm")).setProviderState(signature).build();
        Part call = Part.newBuilder().setToolCall(ToolCall.newBuilder().setId("1").setName("f").setArgumentsJson("{}")).build();
        try (Gateway gateway = saying(
                        STARTED,
                        event(event -> event.getPartStartedBuilder().getPartBuilder().getReasoningBuilder()),
                        event(event -> event.getPartDeltaBuilder().setReasoningText("hm")),
                        event(event -> event.getPartCompletedBuilder().setProviderState(signature)),
                        event(event -> event.getPartStartedBuilder().setPartIndex(1).getPartBuilder().getToolCallBuilder().setId("1").setName("f")),
                        event(event -> event.getPartDeltaBuilder().setPartIndex(1).setToolArgumentsJson("{")),
                        event(event -> event.getPartDeltaBuilder().setPartIndex(1).setToolArgumentsJson("}")),
                        event(event -> event.getPartCompletedBuilder().setPartIndex(1)),
                        COMPLETED);
                AnswerStream answer = gateway.client.stream("m", "p")) {
            answer.forEach(event -> {});
            assertEquals(List.of(thought, call), answer.response().getMessage().getPartsList());
        }
    }

    @Test
    void anEventThatIsNotKnownIsPassedOver() throws Exception {
        Path file = Path.of("../../../tests/golden_contract/unknown_event.bin");
        StreamGenerateResponse unknown = StreamGenerateResponse.parseFrom(Files.readAllBytes(file));
        assertEquals(StreamGenerateResponse.EventCase.EVENT_NOT_SET, unknown.getEventCase());
        try (Gateway gateway = saying(STARTED, PART, unknown, text("Hello"), COMPLETED);
                AnswerStream answer = gateway.client.stream("m", "p")) {
            answer.forEach(event -> {});
            assertEquals("Hello", Texts.in(answer.response()));
        }
    }

    @Test
    void withoutCompletedItIsInterrupted() throws Exception {
        try (Gateway gateway = saying(STARTED, PART, text("Hel"));
                AnswerStream answer = gateway.client.stream("m", "p")) {
            TrunklineException error = failing(answer);
            assertEquals(Status.Code.ABORTED, error.code());
            assertEquals(ErrorReason.ERROR_REASON_STREAM_INTERRUPTED, error.reason());
            assertEquals("call-1", error.callId());
            assertFalse(error.isRetryable());
            assertThrows(IllegalStateException.class, answer::response);
        }
    }

    @Test
    void itIsReadOnce() throws Exception {
        try (Gateway gateway = saying(STARTED, COMPLETED);
                AnswerStream answer = gateway.client.stream("m", "p")) {
            answer.forEach(event -> {});
            assertThrows(IllegalStateException.class, answer::iterator);
        }
    }

    @Test
    void closingItEarlyCancelsTheCall() throws Exception {
        try (Gateway gateway = hanging()) {
            try (AnswerStream answer = gateway.client.stream("m", "p")) {
                assertTrue(answer.iterator().next().hasStarted());
            }
            assertTrue(gateway.cancelled.await(10, TimeUnit.SECONDS));
        }
    }

    @Test
    void anotherThreadMayCancelIt() throws Exception {
        try (Gateway gateway = hanging();
                AnswerStream answer = gateway.client.stream("m", "p")) {
            var events = answer.iterator();
            events.next();
            new Thread(answer::cancel).start();
            assertEquals(Status.Code.CANCELLED, assertThrows(TrunklineException.class, events::next).code());
            assertTrue(gateway.cancelled.await(10, TimeUnit.SECONDS));
        }
    }

    @Test
    void interruptingWhoReadsCancelsTheCall() throws Exception {
        try (Gateway gateway = hanging();
                AnswerStream answer = gateway.client.stream("m", "p")) {
            var events = answer.iterator();
            events.next();
            Thread.currentThread().interrupt();
            assertEquals(Status.Code.CANCELLED, assertThrows(TrunklineException.class, events::next).code());
            assertTrue(Thread.interrupted());
            assertTrue(gateway.cancelled.await(10, TimeUnit.SECONDS));
        }
    }

    @Test
    void cancellingTheContextCancelsTheCall() throws Exception {
        try (Gateway gateway = hanging();
                Context.CancellableContext context = Context.current().withCancellation();
                AnswerStream answer = context.call(() -> gateway.client.stream("m", "p"))) {
            var events = answer.iterator();
            events.next();
            context.cancel(null);
            assertEquals(Status.Code.CANCELLED, assertThrows(TrunklineException.class, events::next).code());
        }
    }

    private static Gateway saying(StreamGenerateResponse... said) throws Exception {
        return new Gateway(events -> {
            List.of(said).forEach(events::onNext);
            events.onCompleted();
        });
    }

    /** Begins to answer and says nothing more. */
    private static Gateway hanging() throws Exception {
        return new Gateway((StreamObserver<StreamGenerateResponse> events) -> events.onNext(STARTED));
    }

    private static TrunklineException failing(AnswerStream answer) {
        return assertThrows(TrunklineException.class, () -> answer.forEach(event -> {}));
    }

    private static StreamGenerateResponse text(String text) {
        return event(event -> event.getPartDeltaBuilder().setText(text));
    }

    private static StreamGenerateResponse event(Consumer<StreamGenerateResponse.Builder> set) {
        StreamGenerateResponse.Builder event = StreamGenerateResponse.newBuilder();
        set.accept(event);
        return event.build();
    }
}
