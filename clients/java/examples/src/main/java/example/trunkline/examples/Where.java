package example.trunkline.examples;

import example.trunkline.TrunklineClient;
import io.grpc.TlsChannelCredentials;
import java.io.File;
import java.io.IOException;
import java.nio.file.Path;

/** Where everything is, by the environment. */
final class Where {
    static final Path GOLDEN = Path.of(System.getenv("TRUNKLINE_GOLDEN"));
    private static final String ADDRESS = System.getenv("TRUNKLINE_ADDRESS");
    private static final String API_KEY = System.getenv("TRUNKLINE_API_KEY");

    private Where() {}

    static TrunklineClient client() {
        return TrunklineClient.connect(ADDRESS, API_KEY);
    }

    static TrunklineClient withoutKey() {
        return TrunklineClient.connect(ADDRESS);
    }

    static TrunklineClient withTls() throws IOException {
        File authority = new File(System.getenv("TRUNKLINE_CA"));
        var credentials = TlsChannelCredentials.newBuilder().trustManager(authority).build();
        return TrunklineClient.connect(System.getenv("TRUNKLINE_TLS_ADDRESS"), API_KEY, credentials);
    }
}
