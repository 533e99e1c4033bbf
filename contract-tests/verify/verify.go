// Package verify replays a contract against running targets and judges each
// of its interactions from both sides.
//
// With a monolith and a service as targets, an answer that fails its contract
// on one side only tells where the fault is; see [Verdict]. What both sides
// answer is also compared with each other. Start at [Run].
//
// Requests that could change something are not sent unless Options.Unsafe says
// so, and what was not sent is listed: missing evidence is never a pass.
package verify

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"stranglerfig/contract-tests/compare"
	"stranglerfig/contract-tests/contract"
	"stranglerfig/contract-tests/match"
)

// Target is one running application.
type Target struct {
	Name    string            // in reports, such as monolith or service
	BaseURL string            // such as http://127.0.0.1:9000
	Header  map[string]string // added to every request, such as this target's Authorization
}

// Options say what to verify.
type Options struct {
	Contract contract.Contract
	// Targets are the sides. The first of several is the reference, usually
	// the monolith. A single target named monolith is a reference, too.
	Targets []Target
	// Unsafe sends interactions of all methods, not only GET, HEAD and OPTIONS.
	// Every target receives each of them.
	Unsafe bool
	// States has each target set up the interaction's provider states first,
	// by POST {base}/_states. Without it, interactions that need one are not
	// exercised.
	States bool
	// Strict compares the sides with each other without the contract's rules:
	// for targets that hold the same data.
	Strict      bool
	Concurrency int           // interactions at a time, 0 is 4; always 1 with Unsafe or States
	Timeout     time.Duration // of each request, 0 is 10 s
	Client      *http.Client  // nil is a client of its own; redirects are never followed
}

// Verdict is what an interaction tells.
type Verdict string

// The verdicts on an interaction.
const (
	Evidence      Verdict = "evidence"       // every side honours the contract, and they agree
	ServiceBug    Verdict = "service-bug"    // only the reference honours it
	ContractWrong Verdict = "contract-wrong" // only the service honours it: fix the contract, or sign the change off
	Stale         Verdict = "stale"          // no side honours it: record it anew, or set up its state
	Differs       Verdict = "differs"        // every side honours it, but they answer differently
	Unreachable   Verdict = "unreachable"    // a side gave no answer
	NotExercised  Verdict = "not-exercised"  // the request was not sent
)

// The verdicts on the whole run.
const (
	Pass         = "pass"
	Fail         = "fail"
	Insufficient = "insufficient" // something that is needed to tell is missing
)

// Report is what a run found.
type Report struct {
	Consumer     string        `json:"consumer"`
	Provider     string        `json:"provider"`
	Digest       string        `json:"digest"` // of the contract
	Targets      []string      `json:"targets"`
	Verdict      string        `json:"verdict"` // Pass, Fail or Insufficient
	Passed       int           `json:"passed"`
	Failed       int           `json:"failed"`
	Pending      int           `json:"pending"` // failed, but not held against the provider yet
	Unreachable  int           `json:"unreachable"`
	NotExercised int           `json:"not_exercised"`
	Interactions []Interaction `json:"interactions"` // in the contract's order
}

// Interaction is what a run found of one interaction.
type Interaction struct {
	Key         string               `json:"key"`
	Description string               `json:"description"`
	Route       string               `json:"route,omitempty"`
	Request     string               `json:"request"` // method and path
	Weight      int                  `json:"weight,omitempty"`
	Pending     bool                 `json:"pending,omitempty"`
	Verdict     Verdict              `json:"verdict"`
	Reason      string               `json:"reason,omitempty"` // of not-exercised
	Results     []Result             `json:"results,omitempty"`
	Parity      []compare.Difference `json:"parity,omitempty"` // between the sides; Expected is the reference's
}

// Result is one target's part in an interaction.
type Result struct {
	Target      string               `json:"target"`
	Status      int                  `json:"status,omitempty"`
	Error       string               `json:"error,omitempty"` // why there is no answer
	Differences []compare.Difference `json:"differences,omitempty"`

	answer compare.Message
}

// Honours reports whether the target answered as the contract says.
func (r Result) Honours() bool { return r.Error == "" && len(r.Differences) == 0 }

// Run replays the contract. Faults of the targets are in the report; an error
// means that the run could not be made, or was cancelled through ctx, in which
// case the report holds what was found until then.
func Run(ctx context.Context, o Options) (Report, error) {
	o, err := o.complete()
	if err != nil {
		return Report{}, err
	}
	if o.Client == nil {
		defer own(&o).CloseIdleConnections()
	} else {
		o.Client = asIs(*o.Client)
	}
	report := Report{Consumer: o.Contract.Consumer, Provider: o.Contract.Provider, Digest: o.Contract.Digest()}
	for _, t := range o.Targets {
		report.Targets = append(report.Targets, t.Name)
	}
	report.Interactions = make([]Interaction, len(o.Contract.Interactions))
	var group errgroup.Group
	group.SetLimit(o.Concurrency)
	for n, i := range o.Contract.Interactions {
		group.Go(func() error {
			report.Interactions[n] = o.interaction(ctx, i)
			return nil
		})
	}
	// The functions return no errors: what went wrong is in the report.
	_ = group.Wait()
	report.conclude()
	if err := ctx.Err(); err != nil {
		return report, fmt.Errorf("verify: %w", err)
	}
	return report, nil
}

