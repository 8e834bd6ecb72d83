package main

import (
	"context"

	trunkline "trunkline.example/clients/go"
)

// stream reads an answer as it is made.
func stream(ctx context.Context, client *trunkline.Client, model string) (string, error) {
	said := ""
	for text, err := range trunkline.Texts(client.Stream(ctx, trunkline.Prompt(model, "Say hello"))) {
		if err != nil {
			return "", err
		}
		said += text
	}
	return said, nil
}

// cancel ends a stream after its first piece: the work stops, at the provider too. It returns how the stream ended;
// who does not want to know leaves the loop.
func cancel(ctx context.Context, client *trunkline.Client, model string) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	for _, err := range trunkline.Texts(client.Stream(ctx, trunkline.Prompt(model, "cancel me"))) {
		if err != nil {
			return err
		}
		stop()
	}
	return nil
}
