package trunkline

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	pb "trunkline.example/clients/go/trunkline/v1"
)

const domain = "trunkline"

// Error is a call that failed.
type Error struct {
	// The gRPC status.
	Code codes.Code
	// Why. Unspecified if gRPC itself made the status, or the gateway is newer and has a reason of which nothing is known here.
	Reason pb.ErrorReason
	// What happened, for a person.
	Message string
	// How long to wait before another try makes sense. 0: the gateway does not say.
	RetryDelay time.Duration
	// The fields of the request that are wrong.
	FieldViolations []*errdetails.BadRequest_FieldViolation
	// The call's id in the gateway's log. Empty if it did not get there.
	CallID string
	// What happened at the providers, and what was used all the same. nil if none was asked.
	Failure *pb.CallFailure

	status *status.Status
}

// Error is the message, with the call's id.
func (e *Error) Error() string {
	if e.CallID == "" {
		return fmt.Sprintf("%s: %s", e.Code, e.Message)
	}
	return fmt.Sprintf("%s: %s (call %s)", e.Code, e.Message, e.CallID)
}

// Is says of a call that was cancelled or too late that it is context.Canceled or context.DeadlineExceeded.
func (e *Error) Is(target error) bool {
	return target == context.Canceled && e.Code == codes.Canceled ||
		target == context.DeadlineExceeded && e.Code == codes.DeadlineExceeded
}

// GRPCStatus is the status as it came, with all details.
func (e *Error) GRPCStatus() *status.Status {
	if e.status == nil {
		return status.New(e.Code, e.Message)
	}
	return e.status
}

// typed makes what gRPC returns an *Error. nil and io.EOF stay what they are.
func typed(err error) error {
	if err == nil || errors.Is(err, io.EOF) {
		return err
	}
	told := status.Convert(err)
	failed := &Error{Code: told.Code(), Message: told.Message(), status: told}
	for _, detail := range told.Details() {
		failed.add(detail)
	}
	return failed
}

func (e *Error) add(detail any) {
	switch detail := detail.(type) {
	case *errdetails.ErrorInfo:
		if detail.GetDomain() == domain {
			e.Reason = pb.ErrorReason(pb.ErrorReason_value["ERROR_REASON_"+detail.GetReason()])
			e.CallID = detail.GetMetadata()["call_id"]
		}
	case *errdetails.RetryInfo:
		e.RetryDelay = detail.GetRetryDelay().AsDuration()
	case *errdetails.BadRequest:
		e.FieldViolations = detail.GetFieldViolations()
	case *pb.CallFailure:
		e.Failure = detail
	}
}

func typedUnary(
	ctx context.Context, method string, request, reply any,
	connection *grpc.ClientConn, invoke grpc.UnaryInvoker, options ...grpc.CallOption,
) error {
	return typed(invoke(ctx, method, request, reply, connection, options...))
}

func typedStream(
	ctx context.Context, description *grpc.StreamDesc, connection *grpc.ClientConn,
	method string, open grpc.Streamer, options ...grpc.CallOption,
) (grpc.ClientStream, error) {
	stream, err := open(ctx, description, connection, method, options...)
	if err != nil {
		return nil, typed(err)
	}
	return &typedErrors{stream}, nil
}

// typedErrors is a stream that fails with *Error.
type typedErrors struct{ grpc.ClientStream }

func (stream *typedErrors) SendMsg(message any) error {
	return typed(stream.ClientStream.SendMsg(message))
}
func (stream *typedErrors) RecvMsg(message any) error {
	return typed(stream.ClientStream.RecvMsg(message))
}
