package example.trunkline.examples;

import com.google.gson.Gson;
import com.google.gson.GsonBuilder;
import example.trunkline.TrunklineClient;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.LinkedHashMap;
import java.util.Map;

/** The program of tests/matrix/CASES.md. */
final class Matrix {
    private static final Gson JSON = new GsonBuilder().serializeNulls().disableHtmlEscaping().create();
    private static final PrintStream OUT = new PrintStream(System.out, true, StandardCharsets.UTF_8);

    private Matrix() {}

    public static void main(String[] arguments) throws Exception {
        String seconds = System.getenv("TRUNKLINE_SECONDS");
        try (TrunklineClient client = Where.client()) {
            if (seconds == null) {
                Cases.ALL.forEach((name, what) -> say(row(name, what, client)));
            } else {
                say(Load.row(client, Duration.ofSeconds(Long.parseLong(seconds))));
            }
        }
    }

    private static Map<String, Object> row(String name, Case what, TrunklineClient client) {
        Map<String, Object> row = new LinkedHashMap<>(Map.of("case", name));
        try {
            row.put("value", what.value(client));
            row.put("ok", true);
        } catch (Exception | AssertionError error) { // whatever it is, it is told
            row.put("why", error.toString());
            row.put("ok", false);
            row.put("value", null);
        }
        return row;
    }

    private static void say(Map<String, Object> row) {
        OUT.println(JSON.toJson(row));
    }
}
