package example.trunkline.examples;

import example.trunkline.AnswerStream;
import example.trunkline.Texts;
import example.trunkline.TrunklineClient;
import example.trunkline.TrunklineException;
import example.trunkline.v1.GenerateRequest;
import example.trunkline.v1.GenerateResponse;
import example.trunkline.v1.GenerationConfig;
import example.trunkline.v1.StreamGenerateResponse;
import io.grpc.Status;
import java.time.Duration;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/** The cases of tests/matrix/CASES.md, in their order. */
final class Cases {
    static final String HELLO = "scripted/hello";
    static final String TOOLS = "scripted/tools";
    static final String SLOW = "slow/upstream";
    static final Map<String, Case> ALL = new LinkedHashMap<>();

    static {
        ALL.put("unary", Cases::unary);
        ALL.put("stream", Cases::stream);
        ALL.put("cancel", client -> Map.of("code", Streaming.cancel(client, SLOW)));
        ALL.put("deadline", Cases::deadline);
        ALL.put("tools", Cases::tools);
        ALL.put("error_details", Cases::errorDetails);
        ALL.put("retry_pushback", Cases::retryPushback);
        ALL.put("health", Cases::health);
        ALL.put("usage", client -> Map.of("calls", client.usage(Usage.EVERYTHING).getTotals().getRequests() > 0));
        ALL.put("tls", client -> tls());
        ALL.put("api_key", client -> apiKey());
        ALL.put("unknown", client -> Golden.unknown());
        ALL.put("golden", client -> Golden.all());
    }

    private Cases() {}

    private static Object unary(TrunklineClient client) {
        GenerateResponse answer = Generate.generate(client, HELLO);
        return Map.of(
                "text", Texts.in(answer),
                "finish_reason", answer.getFinishReason().name(),
                "input_tokens", answer.getUsage().getInputTokens(),
                "output_tokens", answer.getUsage().getOutputTokens());
    }

    private static Object stream(TrunklineClient client) {
        int completed = 0;
        try (AnswerStream answer = client.stream(HELLO, "Say hello")) {
            for (StreamGenerateResponse event : answer) {
                completed += event.hasCompleted() ? 1 : 0;
            }
        }
        return Map.of("text", Streaming.stream(client, HELLO).text(), "completed", completed);
    }

    private static Object deadline(TrunklineClient client) {
        long began = System.nanoTime();
        Status.Code code = Status.Code.OK;
        try (AnswerStream answer = client.withTimeout(Duration.ofMillis(300)).stream(SLOW, "too slow")) {
            answer.forEach(event -> {});
        } catch (TrunklineException error) {
            code = error.code();
        }
        require(since(began).compareTo(Duration.ofSeconds(1)) < 0, "it took a second");
        return Map.of("code", code);
    }

    private static Object tools(TrunklineClient client) {
        Tools.Asked asked = Tools.ask(client, TOOLS);
        return Map.of("name", asked.call().getName(), "arguments", asked.call().getArgumentsJson(), "text", asked.text());
    }

    private static Object errorDetails(TrunklineClient client) {
        GenerateRequest wrong = Texts.request(HELLO, "Say hello").toBuilder()
                .setConfig(GenerationConfig.newBuilder().setTemperature(9).setTopP(0))
                .build();
        return List.of(
                told(Errors.fail(client, wrong)),
                told(Errors.fail(client, Texts.request("scripted/error", "Say hello"))));
    }

    private static Object told(TrunklineException error) {
        Map<String, Object> told = new LinkedHashMap<>();
        told.put("code", error.code());
        told.put("reason", error.info().getReason());
        told.put("retry_delay", error.retryDelay().map(delay -> delay.toNanos() / 1e9).orElse(null));
        told.put("fields", error.fieldViolations().stream().map(violation -> violation.getField()).sorted().toList());
        return told;
    }

    private static Object retryPushback(TrunklineClient client) {
        long began = System.nanoTime();
        GenerateResponse answer = Generate.generate(client, "scripted/busy");
        boolean waited = since(began).compareTo(Duration.ofMillis(600)) >= 0;
        Errors.fail(client, Texts.request("scripted/stop", "Say hello"));
        return Map.of(
                "text", Texts.in(answer),
                "attempts", Usage.of(client, "scripted/busy").getRequests(),
                "waited", waited,
                "stopped_after", Usage.of(client, "scripted/stop").getRequests());
    }

    private static Object health(TrunklineClient client) {
        try (TrunklineClient anybody = Where.withoutKey()) {
            return Map.of("status", Health.serving(anybody), "state", Health.told(client).getState());
        }
    }

    private static Object tls() throws Exception {
        try (TrunklineClient client = Where.withTls()) {
            return Map.of("text", Texts.in(Generate.generate(client, HELLO)));
        }
    }

    private static Object apiKey() {
        try (TrunklineClient client = Where.withoutKey()) {
            TrunklineException error = Errors.fail(client, Texts.request(HELLO, "Say hello"));
            return Map.of("code", error.code(), "reason", error.info().getReason());
        }
    }

    static void require(boolean condition, String otherwise) {
        if (!condition) {
            throw new IllegalStateException(otherwise);
        }
    }

    private static Duration since(long began) {
        return Duration.ofNanos(System.nanoTime() - began);
    }
}
