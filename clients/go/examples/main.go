// The examples of clients/README.md, as the program of tests/matrix/CASES.md.
package main

import (
	"context"
	"encoding/json"
	"log"
	"os"
	"strconv"
	"time"

	trunkline "trunkline.example/clients/go"
)

func main() {
	client, err := trunkline.New(os.Getenv("TRUNKLINE_ADDRESS"), trunkline.APIKey(os.Getenv("TRUNKLINE_API_KEY")))
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()
	ctx := context.Background()
	if seconds, err := strconv.ParseFloat(os.Getenv("TRUNKLINE_SECONDS"), 64); err == nil {
		say(load(ctx, client, time.Duration(seconds*float64(time.Second))))
		return
	}
	for _, each := range cases {
		say(try(ctx, client, each))
	}
}

type row struct {
	Case  string `json:"case"`
	OK    bool   `json:"ok"`
	Value any    `json:"value"`
	Why   string `json:"why"`
	Calls int    `json:"calls"`
}

func try(ctx context.Context, client *trunkline.Client, each testCase) row {
	got, err := each.run(ctx, client)
	if err != nil {
		return row{Case: each.name, Why: err.Error()}
	}
	return row{Case: each.name, OK: true, Value: got}
}

func say(told row) {
	if err := json.NewEncoder(os.Stdout).Encode(told); err != nil {
		log.Fatal(err)
	}
}
