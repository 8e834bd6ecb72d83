package main

import (
	"context"

	"google.golang.org/protobuf/proto"

	trunkline "trunkline.example/clients/go"
	pb "trunkline.example/clients/go/trunkline/v1"
)

var weather = &pb.Tool{Kind: &pb.Tool_Function{Function: &pb.FunctionTool{
	Name: "get_weather", ParametersJsonSchema: `{"type": "object"}`,
}}}

// tools lets the model ask for a tool, and tells it what the tool returned.
func tools(ctx context.Context, client *trunkline.Client, model string) (*pb.ToolCall, string, error) {
	request := &pb.GenerateRequest{Model: model, Tools: []*pb.Tool{weather}, Messages: []*pb.Message{
		{Role: pb.Role_ROLE_USER, Parts: []*pb.Part{textPart("What is the weather in Paris?")}},
	}}
	asked, err := client.Generate(ctx, request)
	if err != nil {
		return nil, "", err
	}
	var call *pb.ToolCall
	var results []*pb.Part
	for _, part := range asked.GetMessage().GetParts() {
		if part.GetToolCall() != nil {
			call = part.GetToolCall()
			results = append(results, &pb.Part{Data: &pb.Part_ToolResult{ToolResult: &pb.ToolResult{
				ToolCallId: call.GetId(), Parts: []*pb.Part{textPart("sunny")},
			}}})
		}
	}
	request = proto.CloneOf(request)
	request.Messages = append(request.Messages, asked.GetMessage(), &pb.Message{Role: pb.Role_ROLE_TOOL, Parts: results})
	answer, err := client.Generate(ctx, request)
	return call, trunkline.Text(answer), err
}

func textPart(text string) *pb.Part { return &pb.Part{Data: &pb.Part_Text{Text: text}} }
