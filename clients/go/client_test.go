package trunkline_test

import (
	"context"
	"errors"
	"iter"
	"net"
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	trunkline "trunkline.example/clients/go"
	pb "trunkline.example/clients/go/trunkline/v1"
)

// fake streams events, then waits for the caller to go away if it hangs, then fails with err.
type fake struct {
	pb.UnimplementedGatewayServiceServer
	events []*pb.StreamGenerateResponse
	hangs  bool
	err    error
	gone   chan error
	asked  int
	key    string
}

func (f *fake) StreamGenerate(_ *pb.GenerateRequest, stream grpc.ServerStreamingServer[pb.StreamGenerateResponse]) error {
	for _, event := range f.events {
		if err := stream.Send(event); err != nil {
			return err
		}
	}
	if f.hangs {
		<-stream.Context().Done()
		f.gone <- stream.Context().Err()
	}
	return f.err
}

func (f *fake) Generate(ctx context.Context, _ *pb.GenerateRequest) (*pb.GenerateResponse, error) {
	f.asked++
	incoming, _ := metadata.FromIncomingContext(ctx)
	f.key = incoming.Get("authorization")[0]
	return &pb.GenerateResponse{}, f.err
}

func serve(t *testing.T, f *fake) *trunkline.Client {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer()
	pb.RegisterGatewayServiceServer(server, f)
	go server.Serve(listener)
	t.Cleanup(server.Stop)
	client, err := trunkline.New(listener.Addr().String(), trunkline.APIKey("tl_key"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close() })
	return client
}

func delta(text string) *pb.StreamGenerateResponse {
	return &pb.StreamGenerateResponse{Event: &pb.StreamGenerateResponse_PartDelta{
		PartDelta: &pb.PartDelta{Delta: &pb.PartDelta_Text{Text: text}},
	}}
}

var completed = &pb.StreamGenerateResponse{Event: &pb.StreamGenerateResponse_Completed{Completed: &pb.StreamCompleted{}}}

func read(texts iter.Seq2[string, error]) (string, error) {
	said := ""
	for text, err := range texts {
		if err != nil {
			return said, err
		}
		said += text
	}
	return said, nil
}

func TestAStreamIsReadToItsEnd(t *testing.T) {
	client := serve(t, &fake{events: []*pb.StreamGenerateResponse{delta("a"), {}, delta("b"), completed}})
	said, err := read(trunkline.Texts(client.Stream(t.Context(), trunkline.Prompt("m", "hi"))))
	if said != "ab" || err != nil {
		t.Errorf("%q, %v", said, err)
	}
}

func TestAStreamWithoutCompletedIsInterrupted(t *testing.T) {
	client := serve(t, &fake{events: []*pb.StreamGenerateResponse{delta("a")}})
	said, err := read(trunkline.Texts(client.Stream(t.Context(), trunkline.Prompt("m", "hi"))))
	var failed *trunkline.Error
	if !errors.As(err, &failed) || failed.Reason != pb.ErrorReason_ERROR_REASON_STREAM_INTERRUPTED || said != "a" {
		t.Errorf("%q, %v", said, err)
	}
}

func TestLeavingTheLoopEndsTheCall(t *testing.T) {
	f := &fake{events: []*pb.StreamGenerateResponse{delta("a")}, hangs: true, gone: make(chan error, 1)}
	for range serve(t, f).Stream(t.Context(), trunkline.Prompt("m", "hi")) {
		break
	}
	select {
	case <-f.gone:
	case <-time.After(5 * time.Second):
		t.Error("the call still runs")
	}
}

func TestContextErrorsAreWhatTheyAre(t *testing.T) {
	f := &fake{events: []*pb.StreamGenerateResponse{delta("a")}, hangs: true, gone: make(chan error, 2)}
	client := serve(t, f)
	ctx, cancel := context.WithCancel(t.Context())
	for _, err := range client.Stream(ctx, trunkline.Prompt("m", "hi")) {
		if cancel(); err != nil && !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	}
	ctx, cancel = context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if _, err := read(trunkline.Texts(client.Stream(ctx, trunkline.Prompt("m", "hi")))); !errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}
}

func TestErrorsHaveTheirDetails(t *testing.T) {
	told, err := status.New(codes.InvalidArgument, "no").WithDetails(
		&errdetails.ErrorInfo{Reason: "INVALID_REQUEST", Domain: "trunkline", Metadata: map[string]string{"call_id": "c1"}},
		&errdetails.RetryInfo{RetryDelay: durationpb.New(1500 * time.Millisecond)},
		&errdetails.BadRequest{FieldViolations: []*errdetails.BadRequest_FieldViolation{{Field: "model"}}},
		&pb.CallFailure{Id: "c1"},
	)
	if err != nil {
		t.Fatal(err)
	}
	client := serve(t, &fake{err: told.Err()})
	_, unary := client.Generate(t.Context(), trunkline.Prompt("m", "hi"))
	_, streamed := read(trunkline.Texts(client.Stream(t.Context(), trunkline.Prompt("m", "hi"))))
	for _, err := range []error{unary, streamed} {
		var failed *trunkline.Error
		if !errors.As(err, &failed) {
			t.Fatal(err)
		}
		if failed.Code != codes.InvalidArgument || failed.Reason != pb.ErrorReason_ERROR_REASON_INVALID_REQUEST ||
			failed.RetryDelay != 1500*time.Millisecond || failed.FieldViolations[0].GetField() != "model" ||
			failed.CallID != "c1" || failed.Failure.GetId() != "c1" || status.Code(err) != codes.InvalidArgument {
			t.Errorf("%+v", failed)
		}
	}
}

func TestAReasonOfSomebodyElseIsNone(t *testing.T) {
	told, _ := status.New(codes.Unavailable, "no").WithDetails(&errdetails.ErrorInfo{Reason: "OVERLOADED", Domain: "example.com"})
	f := &fake{events: []*pb.StreamGenerateResponse{delta("a")}, err: told.Err()}
	_, err := read(trunkline.Texts(serve(t, f).Stream(t.Context(), trunkline.Prompt("m", "hi"))))
	var failed *trunkline.Error
	if !errors.As(err, &failed) || failed.Reason != pb.ErrorReason_ERROR_REASON_UNSPECIFIED {
		t.Error(err)
	}
}

func TestWhatIsUnavailableIsAskedAgainWithTheKey(t *testing.T) {
	f := &fake{err: status.Error(codes.Unavailable, "no")}
	_, err := serve(t, f).Generate(t.Context(), trunkline.Prompt("m", "hi"))
	if f.asked != 4 || f.key != "Bearer tl_key" || status.Code(err) != codes.Unavailable {
		t.Errorf("asked %d times with %q: %v", f.asked, f.key, err)
	}
}
