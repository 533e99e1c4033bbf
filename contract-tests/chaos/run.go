package chaos

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"stranglerfig/contract-tests/history"
)

// Injector breaks and heals links; [Links] does it in this process, the
// control API in another one.
type Injector interface {
	// Inject breaks the link; Heal makes it whole again and may be repeated.
	Inject(ctx context.Context, f Fault) error
	Heal(ctx context.Context, link string) error
}

// Counter counts an experiment's writes by key in one database.
type Counter func(ctx context.Context) (map[string]int, error)

// Options are what a run needs beside the experiment.
type Options struct {
	BaseURL  string // of the proxy
	Injector Injector
	Run      string // prefix of every key of this run; unique
	// Expand replaces ${NAME} in paths, headers and bodies; nil leaves them.
	Expand func(string) string
	// Counters count the writes in the end, by side: "monolith", "service".
	Counters map[string]Counter
	Tell     func(line string) // progress; nil is silent
	Now      func() time.Time  // default time.Now
}

// Verdict of a run.
type Verdict string

// The verdicts. Insufficient means that the run proves nothing: the system
// was not steady to begin with, or nothing met the fault.
const (
	Pass         Verdict = "pass"
	Fail         Verdict = "fail"
	Insufficient Verdict = "insufficient"
)

// Report is what a run found.
type Report struct {
	Title    string         `json:"title"`
	Verdict  Verdict        `json:"verdict"`
	Why      []string       `json:"why,omitempty"`
	Steps    []StepReport   `json:"steps"`
	Writes   history.Result `json:"writes"` // against every database together
	Statuses map[string]int `json:"statuses"`
	MS       int64          `json:"ms"`
}

// StepReport is what clients saw while one fault was there.
type StepReport struct {
	Name     string `json:"name"`
	Link     string `json:"link"`
	Kind     string `json:"kind"`
	Reads    int    `json:"reads"`
	Writes   int    `json:"writes"`
	Affected int    `json:"affected"` // tries that failed, were retried, fell back or took as long as the delay
}

// settleWait bounds how long the two databases may take to agree on the
// experiment's writes once the fault is gone.
const settleWait = 15 * time.Second

// Run performs an experiment. It always heals what it broke, even when ctx
// ends first. The error is for a run that could not be performed at all.
func Run(ctx context.Context, e Experiment, o Options) (Report, error) {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Tell == nil {
		o.Tell = func(string) {}
	}
	if o.Expand == nil {
		o.Expand = func(s string) string { return s }
	}
	r := &run{e: e, o: o, log: history.New(o.Now), client: newClient(), statuses: map[string]int{}}
	defer r.client.CloseIdleConnections()
	started := o.Now()
	err := r.perform(ctx)
	r.report.Title, r.report.Statuses = e.Title, r.statuses
	r.report.MS = o.Now().Sub(started).Milliseconds()
	return r.report, err
}

