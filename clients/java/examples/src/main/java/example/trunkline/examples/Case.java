package example.trunkline.examples;

import example.trunkline.TrunklineClient;

/** One of tests/matrix/CASES.md: what comes of it, to be written as JSON. */
interface Case {
    Object value(TrunklineClient client) throws Exception;
}
