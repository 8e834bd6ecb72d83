package example.trunkline.examples;

import example.trunkline.Texts;
import example.trunkline.TrunklineClient;
import example.trunkline.v1.GenerateRequest;
import example.trunkline.v1.GenerateResponse;
import example.trunkline.v1.GenerationConfig;
import java.time.Duration;

/** Ask, and wait for the whole answer. */
final class Generate {
    private Generate() {}

    /** The answer, and what it used. */
    static GenerateResponse generate(TrunklineClient client, String model) {
        GenerateRequest request = Texts.request(model, "Say hello").toBuilder()
                .setConfig(GenerationConfig.newBuilder().setMaxOutputTokens(100))
                .build();
        return client.withTimeout(Duration.ofSeconds(10)).generate(request);
    }
}
