package example.trunkline;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.grpc.Status;
import java.time.Duration;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

@Timeout(30)
final class TrunklineClientTest {
    @Test
    void interruptingWhoWaitsCancelsTheCall() throws Exception {
        try (Gateway gateway = new Gateway(events -> {})) {
            Thread waiting = Thread.currentThread();
            new Thread(() -> interruptOnceAsked(gateway, waiting)).start();
            assertEquals(Status.Code.CANCELLED, failure(gateway.client));
            assertTrue(Thread.interrupted());
            assertTrue(gateway.cancelled.await(10, TimeUnit.SECONDS));
        }
    }

    @Test
    void aLimitIsForTheWholeCall() throws Exception {
        try (Gateway gateway = new Gateway(events -> {})) {
            assertEquals(Status.Code.DEADLINE_EXCEEDED, failure(gateway.client.withTimeout(Duration.ofMillis(50))));
        }
    }

    @Test
    void closingTheClientEndsWhatRuns() throws Exception {
        try (Gateway gateway = new Gateway(events -> {});
                AnswerStream answer = gateway.client.stream("m", "p")) {
            gateway.client.close();
            assertThrows(TrunklineException.class, () -> answer.iterator().next());
        }
    }

    private static Status.Code failure(TrunklineClient client) {
        return assertThrows(TrunklineException.class, () -> client.generate("m", "p")).code();
    }

    private static void interruptOnceAsked(Gateway gateway, Thread waiting) {
        try {
            gateway.asked.await();
            waiting.interrupt();
        } catch (InterruptedException over) {
            Thread.currentThread().interrupt();
        }
    }
}
