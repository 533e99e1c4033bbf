package verify

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/time/rate"

	"stranglerfig/contract-tests/contract"
)

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
	for _, i := range o.Contract.Interactions {
		if !i.Request.Generators.Empty() {
			report.Seed = o.Seed
		}
	}
	r := newRunner(o)
	var group errgroup.Group
	group.SetLimit(o.Concurrency)
	chains, err := o.Contract.Chains()
	if err != nil {
		return report, fmt.Errorf("verify: %w", err)
	}
	for _, chain := range readsFirst(o.Contract, chains) {
		group.Go(func() error {
			ids := r.identifiers()
			for _, n := range chain {
				report.Interactions[n] = r.interaction(ctx, o.Contract.Interactions[n], ids)
			}
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

// readsFirst puts the reads that no chain ties before everything else. They are
// about data that is the same on both sides; what a run writes is not, because
// each side dates and numbers it by itself, and a list would show that.
func readsFirst(c contract.Contract, chains [][]int) [][]int {
	var reads, rest [][]int
	for _, chain := range chains {
		if len(chain) == 1 && safe(c.Interactions[chain[0]].Request.Method) {
			reads = append(reads, chain)
		} else {
			rest = append(rest, chain)
		}
	}
	return append(reads, rest...)
}

// Writing is the part of a contract that may write: interactions that are not
// reads, and what chains tie to them, in the file's order. The error says what is
// wrong with its chains.
func Writing(c contract.Contract) (contract.Contract, error) {
	chains, err := c.Chains()
	if err != nil {
		return c, fmt.Errorf("verify: %w", err)
	}
	kept := map[int]bool{}
	for _, chain := range chains {
		writes := slices.ContainsFunc(chain, func(n int) bool { return !safe(c.Interactions[n].Request.Method) })
		for _, n := range chain {
			kept[n] = writes
		}
	}
	part := c
	part.Interactions = nil
	for n, i := range c.Interactions {
		if kept[n] {
			part.Interactions = append(part.Interactions, i)
		}
	}
	return part, nil
}

// runner is a run under way.
type runner struct {
	Options
	limits []*rate.Limiter // by target

	mu       sync.Mutex
	captured []map[string]string // by target, then by name
}

func newRunner(o Options) *runner {
	r := &runner{Options: o}
	for _, t := range o.Targets {
		limit := rate.Inf
		if t.Rate > 0 {
			limit = rate.Limit(t.Rate)
		}
		r.limits = append(r.limits, rate.NewLimiter(limit, 1))
		r.captured = append(r.captured, map[string]string{})
	}
	return r
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
		problems = append(problems, t.check())
	}
	if err := o.Contract.Validate(); err != nil {
		problems = append(problems, fmt.Errorf("verify: %w", err))
	}
	if o.Timeout <= 0 {
		o.Timeout = 10 * time.Second
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	alone := o.Unsafe || o.States // interactions share the targets' data
	switch {
	case alone && o.Concurrency > 1:
		problems = append(problems, fmt.Errorf("verify: %d interactions at a time, where they may change each other's data: with unsafe requests or provider states it is one", o.Concurrency))
	case o.Concurrency <= 0 && alone:
		o.Concurrency = 1
	case o.Concurrency <= 0:
		o.Concurrency = 4
	}
	return o, errors.Join(problems...)
}

func (t Target) check() error {
	var problems []error
	address := func(what, text string) {
		if u, err := url.Parse(text); err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
			problems = append(problems, fmt.Errorf("verify: target %s: %q is no %s (accepted: http://host:port or https://…)", t.Name, text, what))
		}
	}
	address("base URL", t.BaseURL)
	if t.States != "" {
		address("address for provider states", t.States)
	}
	if t.Rate < 0 {
		problems = append(problems, fmt.Errorf("verify: target %s: a rate of %v requests a second (accepted: 0 for no limit, or more)", t.Name, t.Rate))
	}
	return errors.Join(problems...)
}
