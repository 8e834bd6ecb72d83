package example.trunkline.examples;

import example.trunkline.TrunklineClient;
import example.trunkline.v1.UsageDimension;
import example.trunkline.v1.UsageFilter;
import example.trunkline.v1.UsageStatsRequest;
import example.trunkline.v1.UsageTotals;

/** See what was used. */
final class Usage {
    private static final UsageDimension REQUESTED_MODEL =
            UsageDimension.newBuilder().setKind(UsageDimension.Kind.KIND_REQUESTED_MODEL).build();

    /** All calls of the last day. */
    static final UsageStatsRequest EVERYTHING = UsageStatsRequest.getDefaultInstance();

    private Usage() {}

    /** Calls, tokens and cost of a model in the last day. */
    static UsageTotals of(TrunklineClient client, String model) {
        UsageFilter filter = UsageFilter.newBuilder().setDimension(REQUESTED_MODEL).addValues(model).build();
        return client.usage(UsageStatsRequest.newBuilder().addFilters(filter).build()).getTotals();
    }
}
