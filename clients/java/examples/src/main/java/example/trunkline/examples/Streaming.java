package example.trunkline.examples;

import example.trunkline.AnswerStream;
import example.trunkline.TrunklineClient;
import example.trunkline.TrunklineException;
import example.trunkline.v1.GenerateResponse;
import io.grpc.Status;
import java.time.Duration;

/** Read an answer as it is made, and stop before its end. */
final class Streaming {
    private Streaming() {}

    /** What came: the text of all pieces, and what the answer used. */
    record Heard(String text, GenerateResponse response) {}

    /** The text piece by piece, and the rest once it has come to its end. */
    static Heard stream(TrunklineClient client, String model) {
        StringBuilder text = new StringBuilder();
        try (AnswerStream answer = client.withTimeout(Duration.ofSeconds(10)).stream(model, "Say hello")) {
            for (String piece : answer.texts()) {
                text.append(piece);
            }
            return new Heard(text.toString(), answer.response());
        }
    }

    /** Cancel a stream after its first piece: the work stops, at the provider too. The status that it ends with. */
    static Status.Code cancel(TrunklineClient client, String model) {
        try (AnswerStream answer = client.stream(model, "cancel me")) {
            for (String piece : answer.texts()) {
                answer.cancel(); // leaving the try block does the same
            }
        } catch (TrunklineException error) {
            return error.code();
        }
        return Status.Code.OK;
    }
}
