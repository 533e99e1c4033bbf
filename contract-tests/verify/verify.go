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
	"maps"
	"net/http"
	"slices"
	"time"

	"stranglerfig/contract-tests/compare"
	"stranglerfig/contract-tests/contract"
)

// Target is one running application.
type Target struct {
	Name    string            // in reports, such as monolith or service
	BaseURL string            // such as http://127.0.0.1:9000
	Header  map[string]string // added to every request, such as this target's Authorization
	States  string            // where provider states are set up; "" is {BaseURL}/_states
	Rate    float64           // requests a second at most, those for states among them; 0 is no limit
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
	// by a POST of {"state","params","action":"setup"}. What it answers, if that
	// is a JSON object, overwrites the parameters for the request's generators.
	// Without it, interactions that need a state are not exercised.
	States bool
	// Teardown has each target undo the states afterwards, the last one first.
	Teardown bool
	// Strict compares the sides with each other without the contract's rules:
	// for targets that hold the same data.
	Strict bool
	// Description, if there is one, holds every answer to more than the contract
	// does. What it finds counts like a difference from the example.
	Description Description
	// Effects, if there are any to be had, compare what the sides write into
	// their databases: for an isolated pair, with Unsafe.
	Effects     Effects
	Concurrency int              // interactions at a time, 0 is 4; with Unsafe or States it is 1
	Timeout     time.Duration    // of each request, 0 is 10 s
	Client      *http.Client     // nil is a client of its own; redirects are never followed
	Seed        uint64           // of what generators draw, the same on every target
	Now         func() time.Time // for generators; nil is time.Now
}

// Effects tell what the sides of an isolated pair write into their databases.
type Effects interface {
	// Mark begins to look at what a target writes from now on.
	Mark(ctx context.Context, target string) error
	// Differences compares what the targets have written since their marks.
	Differences(ctx context.Context) ([]compare.Difference, error)
}

// Description tells what is wrong with an exchange, such as an OpenAPI
// description of it. The request's body has been read and is given apart.
type Description interface {
	Check(request *http.Request, body []byte, answer compare.Message) []compare.Difference
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
	Unauthorized  Verdict = "unauthorized"   // the request was let in nowhere, or without credentials that the other side got
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
	Unauthorized int           `json:"unauthorized"`
	NotExercised int           `json:"not_exercised"`
	Seed         uint64        `json:"seed,omitempty"` // of what generators drew, if there were any
	Interactions []Interaction `json:"interactions"`   // in the contract's order
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
	Example     *Exhibit             `json:"example,omitempty"` // the expected answer, if the verdict is not evidence
	Parity      []compare.Difference `json:"parity,omitempty"`  // between the sides; Expected is the reference's
	Effects     []compare.Difference `json:"effects,omitempty"` // between what they wrote into their databases
}

// Result is one target's part in an interaction.
type Result struct {
	Target      string               `json:"target"`
	Sent        string               `json:"sent,omitempty"` // method, path and query, where generators made them
	Status      int                  `json:"status,omitempty"`
	Error       string               `json:"error,omitempty"` // why there is no answer
	Differences []compare.Difference `json:"differences,omitempty"`
	Answer      *Exhibit             `json:"answer,omitempty"` // if the interaction's verdict is not evidence

	answer compare.Message
}

// Honours reports whether the target answered as the contract says.
func (r Result) Honours() bool { return r.Error == "" && len(r.Differences) == 0 }

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
		case i.Verdict == Unauthorized:
			r.Unauthorized++
		default:
			r.Failed++
		}
	}
	switch {
	case r.Failed > 0:
		r.Verdict = Fail
	case r.Unreachable+r.Unauthorized > 0 || r.Passed == 0:
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