// complete fills in defaults and refuses what cannot be run.
func (o Options) complete() (Options, error) {
	var problems []error
	if len(o.Targets) == 0 {
		problems = append(problems, errors.New("verify: no target given: name at least one, such as the monolith"))
	}
	names := map[string]bool{}
	for _, t := range o.Targets {
		if names[t.Name] || t.Name == "" {
			problems = append(problems, fmt.Errorf("verify: target %q: each target needs a name of its own", t.Name))
		}
		names[t.Name] = true
		if u, err := url.Parse(t.BaseURL); err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
			problems = append(problems, fmt.Errorf("verify: target %s: %q is no base URL (accepted: http://host:port or https://…)", t.Name, t.BaseURL))
		}
	}
	if err := o.Contract.Validate(); err != nil {
		problems = append(problems, fmt.Errorf("verify: %w", err))
	}
	if o.Timeout <= 0 {
		o.Timeout = 10 * time.Second
	}
	if o.Concurrency <= 0 {
		o.Concurrency = 4
	}
	if o.Unsafe || o.States {
		o.Concurrency = 1 // interactions share the targets' data
	}
	return o, errors.Join(problems...)
}

// interaction plays one interaction on all targets.
func (o Options) interaction(ctx context.Context, i contract.Interaction) Interaction {
	out := Interaction{Key: i.Key, Description: i.Description, Route: i.Route, Weight: i.Weight, Pending: i.Pending,
		Request: i.Request.Method + " " + i.Request.Path}
	if !o.Unsafe && !safe(i.Request.Method) {
		out.Verdict = NotExercised
		out.Reason = i.Request.Method + " may change data: allow unsafe requests to exercise it"
		return out
	}
	if !o.States && len(i.States) > 0 {
		out.Verdict = NotExercised
		out.Reason = "it needs provider states: allow setting them up to exercise it"
		return out
	}
	for look := 1; ; look++ {
		out.Results, out.Parity = nil, nil
		for _, t := range o.Targets {
			out.Results = append(out.Results, o.result(ctx, t, i))
		}
		o.judge(&out, i.Response.Rules)
		if out.Verdict != Differs || look == looks || !safe(i.Request.Method) || !pause(ctx) {
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

func (o Options) result(ctx context.Context, t Target, i contract.Interaction) Result {
	r := Result{Target: t.Name}
	if o.States {
		for _, s := range i.States {
			if err := o.setUp(ctx, t, s); err != nil {
				r.Error = err.Error()
				return r
			}
		}
	}
	answer, err := o.send(ctx, t, i.Request)
	if err != nil {
		r.Error = err.Error()
		return r
	}
	r.Status, r.answer = answer.Status, answer
	expected := compare.Message{Status: i.Response.Status, Header: i.Response.Header, Body: i.Response.Body}
	r.Differences = compare.Responses(expected, answer, i.Response.Rules, compare.Options{Mode: compare.Contract})
	return r
}

// judge reaches the interaction's verdict from its results.
func (o Options) judge(i *Interaction, rules match.Rules) {
	for _, r := range i.Results {
		if r.Error != "" {
			i.Verdict = Unreachable
			return
		}
	}
	reference, services := i.Results[:1], i.Results[1:]
	if len(services) == 0 && o.Targets[0].Name != "monolith" {
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
		o.parity(i, rules)
	}
}

// honoured reports whether all results do; no result is no objection.
func honoured(results []Result) bool {
	return !slices.ContainsFunc(results, func(r Result) bool { return !r.Honours() })
}

// parity compares each service's answer with the reference's. Fields that a
// rule covers may differ within it, unless the comparison is strict.
func (o Options) parity(i *Interaction, rules match.Rules) {
	if o.Strict {
		rules = match.Rules{}
	}
	for _, r := range i.Results[1:] {
		i.Parity = append(i.Parity, compare.Responses(i.Results[0].answer, r.answer, rules, compare.Options{Mode: compare.Exact})...)
	}
	if len(i.Parity) > 0 {
		i.Verdict = Differs
	}
}

// conclude counts and reaches the verdict on the run.
func (r *Report) conclude() {
	for _, i := range r.Interactions {
		switch {
		case i.Verdict == Evidence:
			r.Passed++
		case i.Verdict == NotExercised:
			r.NotExercised++
		case i.Pending:
			r.Pending++
		case i.Verdict == Unreachable:
			r.Unreachable++
		default:
			r.Failed++
		}
	}
	switch {
	case r.Failed > 0:
		r.Verdict = Fail
	case r.Unreachable > 0 || r.Passed == 0:
		r.Verdict = Insufficient
	default:
		r.Verdict = Pass
	}
}

// ExitCode is 0 for a pass, 1 for a failure and 2 for too little evidence.
func (r Report) ExitCode() int {
	switch r.Verdict {
	case Pass:
		return 0
	case Fail:
		return 1
	}
	return 2
}

// Verdicts counts the interactions by verdict.
func (r Report) Verdicts() map[Verdict]int {
	counts := map[Verdict]int{}
	for _, i := range r.Interactions {
		counts[i.Verdict]++
	}
	return counts
}

// Routes lists the routes that the contract knows, sorted; interactions
// without one are left out.
func (r Report) Routes() []string {
	routes := map[string]bool{}
	for _, i := range r.Interactions {
		if i.Route != "" {
			routes[i.Route] = true
		}
	}
	return slices.Sorted(maps.Keys(routes))
}
