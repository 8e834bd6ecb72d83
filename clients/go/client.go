// Package trunkline calls a Trunkline gateway. The contract's messages stay in sight: a Client has the methods of the
// generated stubs in trunkline/v1. This package adds how a connection is set up, streams as iterators, and errors with
// their details.
package trunkline

import (
	"context"
	"errors"
	"io"
	"iter"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/keepalive"

	pb "trunkline.example/clients/go/trunkline/v1"
)

// Version of this package.
const Version = "0.1.0"

// Bytes; the gateway takes and sends as much.
const maxMessage = 32 << 20

// gRPC asks again, up to four times in all, while the gateway cannot be reached or says that it cannot answer just now
// and nothing of an answer has come. How long it waits, and whether it may, the gateway says (grpc-retry-pushback-ms):
// what may have been done and paid is not asked for again.
const serviceConfig = `{"methodConfig": [{
	"name": [
		{"service": "trunkline.v1.GatewayService"},
		{"service": "trunkline.v1.ModelService"},
		{"service": "trunkline.v1.FeedbackService"}
	],
	"retryPolicy": {
		"maxAttempts": 4,
		"initialBackoff": "0.2s",
		"maxBackoff": "5s",
		"backoffMultiplier": 2,
		"retryableStatusCodes": ["UNAVAILABLE"]
	}
}]}`

// Client is a gateway. It has the methods of the contract's services and may be shared by goroutines. Every error of a
// call is an *Error.
type Client struct {
	pb.GatewayServiceClient
	pb.ModelServiceClient
	pb.FeedbackServiceClient
	connection *grpc.ClientConn
}

// New returns the gateway at target, host:port; it connects with the first call. Without
// grpc.WithTransportCredentials the connection is in the clear. Options come after this package's own.
func New(target string, options ...grpc.DialOption) (*Client, error) {
	connection, err := grpc.NewClient(target, append(defaults(), options...)...)
	if err != nil {
		return nil, err
	}
	return &Client{
		GatewayServiceClient:  pb.NewGatewayServiceClient(connection),
		ModelServiceClient:    pb.NewModelServiceClient(connection),
		FeedbackServiceClient: pb.NewFeedbackServiceClient(connection),
		connection:            connection,
	}, nil
}

func defaults() []grpc.DialOption {
	return []grpc.DialOption{
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithUserAgent("trunkline-go/" + Version),
		grpc.WithDefaultServiceConfig(serviceConfig),
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: 30 * time.Second, Timeout: 10 * time.Second}),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxMessage), grpc.MaxCallSendMsgSize(maxMessage)),
		grpc.WithChainUnaryInterceptor(typedUnary),
		grpc.WithChainStreamInterceptor(typedStream),
	}
}

// APIKey sends a gateway key with every call.
func APIKey(key string) grpc.DialOption {
	return grpc.WithPerRPCCredentials(apiKey(key))
}

type apiKey string

func (key apiKey) GetRequestMetadata(context.Context, ...string) (map[string]string, error) {
	return map[string]string{"authorization": "Bearer " + string(key)}, nil
}

// A gateway on this machine may be called in the clear; one that is elsewhere takes no key without TLS.
func (apiKey) RequireTransportSecurity() bool { return false }

// Connection is what other services of the gateway are called on, such as grpc.health.v1.
func (client *Client) Connection() *grpc.ClientConn { return client.connection }

// Close ends what still runs.
func (client *Client) Close() error { return client.connection.Close() }

// Stream is an answer as it is made: its events, completed last. The call begins with the reading, and is cancelled as
// soon as the reading ends early or ctx is done. An error comes last; one that breaks off without completed is an error,
// too: what came is not the whole answer.
func (client *Client) Stream(
	ctx context.Context, request *pb.GenerateRequest, options ...grpc.CallOption,
) iter.Seq2[*pb.StreamGenerateResponse, error] {
	return func(yield func(*pb.StreamGenerateResponse, error) bool) {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		stream, err := client.StreamGenerate(ctx, request, options...)
		if err != nil {
			yield(nil, err)
			return
		}
		completed := false
		for {
			event, err := stream.Recv()
			if errors.Is(err, io.EOF) && completed {
				return
			} else if errors.Is(err, io.EOF) {
				err = &Error{
					Code: codes.Aborted, Reason: pb.ErrorReason_ERROR_REASON_STREAM_INTERRUPTED,
					Message: "the stream ended before the answer was whole",
				}
			}
			completed = completed || event.GetCompleted() != nil
			if !yield(event, err) || err != nil {
				return
			}
		}
	}
}

// Prompt is a request of one user message.
func Prompt(model, text string) *pb.GenerateRequest {
	return &pb.GenerateRequest{Model: model, Prompt: text}
}

// Text is all text of an answer.
func Text(response *pb.GenerateResponse) string {
	text := ""
	for _, part := range response.GetMessage().GetParts() {
		text += part.GetText()
	}
	return text
}

// Texts is the text of a stream, piece by piece.
func Texts(events iter.Seq2[*pb.StreamGenerateResponse, error]) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		for event, err := range events {
			text := event.GetPartStarted().GetPart().GetText() + event.GetPartDelta().GetText()
			if (text != "" || err != nil) && !yield(text, err) {
				return
			}
		}
	}
}
