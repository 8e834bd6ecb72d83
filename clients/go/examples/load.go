package main

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"time"

	trunkline "trunkline.example/clients/go"
)

const workers = 4

// kinds is what a worker repeats, and what it makes of it.
var kinds = map[string]func(context.Context, *trunkline.Client) (string, error){
	"unary": func(ctx context.Context, client *trunkline.Client) (string, error) {
		answer, err := generate(ctx, client, hello)
		return trunkline.Text(answer), err
	},
	"stream": func(ctx context.Context, client *trunkline.Client) (string, error) {
		return stream(ctx, client, hello)
	},
	"tools": func(ctx context.Context, client *trunkline.Client) (string, error) {
		_, text, err := tools(ctx, client, "scripted/tools")
		return text, err
	},
	"cancel": func(ctx context.Context, client *trunkline.Client) (string, error) {
		return codeOf(cancel(ctx, client, slow)), nil
	},
}

// heard is what came of a load.
type heard struct {
	lock    sync.Mutex
	answers map[string]map[string]bool
	calls   int
	failed  error
}

func (h *heard) add(kind, answer string, err error) {
	h.lock.Lock()
	defer h.lock.Unlock()
	h.calls++
	h.failed = errors.Join(h.failed, err)
	if h.answers[kind] == nil {
		h.answers[kind] = map[string]bool{}
	}
	h.answers[kind][answer] = true
}

// load lets workers call for so long, on one client.
func load(ctx context.Context, client *trunkline.Client, span time.Duration) row {
	all := &heard{answers: map[string]map[string]bool{}}
	until := time.Now().Add(span)
	var group sync.WaitGroup
	for range workers {
		group.Go(func() {
			for time.Now().Before(until) {
				for kind, call := range kinds {
					answer, err := call(ctx, client)
					all.add(kind, answer, err)
				}
			}
		})
	}
	group.Wait()
	if all.failed != nil {
		return row{Case: "load", Why: all.failed.Error(), Calls: all.calls}
	}
	answers := map[string][]string{}
	for kind, told := range all.answers {
		answers[kind] = slices.Sorted(maps.Keys(told))
	}
	return row{Case: "load", OK: true, Value: answers, Calls: all.calls}
}
