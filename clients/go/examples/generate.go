package main

import (
	"context"
	"time"

	trunkline "trunkline.example/clients/go"
	pb "trunkline.example/clients/go/trunkline/v1"
)

// generate asks, and waits for the whole answer.
func generate(ctx context.Context, client *trunkline.Client, model string) (*pb.GenerateResponse, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	return client.Generate(ctx, trunkline.Prompt(model, "Say hello"))
}
