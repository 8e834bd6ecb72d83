package main

import (
	"context"
	"errors"

	trunkline "trunkline.example/clients/go"
	pb "trunkline.example/clients/go/trunkline/v1"
)

// fail returns why a call failed: its code, reason, retry delay and field violations. nil if it did not.
func fail(ctx context.Context, client *trunkline.Client, request *pb.GenerateRequest) *trunkline.Error {
	_, err := client.Generate(ctx, request)
	var failed *trunkline.Error
	if errors.As(err, &failed) {
		return failed
	}
	return nil
}
