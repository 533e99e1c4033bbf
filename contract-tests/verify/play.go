package verify

import (
	"context"
	"errors"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"stranglerfig/contract-tests/compare"
	"stranglerfig/contract-tests/contract"
	"stranglerfig/contract-tests/match"
)

// identifiers are what a chain learns of the identifiers that each target has
// for the reference's. Interactions that no chain ties together may be about
// other data, and share none.
func (r *runner) identifiers() []*compare.Bijection {
	ids := make([]*compare.Bijection, len(r.Targets))
	for n := range ids {
		ids[n] = compare.NewBijection(0)
	}
	return ids
}

// interaction plays one interaction on all targets.
func (r *runner) interaction(ctx context.Context, i contract.Interaction, ids []*compare.Bijection) Interaction {
	out := Interaction{Key: i.Key, Description: i.Description, Route: i.Route, Weight: i.Weight, Pending: i.Pending,
		Request: i.Request.Method + " " + i.Request.Path}
	if !r.Unsafe && !safe(i.Request.Method) {
		out.Verdict = NotExercised
		out.Reason = i.Request.Method + " may change data: allow unsafe requests to exercise it"
		return out
	}
	if !r.States && len(i.States) > 0 {
		out.Verdict = NotExercised
		out.Reason = "it needs provider states: allow setting them up to exercise it"
		return out
	}
	if missing := r.uncaptured(i); missing != "" {
		out.Verdict = NotExercised
		out.Reason = missing
		return out
	}
	now := r.Now()
	for look := 1; ; look++ {
		out.Results, out.Parity = nil, nil
		for n := range r.Targets {
			out.Results = append(out.Results, r.result(ctx, n, i, now))
		}
		r.judge(&out, i, ids)
		r.effects(ctx, &out)
		if out.Verdict != Differs || look == looks || !safe(i.Request.Method) || !pause(ctx) {
			out.exhibit(i.Response)
			return out
		}
	}
}

// Sides that serve clients meanwhile may differ for a moment: a change between
// the two questions, or one that has not been followed yet. A read that makes
// them differ is asked again before it counts.
const (
	looks      = 6
	betweenTwo = 100 * time.Millisecond
)

func pause(ctx context.Context) bool {
	timer := time.NewTimer(betweenTwo)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

func safe(method string) bool {
	return method == http.MethodGet || method == http.MethodHead || method == http.MethodOptions
}

// Writes reports whether an interaction may write.
func Writes(i Interaction) bool {
	method, _, _ := strings.Cut(i.Request, " ")
	return !safe(method)
}

// result plays an interaction on the nth target: its states, the request, and
// if wanted the states' end, which comes whatever happened before.
func (r *runner) result(ctx context.Context, n int, i contract.Interaction, now time.Time) Result {
	out := Result{Target: r.Targets[n].Name}
	values, err := r.setUp(ctx, n, i.States)
	if err == nil && r.Effects != nil {
		err = r.Effects.Mark(ctx, out.Target) // what states have written is not the request's doing
	}
	if err == nil {
		err = r.ask(ctx, n, i, values, now, &out)
	}
	if r.Teardown {
		err = errors.Join(err, r.tearDown(ctx, n, i.States))
	}
	if err != nil {
		out.Error = err.Error()
	}
	return out
}

// ask sends an interaction's request and holds the answer against the example.
func (r *runner) ask(ctx context.Context, n int, i contract.Interaction, values map[string]any, now time.Time, out *Result) error {
	request, err := r.generated(n, i, values, now)
	if err == nil {
		request, err = r.chained(n, i, request)
	}
	if err != nil {
		return err
	}
	if !i.Request.Generators.Empty() || len(i.Chain.Uses) > 0 {
		out.Sent = request.Method + " " + target(request)
	}
	sent, answer, err := r.send(ctx, n, request)
	if err != nil {
		return err
	}
	out.Status, out.answer = answer.Status, answer
	said := r.capture(n, i, answer)
	expected := r.expected(n, i)
	out.Differences = append(compare.Responses(expected, answer, i.Response.Rules, compare.Options{Mode: compare.Contract}), said...)
	if r.Description != nil {
		out.Differences = append(out.Differences, r.Description.Check(sent, request.Body, answer)...)
	}
	return nil
}

// effects compares what the targets wrote while they were asked. What a target
// that gave no answer wrote is not known to be all of it.
func (r *runner) effects(ctx context.Context, out *Interaction) {
	if r.Effects == nil || out.Verdict == Unreachable {
		return
	}
	found, err := r.Effects.Differences(ctx)
	if err != nil {
		out.Verdict, out.Reason = Unreachable, err.Error()
		return
	}
	if out.Effects = found; len(found) > 0 && out.Verdict == Evidence {
		out.Verdict = Differs
	}
}

// judge reaches the interaction's verdict from its results.
func (r *runner) judge(i *Interaction, from contract.Interaction, ids []*compare.Bijection) {
	for _, one := range i.Results {
		if one.Error != "" {
			i.Verdict = Unreachable
			return
		}
	}
	if r.unauthorized(i.Results, from.Response.Status) {
		i.Verdict = Unauthorized
		return
	}
	reference, services := i.Results[:1], i.Results[1:]
	if len(services) == 0 && r.Targets[0].Name != "monolith" {
		reference, services = nil, i.Results
	}
	switch known, held := honoured(reference), honoured(services); {
	case !known && !held:
		i.Verdict = Stale
	case !held:
		i.Verdict = ServiceBug
	case !known:
		i.Verdict = ContractWrong
	default:
		i.Verdict = Evidence
		r.parity(i, from, ids)
	}
}

// unauthorized reports whether results tell of the run's credentials and not of
// the sides: where no side let the request in, or one answered 401 that was not
// sent the headers which another one accepted. A side that turns away what the
// other one lets in with the same headers is at fault.
func (r *runner) unauthorized(results []Result, expected int) bool {
	away, all401 := 0, true
	for _, one := range results {
		if !one.Honours() && one.Status != expected && turnsAway(one.Status) {
			away++
			all401 = all401 && one.Status == http.StatusUnauthorized
		}
	}
	return away > 0 && (away == len(results) || all401 && !r.alike())
}

func turnsAway(status int) bool {
	return status == http.StatusUnauthorized || status == http.StatusForbidden
}

// alike reports whether all targets are sent the same headers.
func (r *runner) alike() bool {
	first := r.Targets[0].Header
	return !slices.ContainsFunc(r.Targets, func(t Target) bool { return !maps.Equal(t.Header, first) })
}

// honoured reports whether all results do; no result is no objection.
func honoured(results []Result) bool {
	return !slices.ContainsFunc(results, func(r Result) bool { return !r.Honours() })
}

// parity compares each service's answer with the reference's. Fields that a
// rule covers may differ within it, unless the comparison is strict; what a rule
// calls an identifier must stand for the same one throughout the chain.
func (r *runner) parity(i *Interaction, from contract.Interaction, ids []*compare.Bijection) {
	rules := from.Response.Rules
	if r.Strict {
		rules = match.Rules{}
	}
	for n := 1; n < len(i.Results); n++ {
		other := r.aligned(n, from, i.Results[n].answer)
		i.Parity = append(i.Parity, compare.Responses(i.Results[0].answer, other, rules, compare.Options{Mode: compare.Exact, IDs: ids[n]})...)
	}
	if len(i.Parity) > 0 {
		i.Verdict = Differs
	}
}
