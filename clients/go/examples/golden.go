package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	trunkline "trunkline.example/clients/go"
)

func golden(name string) string { return filepath.Join(os.Getenv("TRUNKLINE_GOLDEN"), name) }

func goldenCase(context.Context, *trunkline.Client) (any, error) {
	listed, err := os.ReadFile(golden("types.json"))
	if err != nil {
		return nil, err
	}
	types := map[string]protoreflect.FullName{}
	if err := json.Unmarshal(listed, &types); err != nil {
		return nil, err
	}
	reread := map[string]json.RawMessage{}
	for name, kind := range types {
		if reread[name], err = readAgain(name, kind); err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
	}
	return reread, nil
}

// readAgain reads both forms of a message, writes each in the other and reads that. All have to be the same message.
func readAgain(name string, kind protoreflect.FullName) (json.RawMessage, error) {
	binary, err := os.ReadFile(golden(name + ".bin"))
	if err != nil {
		return nil, err
	}
	text, err := os.ReadFile(golden(name + ".json"))
	if err != nil {
		return nil, err
	}
	known, err := protoregistry.GlobalTypes.FindMessageByName(kind)
	if err != nil {
		return nil, err
	}
	read := [4]proto.Message{}
	for at := range read {
		read[at] = known.New().Interface()
	}
	if err := proto.Unmarshal(binary, read[0]); err != nil {
		return nil, err
	}
	if err := protojson.Unmarshal(text, read[1]); err != nil {
		return nil, err
	}
	if text, err = protojson.Marshal(read[0]); err != nil {
		return nil, err
	}
	if binary, err = proto.Marshal(read[1]); err != nil {
		return nil, err
	}
	if err := protojson.Unmarshal(text, read[2]); err != nil {
		return nil, err
	}
	if err := proto.Unmarshal(binary, read[3]); err != nil {
		return nil, err
	}
	for _, other := range read[1:] {
		if !proto.Equal(read[0], other) {
			return nil, fmt.Errorf("not the same message: %v and %v", read[0], other)
		}
	}
	return text, nil
}