func newClient() *http.Client {
	return &http.Client{
		Transport:     &http.Transport{MaxIdleConnsPerHost: 64},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// run is one run under way.
type run struct {
	e      Experiment
	o      Options
	log    *history.Log
	client *http.Client
	load   *load

	statuses map[string]int
	report   Report
}

func (r *run) perform(ctx context.Context) error {
	r.o.Tell("steady state: " + r.e.Steady.Title)
	if why := r.probe(ctx); why != "" {
		r.conclude(Insufficient, "the system was not steady before the fault: "+why)
		return nil
	}
	fixtures, err := r.fixtures(ctx)
	if err != nil {
		r.conclude(Insufficient, err.Error())
		return nil
	}
	r.load = newLoad(r, fixtures)
	stop := r.load.start(ctx)
	for _, step := range r.e.Method {
		if err := r.step(ctx, step); err != nil {
			stop()
			return err
		}
	}
	stop()
	r.load.sum(r.statuses)
	if why := r.steadyAgain(ctx); why != "" {
		r.conclude(Fail, "the system did not become steady again: "+why)
	}
	if err := r.checkHistory(ctx); err != nil {
		return err
	}
	r.judge()
	return nil
}

// conclude worsens the verdict; a fail outweighs an insufficient.
func (r *run) conclude(v Verdict, why string) {
	if r.report.Verdict != Fail {
		r.report.Verdict = v
	}
	r.report.Why = append(r.report.Why, why)
}

// judge gives the verdict where nothing was wrong so far.
func (r *run) judge() {
	for _, s := range r.report.Steps {
		if s.Reads+s.Writes == 0 {
			r.conclude(Insufficient, s.Name+": no client did anything while the fault was there")
		} else if s.Affected == 0 {
			r.conclude(Insufficient, s.Name+": no client felt the fault; does the traffic pass link "+s.Link+"?")
		}
	}
	for _, surprise := range r.load.surprises() {
		r.conclude(Fail, surprise)
	}
	if r.report.Verdict == "" {
		r.report.Verdict = Pass
	}
}

// step injects one fault, lets the clients meet it, and heals it.
func (r *run) step(ctx context.Context, s Step) (err error) {
	name := s.Name
	if name == "" {
		name = s.Fault.Kind
	}
	r.o.Tell(fmt.Sprintf("fault: %s on %s for %s", s.Fault.Kind, s.Fault.Link, s.For))
	if err := r.o.Injector.Inject(ctx, s.Fault); err != nil {
		return fmt.Errorf("inject %s: %w", s.Fault.Kind, err)
	}
	defer func() {
		heal, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
		defer cancel()
		if healErr := r.o.Injector.Heal(heal, s.Fault.Link); healErr != nil {
			err = errors.Join(err, fmt.Errorf("heal %s: %w", s.Fault.Link, healErr))
		}
		r.o.Tell("healed: " + s.Fault.Link)
	}()
	r.load.during(s.Fault)
	timer := time.NewTimer(s.For)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
		return ctx.Err()
	}
	reads, writes, affected := r.load.during(Fault{})
	r.report.Steps = append(r.report.Steps, StepReport{
		Name: name, Link: s.Fault.Link, Kind: s.Fault.Kind, Reads: reads, Writes: writes, Affected: affected,
	})
	return nil
}

// probe asks every probe once and says what deviated, or "".
func (r *run) probe(ctx context.Context) string {
	for _, p := range r.e.Steady.Probes {
		bounded, cancel := context.WithTimeout(ctx, 5*time.Second)
		status, _, _, err := r.fetch(bounded, p.Request, "", "")
		cancel()
		if err != nil {
			return fmt.Sprintf("%s: %v", p.Name, err)
		}
		if !contains(p.Tolerance.Status, status) {
			return fmt.Sprintf("%s: status %d is not in %v", p.Name, status, p.Tolerance.Status)
		}
	}
	return ""
}

// steadyAgain probes until the system is steady or its time is up.
func (r *run) steadyAgain(ctx context.Context) string {
	r.o.Tell("steady state again?")
	deadline, cancel := context.WithTimeout(ctx, r.e.Steady.Within)
	defer cancel()
	for {
		why := r.probe(deadline)
		if why == "" || !pause(deadline, 100*time.Millisecond) {
			return why
		}
	}
}

// checkHistory waits until the databases agree and compares them with what
// clients were told.
func (r *run) checkHistory(ctx context.Context) error {
	if r.e.Operations.Write == nil {
		return nil
	}
	if len(r.o.Counters) == 0 {
		r.conclude(Insufficient, "no database was given to check the writes against")
		return nil
	}
	counts, err := r.agreed(ctx)
	if err != nil {
		return err
	}
	ops := r.log.Operations()
	for side, present := range counts {
		found := history.Check(ops, "write", present)
		r.report.Writes = found
		if !found.Clean() {
			r.conclude(Fail, fmt.Sprintf("%s's database: %d lost, %d doubled, %d resurrected", side, len(found.Lost), len(found.Doubled), len(found.Resurrected)))
			break
		}
	}
	if r.report.Writes.Acked == 0 {
		r.conclude(Insufficient, "no write was acknowledged")
	}
	return nil
}

// agreed returns each database's counts once all are the same, or as they are
// when the time is up.
func (r *run) agreed(ctx context.Context) (map[string]map[string]int, error) {
	bounded, cancel := context.WithTimeout(ctx, settleWait)
	defer cancel()
	for {
		counts := map[string]map[string]int{}
		for side, count := range r.o.Counters {
			c, err := count(ctx)
			if err != nil {
				return nil, fmt.Errorf("count the writes in the %s's database: %w", side, err)
			}
			counts[side] = c
		}
		if allEqual(counts) || !pause(bounded, 100*time.Millisecond) {
			return counts, nil
		}
	}
}

func allEqual(counts map[string]map[string]int) bool {
	var first map[string]int
	for _, c := range counts {
		if first == nil {
			first = c
			continue
		}
		if len(c) != len(first) {
			return false
		}
		for k, n := range first {
			if c[k] != n {
				return false
			}
		}
	}
	return true
}

func contains(list []int, n int) bool {
	for _, have := range list {
		if have == n {
			return true
		}
	}
	return false
}

func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// fill replaces {{key}}, {{fixture}} and ${NAME}.
func (r *run) fill(s, key, fixture string) string {
	return r.o.Expand(strings.NewReplacer("{{key}}", key, "{{fixture}}", fixture, "{{run}}", r.o.Run).Replace(s))
}
