package example.trunkline.examples;

import example.trunkline.Texts;
import example.trunkline.TrunklineClient;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.ConcurrentSkipListSet;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.atomic.AtomicLong;

/** Four workers that call for a while, on one client. */
final class Load {
    private static final int WORKERS = 4;

    private static final Map<String, Case> KINDS = Map.of(
            "unary", client -> Texts.in(Generate.generate(client, Cases.HELLO)),
            "stream", client -> Streaming.stream(client, Cases.HELLO).text(),
            "tools", client -> Tools.ask(client, Cases.TOOLS).text(),
            "cancel", client -> Streaming.cancel(client, Cases.SLOW).name());

    private final Map<String, Set<Object>> heard = new ConcurrentHashMap<>();
    private final AtomicLong calls = new AtomicLong();

    private Load() {}

    /** Call for so long; what there was for answers, by kind. */
    static Map<String, Object> row(TrunklineClient client, Duration time) throws Exception {
        Load load = new Load();
        load.run(client, System.nanoTime() + time.toNanos());
        return Map.of("case", "load", "ok", true, "value", load.heard, "calls", load.calls);
    }

    private void run(TrunklineClient client, long until) throws Exception {
        ExecutorService pool = Executors.newFixedThreadPool(WORKERS);
        try {
            List<Future<Object>> workers = new ArrayList<>();
            for (int worker = 0; worker < WORKERS; worker++) {
                workers.add(pool.submit(() -> work(client, until)));
            }
            for (Future<Object> worker : workers) {
                worker.get();
            }
        } finally {
            pool.shutdownNow();
        }
    }

    private Object work(TrunklineClient client, long until) throws Exception {
        while (System.nanoTime() < until) {
            for (var kind : KINDS.entrySet()) {
                Object answer = kind.getValue().value(client);
                heard.computeIfAbsent(kind.getKey(), name -> new ConcurrentSkipListSet<>()).add(answer);
                calls.incrementAndGet();
            }
        }
        return null;
    }
}
