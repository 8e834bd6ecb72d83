package main

import (
	"context"

	health "google.golang.org/grpc/health/grpc_health_v1"

	trunkline "trunkline.example/clients/go"
	pb "trunkline.example/clients/go/trunkline/v1"
)

// healthy tells how the gateway is, in load balancers' words and in its own.
func healthy(ctx context.Context, client *trunkline.Client) (*health.HealthCheckResponse, *pb.HealthCheckResponse, error) {
	request := &health.HealthCheckRequest{Service: "trunkline.v1.GatewayService"}
	checked, err := health.NewHealthClient(client.Connection()).Check(ctx, request)
	if err != nil {
		return nil, nil, err
	}
	told, err := client.HealthCheck(ctx, &pb.HealthCheckRequest{})
	return checked, told, err
}
