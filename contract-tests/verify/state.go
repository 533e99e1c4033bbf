package verify

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	"maps"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"time"

	"stranglerfig/contract-tests/contract"
	"stranglerfig/contract-tests/generator"
)

// change is what a target is asked for around an interaction.
type change struct {
	State  string         `json:"state"`
	Params map[string]any `json:"params"`
	Action string         `json:"action"`
}

// setUp has the nth target establish the provider states, one after the other,
// and returns what generators may use: the states' parameters, overwritten by
// what the target answered.
func (r *runner) setUp(ctx context.Context, n int, states []contract.State) (map[string]any, error) {
	values := map[string]any{}
	for _, s := range states {
		answer, err := r.change(ctx, n, s, "setup")
		if err != nil {
			return nil, err
		}
		maps.Copy(values, s.Params)
		maps.Copy(values, answer)
	}
	return values, nil
}

// tearDown has the nth target undo the states, the last one first. It happens
// even where the run was cancelled meanwhile, because the next one would meet
// what was left.
func (r *runner) tearDown(ctx context.Context, n int, states []contract.State) error {
	var problems []error
	for _, s := range slices.Backward(states) {
		_, err := r.change(context.WithoutCancel(ctx), n, s, "teardown")
		problems = append(problems, err)
	}
	return errors.Join(problems...)
}

// change asks for one state's begin or end, and returns what the target
// answered as far as it is a JSON object.
func (r *runner) change(ctx context.Context, n int, s contract.State, action string) (map[string]any, error) {
	t := r.Targets[n]
	params := s.Params
	if params == nil {
		params = map[string]any{}
	}
	body, err := json.Marshal(change{State: s.Name, Params: params, Action: action})
	if err != nil {
		return nil, fmt.Errorf("%s of state %q: %w", action, s.Name, err)
	}
	address := t.States
	if address == "" {
		address = strings.TrimSuffix(t.BaseURL, "/") + "/_states"
	}
	_, answer, err := r.exchange(ctx, n, http.MethodPost, address, http.Header{"Content-Type": {"application/json"}}, body)
	if err != nil {
		return nil, fmt.Errorf("%s of state %q: %w", action, s.Name, err)
	}
	if answer.Status < 200 || answer.Status > 299 {
		return nil, fmt.Errorf("%s of state %q: POST %s answered %d: %s (start %s so that it serves provider states)",
			action, s.Name, address, answer.Status, excerpt(answer.Body), t.Name)
	}
	d := json.NewDecoder(bytes.NewReader(answer.Body))
	d.UseNumber()
	var values map[string]any
	if d.Decode(&values) != nil {
		return nil, nil // anything but an object gives no values
	}
	return values, nil
}

// generated is the interaction's request with what its generators make. What
// they draw depends on the seed and the interaction, so that every target gets
// the same, and a run can be repeated.
func (r *runner) generated(n int, i contract.Interaction, values map[string]any, now time.Time) (contract.Request, error) {
	q := i.Request
	if q.Generators.Empty() {
		return q, nil
	}
	h := fnv.New64a()
	h.Write([]byte(i.Key))
	m, err := q.Generators.Apply(
		generator.Message{Method: q.Method, Path: q.Path, Query: q.Query, Header: q.Header, Body: q.Body},
		generator.Context{Values: values, Now: now, Rand: rand.New(rand.NewPCG(r.Seed, h.Sum64())), Base: r.Targets[n].BaseURL})
	q.Method, q.Path, q.Query, q.Header, q.Body = m.Method, m.Path, m.Query, m.Header, m.Body
	return q, err
}
