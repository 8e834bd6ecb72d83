package main

import (
	"context"

	trunkline "trunkline.example/clients/go"
	pb "trunkline.example/clients/go/trunkline/v1"
)

// usage tells the calls, tokens and cost of a model in the last day.
func usage(ctx context.Context, client *trunkline.Client, model string) (*pb.UsageTotals, error) {
	told, err := client.UsageStats(ctx, &pb.UsageStatsRequest{Filters: []*pb.UsageFilter{{
		Dimension: &pb.UsageDimension{Kind: pb.UsageDimension_KIND_REQUESTED_MODEL},
		Values:    []string{model},
	}}})
	return told.GetTotals(), err
}
