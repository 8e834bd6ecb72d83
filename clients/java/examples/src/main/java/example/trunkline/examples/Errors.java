package example.trunkline.examples;

import example.trunkline.TrunklineClient;
import example.trunkline.TrunklineException;
import example.trunkline.v1.GenerateRequest;

/** See why a call failed. */
final class Errors {
    private Errors() {}

    /** The error of a call that fails: its code, reason, retryDelay and fieldViolations. */
    static TrunklineException fail(TrunklineClient client, GenerateRequest request) {
        try {
            client.generate(request);
        } catch (TrunklineException error) {
            return error;
        }
        throw new IllegalStateException("the call went well");
    }
}
