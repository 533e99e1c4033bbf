package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// contest measures contenders under one load, in rounds whose order is drawn
// anew each time.
type contest struct {
	name, about string
	load        load
	paced       time.Duration // each round lasts so long, at half of what the slowest contender can do; 0: as fast as they can
	fresh       bool          // each round is with a process that was just started
	metrics     []metric
	contenders  []*contender // ratios are those of the first to each of the others
}

// contender is one that a contest measures, with what was found.
type contender struct {
	name   string
	routes int // that it has, where these are fewer than the load's; 0: they are not
	start  func(ctx context.Context) (*server, error)
	// beside runs beside what counts of a round, until ctx ends; nil: nothing
	// does. It returns further values by the names of metrics.
	beside func(ctx context.Context, s *server) (map[string]float64, error)

	server *server
	found  []map[string]float64 // by the names of metrics, for each round
	errors map[string]int
	ended  int   // answers that ended their connection
	absent error // why it is not measured
}

// metric is a number that each round finds.
type metric struct{ name, unit string }

// The metrics of a load.
var (
	cpuPerRequest = metric{"CPU per request", "µs"}
	throughput    = metric{"throughput", "requests/s"}
	latencyHalf   = metric{"p50", "ms"}
	latencyMost   = metric{"p99", "ms"}
)

var loadMetrics = []metric{cpuPerRequest, throughput, latencyHalf, latencyMost}

// run starts the contenders, lets them compete, and stops them.
func (c *contest) run(ctx context.Context, rounds int, say func(format string, args ...any)) (err error) {
	defer func() {
		for _, each := range c.contenders {
			err = errors.Join(err, each.stop(ctx))
		}
	}()
	if !c.fresh {
		for _, each := range c.contenders {
			each.begin(ctx)
		}
	}
	if c.paced > 0 {
		if err := c.calibrate(ctx); err != nil {
			return err
		}
	}
	for round := range rounds {
		for _, i := range rand.Perm(len(c.contenders)) {
			each := c.contenders[i]
			if each.absent != nil {
				continue
			}
			c.round(ctx, each)
			if ctx.Err() != nil {
				return ctx.Err()
			}
			say("%s, round %d of %d: %s: %s", c.name, round+1, rounds, each.name, c.latest(each))
		}
	}
	return nil
}

// calibrate finds the rate of a paced contest.
func (c *contest) calibrate(ctx context.Context) error {
	slowest := 0.0
	for _, each := range c.contenders {
		if each.absent != nil {
			continue
		}
		r, err := c.play(ctx, each, nil)
		if err != nil {
			return err
		}
		if r.Answered == 0 {
			return fmt.Errorf("%s: %s answered nothing: %s", c.name, each.name, failures(r.Errors))
		}
		if rate := float64(r.Answered) / r.Took.Seconds(); slowest == 0 || rate < slowest {
			slowest = rate
		}
	}
	if slowest == 0 {
		return nil // nobody is there
	}
	c.load.Rate = slowest / 2
	c.load.Requests = int(c.load.Rate * c.paced.Seconds())
	c.about += fmt.Sprintf(", %.0f requests/s", c.load.Rate)
	return nil
}

// round measures a contender once. What keeps it from being measured is kept as
// the reason; the others go on.
func (c *contest) round(ctx context.Context, each *contender) {
	if c.fresh {
		if each.begin(ctx); each.absent != nil {
			return
		}
	}
	beside := map[string]float64{}
	r, err := c.play(ctx, each, beside)
	if c.fresh {
		err = errors.Join(err, each.stop(ctx))
	}
	if err == nil && r.Answered == 0 {
		err = errors.New("no request was answered as it should be")
	}
	for what, n := range r.Errors {
		each.errors[what] += n
	}
	each.ended += r.Ended
	if err != nil {
		each.absent = err
		return
	}
	values := c.values(r)
	maps.Copy(values, beside)
	each.found = append(each.found, values)
}

