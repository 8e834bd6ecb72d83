package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"os"
	"slices"
	"strings"
	"time"

	"google.golang.org/genproto/googleapis/rpc/code"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/protobuf/proto"

	trunkline "trunkline.example/clients/go"
	pb "trunkline.example/clients/go/trunkline/v1"
)

const (
	hello      = "scripted/hello"
	slow       = "slow/upstream"
	reasonMark = "ERROR_REASON_"
)

type value = map[string]any

// testCase is one of tests/matrix/CASES.md.
type testCase struct {
	name string
	run  func(context.Context, *trunkline.Client) (any, error)
}

var cases = []testCase{
	{"unary", unaryCase},
	{"stream", streamCase},
	{"cancel", cancelCase},
	{"deadline", deadlineCase},
	{"tools", toolsCase},
	{"error_details", errorCase},
	{"retry_pushback", retryCase},
	{"health", healthCase},
	{"usage", usageCase},
	{"tls", tlsCase},
	{"api_key", keyCase},
	{"unknown", unknownCase},
	{"golden", goldenCase},
}

func unaryCase(ctx context.Context, client *trunkline.Client) (any, error) {
	answer, err := generate(ctx, client, hello)
	return value{
		"text":          trunkline.Text(answer),
		"finish_reason": answer.GetFinishReason().String(),
		"input_tokens":  answer.GetUsage().GetInputTokens(),
		"output_tokens": answer.GetUsage().GetOutputTokens(),
	}, err
}

func streamCase(ctx context.Context, client *trunkline.Client) (any, error) {
	text, err := stream(ctx, client, hello)
	if err != nil {
		return nil, err
	}
	completed := 0
	for event, err := range client.Stream(ctx, trunkline.Prompt(hello, "Say hello")) {
		if err != nil {
			return nil, err
		}
		if event.GetCompleted() != nil {
			completed++
		}
	}
	return value{"text": text, "completed": completed}, nil
}

func cancelCase(ctx context.Context, client *trunkline.Client) (any, error) {
	err := cancel(ctx, client, slow)
	if !errors.Is(err, context.Canceled) {
		return nil, errors.Join(errors.New("not context.Canceled"), err)
	}
	return value{"code": codeOf(err)}, nil
}

func deadlineCase(ctx context.Context, client *trunkline.Client) (any, error) {
	began := time.Now()
	ctx, stop := context.WithTimeout(ctx, 300*time.Millisecond)
	defer stop()
	var last error
	for _, err := range client.Stream(ctx, trunkline.Prompt(slow, "too slow")) {
		last = err
	}
	if time.Since(began) > time.Second {
		return nil, errors.New("took a second")
	}
	return value{"code": codeOf(last)}, nil
}

func toolsCase(ctx context.Context, client *trunkline.Client) (any, error) {
	call, text, err := tools(ctx, client, "scripted/tools")
	return value{"name": call.GetName(), "arguments": call.GetArgumentsJson(), "text": text}, err
}

func errorCase(ctx context.Context, client *trunkline.Client) (any, error) {
	wrong := &pb.GenerationConfig{Temperature: proto.Float64(9), TopP: proto.Float64(0)}
	invalid := fail(ctx, client, &pb.GenerateRequest{Model: hello, Prompt: "Say hello", Config: wrong})
	failed := fail(ctx, client, trunkline.Prompt("scripted/error", "Say hello"))
	if invalid == nil || failed == nil {
		return nil, errors.New("no error")
	}
	return []value{told(invalid), told(failed)}, nil
}

func told(failed *trunkline.Error) value {
	fields := []string{}
	for _, violation := range failed.FieldViolations {
		fields = append(fields, violation.GetField())
	}
	slices.Sort(fields)
	var delay any
	if failed.RetryDelay > 0 {
		delay = failed.RetryDelay.Seconds()
	}
	return value{"code": codeOf(failed), "reason": reasonOf(failed), "retry_delay": delay, "fields": fields}
}

func retryCase(ctx context.Context, client *trunkline.Client) (any, error) {
	began := time.Now()
	answer, err := generate(ctx, client, "scripted/busy")
	if err != nil {
		return nil, err
	}
	waited := time.Since(began) >= 600*time.Millisecond
	if _, err = generate(ctx, client, "scripted/stop"); err == nil {
		return nil, errors.New("scripted/stop did not fail")
	}
	attempts, err := usage(ctx, client, "scripted/busy")
	if err != nil {
		return nil, err
	}
	stopped, err := usage(ctx, client, "scripted/stop")
	return value{
		"text":          trunkline.Text(answer),
		"attempts":      attempts.GetRequests(),
		"waited":        waited,
		"stopped_after": stopped.GetRequests(),
	}, err
}

func healthCase(ctx context.Context, client *trunkline.Client) (any, error) {
	checked, told, err := healthy(ctx, client)
	return value{"status": checked.GetStatus().String(), "state": told.GetState().String()}, err
}

func usageCase(ctx context.Context, client *trunkline.Client) (any, error) {
	told, err := client.UsageStats(ctx, &pb.UsageStatsRequest{})
	return value{"calls": told.GetTotals().GetRequests() > 0}, err
}

func tlsCase(ctx context.Context, _ *trunkline.Client) (any, error) {
	ca, err := os.ReadFile(os.Getenv("TRUNKLINE_CA"))
	if err != nil {
		return nil, err
	}
	trusted := x509.NewCertPool()
	trusted.AppendCertsFromPEM(ca)
	secure := grpc.WithTransportCredentials(credentials.NewTLS(&tls.Config{RootCAs: trusted}))
	client, err := trunkline.New(os.Getenv("TRUNKLINE_TLS_ADDRESS"), secure, trunkline.APIKey(os.Getenv("TRUNKLINE_API_KEY")))
	if err != nil {
		return nil, err
	}
	defer client.Close()
	answer, err := generate(ctx, client, hello)
	return value{"text": trunkline.Text(answer)}, err
}

func keyCase(ctx context.Context, _ *trunkline.Client) (any, error) {
	client, err := trunkline.New(os.Getenv("TRUNKLINE_ADDRESS"))
	if err != nil {
		return nil, err
	}
	defer client.Close()
	failed := fail(ctx, client, trunkline.Prompt(hello, "Say hello"))
	if failed == nil {
		return nil, errors.New("no error")
	}
	return value{"code": codeOf(failed), "reason": reasonOf(failed)}, nil
}

func unknownCase(context.Context, *trunkline.Client) (any, error) {
	written, err := os.ReadFile(golden("unknown.bin"))
	if err != nil {
		return nil, err
	}
	response := &pb.GenerateResponse{}
	if err := proto.Unmarshal(written, response); err != nil {
		return nil, err
	}
	again, err := proto.MarshalOptions{Deterministic: true}.Marshal(response)
	return value{
		"id":            response.GetId(),
		"finish_reason": response.GetFinishReason(),
		"text":          response.GetMessage().GetParts()[0].GetText(),
		"same_bytes":    bytes.Equal(again, written),
	}, err
}

// codeOf is the name of the error's code as the contract writes it.
func codeOf(err error) string {
	failed := &trunkline.Error{Code: codes.OK}
	errors.As(err, &failed)
	return code.Code(failed.Code).String()
}

func reasonOf(failed *trunkline.Error) string {
	return strings.TrimPrefix(failed.Reason.String(), reasonMark)
}
