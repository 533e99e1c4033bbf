package main

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"runtime"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"stranglerfig/contract-tests/tape"
	"stranglerfig/migrations/change"
	live "stranglerfig/strangler-proxy/proxy"
	"stranglerfig/strangler-proxy/route"
	"stranglerfig/strangler-proxy/shadow"
	"stranglerfig/strangler-proxy/upstream"
)

// What the comparison costs the request that is answered: everything that
// happens on its own goroutine, which is a copy of the answer and its place in
// the queue, and for a request that is not sampled, to be asked about at all.
const (
	sampled, unsampled             = "live path, sampled", "live path, not sampled"
	targetSampled, targetUnsampled = 100_000, 5_000_000 // 10 µs and 0.2 µs
)

// batch is how many requests the queue takes before it is left to empty.
const batch = 1000

// measureLive measures the cost of a request with the shadow on.
func measureLive(rounds int, each time.Duration) ([]measure, error) {
	s := shadow.New(shadow.Options{
		Queue: batch, Body: live.CaptureLimit, Timeout: time.Minute,
		// Nobody is there to be asked: what the other side costs is not the client's.
		Backends: func(string) (monolith, service *upstream.Backend) { return nil, nil },
		Owner:    func(string) change.Side { return change.Monolith },
		Synced:   func(string, change.Side) time.Time { return time.Time{} },
		Redact:   func(x tape.Exchange) tape.Exchange { return x },
		Metrics:  prometheus.NewRegistry(),
	})
	defer s.Close()
	r := &route.Route{ID: "GET /invoices", Capability: "billing", Owner: route.Owner{Stage: route.Shadow, Share: 1}}
	answer := answerOf("application/json", invoicesJSON(0))
	var taken, asked []float64
	for range rounds {
		rate, err := onThisThread(each, s, func() error {
			d := route.Decision{Side: change.Monolith, Mirror: true}
			if !s.Wants(r, d) {
				return errors.New("the shadow does not want what there is room for")
			}
			s.Observe(&live.Exchange{Route: r, Decision: d, Method: http.MethodGet, Path: "/invoices", Status: answer.Status,
				Answer: live.HeadersOf(answer.Header), AnswerBody: bytes.Clone(answer.Body), At: time.Now()}, nil)
			return nil
		})
		if err != nil {
			return nil, err
		}
		taken = append(taken, rate)
		rate, err = onThisThread(each, s, func() error {
			if s.Wants(r, route.Decision{Side: change.Monolith}) {
				return errors.New("the shadow wants what is not sampled")
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
		asked = append(asked, rate)
	}
	in, out := spread(sampled, ours, "/s", len(answer.Body), taken), spread(unsampled, ours, "/s", len(answer.Body), asked)
	in.RatioTo = map[string]float64{"the target": in.Value / targetSampled}
	out.RatioTo = map[string]float64{"the target": out.Value / targetUnsampled}
	var problems []error
	for _, m := range []measure{in, out} {
		if m.RatioTo["the target"] < 1 {
			problems = append(problems, fmt.Errorf("%s: %.2f of the target", m.Case, m.RatioTo["the target"]))
		}
	}
	return []measure{in, out}, errors.Join(problems...)
}

// onThisThread is how often something can be done in a second of this thread's
// processor time; what the shadow's own goroutines do meanwhile does not count.
func onThisThread(each time.Duration, s *shadow.Shadow, do func() error) (float64, error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var used time.Duration
	n := 0
	for begun := time.Now(); time.Since(begun) < each; {
		before := threadTime()
		for range batch {
			if err := do(); err != nil {
				return 0, err
			}
		}
		used += threadTime() - before
		n += batch
		for !s.Idle() {
			time.Sleep(100 * time.Microsecond)
		}
	}
	return float64(n) / used.Seconds(), nil
}

// thisThread is what Linux calls RUSAGE_THREAD.
const thisThread = 1

// threadTime is what this thread has used of the processor.
func threadTime() time.Duration {
	var used syscall.Rusage
	if syscall.Getrusage(thisThread, &used) != nil {
		return 0 // elsewhere than on Linux
	}
	return time.Duration(used.Utime.Nano() + used.Stime.Nano())
}