// values are the metrics of a round.
func (c *contest) values(r outcome) map[string]float64 {
	values := map[string]float64{}
	if len(r.PerIdle) > 0 {
		for i, each := range r.PerIdle {
			values[idleMetric(c.load.Idle[i]).name] = each / (1 << 10)
		}
		return values
	}
	values[cpuPerRequest.name] = float64(r.CPU.Microseconds()) / float64(r.Answered)
	values[throughput.name] = float64(r.Answered) / r.Took.Seconds()
	values[latencyHalf.name] = float64(r.P50) / float64(time.Millisecond)
	values[latencyMost.name] = float64(r.P99) / float64(time.Millisecond)
	return values
}

// idleMetric is what each of so many idle connections costs.
func idleMetric(connections int) metric {
	return metric{fmt.Sprintf("memory of each of %d idle connections", connections), "KiB"}
}

// play sends the load to a contender in a process of its own. With a map for
// further values, what the contender does beside the load is done.
func (c *contest) play(ctx context.Context, each *contender, values map[string]float64) (outcome, error) {
	l := c.load
	l.Addr, l.Pid = each.server.addr, each.server.process.Pid()
	if each.routes > 0 {
		l.Routes = each.routes
	}
	p, err := startStep(ctx, step{Do: "load", Load: &l})
	if err != nil {
		return outcome{}, err
	}
	besides, end := context.WithCancel(ctx)
	defer end()
	done := make(chan error, 1)
	if _, counting := p.next(); counting && values != nil && each.beside != nil {
		go func() {
			more, err := each.beside(besides, each.server)
			maps.Copy(values, more)
			done <- err
		}()
	} else {
		done <- nil
	}
	r, _, err := p.wait()
	end()
	if err := errors.Join(err, <-done, each.server.alive()); err != nil {
		return outcome{}, err
	}
	if r.Load.Problem != "" {
		return outcome{}, errors.New(r.Load.Problem)
	}
	return *r.Load, nil
}

// begin starts the contender.
func (e *contender) begin(ctx context.Context) {
	if e.errors == nil {
		e.errors = map[string]int{}
	}
	e.server, e.absent = e.start(ctx)
}

// stop ends the contender where it runs.
func (e *contender) stop(ctx context.Context) error {
	if e.server == nil {
		return nil
	}
	err := e.server.stop(ctx)
	e.server = nil
	return err
}

// latest says what the last round of a contender found.
func (c *contest) latest(e *contender) string {
	if e.absent != nil {
		return e.trouble()
	}
	last := e.found[len(e.found)-1]
	var parts []string
	for _, m := range c.metrics {
		if v, ok := last[m.name]; ok {
			parts = append(parts, figure(v)+" "+m.unit)
		}
	}
	return strings.Join(append(parts, e.trouble()), ", ")
}

// trouble says why a contender was not measured, which requests failed, and
// whether it let go of connections that it was to keep.
func (e *contender) trouble() string {
	var parts []string
	if e.absent != nil {
		parts = append(parts, firstLine(e.absent))
	}
	if e.absent == nil || len(e.errors) > 0 {
		parts = append(parts, failures(e.errors))
	}
	if e.ended > 0 {
		parts = append(parts, fmt.Sprintf("%d answers ended their connection", e.ended))
	}
	return strings.Join(parts, "; ")
}

// failures says how many requests failed, by what went wrong.
func failures(of map[string]int) string {
	if len(of) == 0 {
		return "no errors"
	}
	var parts []string
	for _, what := range slices.Sorted(maps.Keys(of)) {
		parts = append(parts, strconv.Itoa(of[what])+" × "+what)
	}
	return strings.Join(parts, "; ")
}

func firstLine(err error) string {
	line, _, _ := strings.Cut(err.Error(), "\n")
	return line
}

// folder makes a folder for the files of one contender.
func folder(within, name string) (string, error) {
	dir, err := os.MkdirTemp(within, strings.ReplaceAll(name, " ", "-")+"-")
	if err != nil {
		return "", err
	}
	return filepath.Abs(dir)
}
