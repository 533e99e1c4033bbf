package chaos_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"stranglerfig/contract-tests/chaos"
)

// shelf is a service that stores each write once, by its key.
type shelf struct {
	mu      sync.Mutex
	stored  map[string]int
	lose    bool // acknowledges without storing
	double  bool // stores again when a write is repeated
	refuses bool // answers 503 to everything
}

func (s *shelf) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.refuses:
		w.WriteHeader(http.StatusServiceUnavailable)
	case r.Method == http.MethodGet:
		io.WriteString(w, `{"items":[{"id":1},{"id":2}]}`)
	default:
		key := r.Header.Get("Idempotency-Key")
		if !s.lose && (s.double || s.stored[key] == 0) {
			s.stored[key]++
		}
		w.WriteHeader(http.StatusCreated)
	}
}

func (s *shelf) count(context.Context) (map[string]int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	counts := map[string]int{}
	for k, n := range s.stored {
		counts[k] = n
	}
	return counts, nil
}

// broken breaks nothing but the shelf's will to answer.
type broken struct {
	shelf  *shelf
	mu     sync.Mutex
	healed int
}

func (b *broken) Inject(context.Context, chaos.Fault) error {
	b.shelf.mu.Lock()
	b.shelf.refuses = true
	b.shelf.mu.Unlock()
	return nil
}

func (b *broken) Heal(context.Context, string) error {
	b.shelf.mu.Lock()
	b.shelf.refuses = false
	b.shelf.mu.Unlock()
	b.mu.Lock()
	b.healed++
	b.mu.Unlock()
	return nil
}

const experiment = `
title: the shelf says no for a while
capability: shelf
steady-state-hypothesis:
  title: it answers
  probes: [{name: list, request: {method: GET, path: /items}, tolerance: {status: [200]}}]
operations:
  fixtures: {request: {method: GET, path: /items}, pick: items.id}
  read: {request: {method: GET, path: "/items/{{fixture}}"}, allow: [200, 503]}
  write: {request: {method: POST, path: /items, headers: {Idempotency-Key: "{{key}}"}}, allow: [201, 503]}
method: [{name: refuse, fault: {link: shelf, kind: refuse}, for: 150ms}]
history: {service: SELECT 1}
`

func parse(t *testing.T, text string) chaos.Experiment {
	t.Helper()
	e, err := chaos.Parse(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// perform runs an experiment against a shelf.
func perform(t *testing.T, s *shelf, text string, injector chaos.Injector) chaos.Report {
	t.Helper()
	s.stored = map[string]int{}
	server := httptest.NewServer(s)
	defer server.Close()
	r, err := chaos.Run(t.Context(), parse(t, text), chaos.Options{
		BaseURL: server.URL, Injector: injector, Run: "run", Counters: map[string]chaos.Counter{"service": s.count},
	})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestARunPassesWhenNothingIsLostAndTheFaultWasFelt(t *testing.T) {
	s := &shelf{}
	b := &broken{shelf: s}
	r := perform(t, s, experiment, b)
	if r.Verdict != chaos.Pass || r.Writes.Acked == 0 || r.Steps[0].Affected == 0 || b.healed != 1 {
		t.Errorf("%+v, healed %d times", r, b.healed)
	}
}

func TestALostWriteFailsTheRun(t *testing.T) {
	s := &shelf{lose: true}
	if r := perform(t, s, experiment, &broken{shelf: s}); r.Verdict != chaos.Fail || len(r.Writes.Lost) == 0 {
		t.Errorf("%+v", r)
	}
}

func TestAStatusThatIsNotAllowedFailsTheRun(t *testing.T) {
	s := &shelf{}
	strict := strings.ReplaceAll(experiment, "allow: [200, 503]", "allow: [200]")
	if r := perform(t, s, strict, &broken{shelf: s}); r.Verdict != chaos.Fail || !strings.Contains(strings.Join(r.Why, " "), "a read saw status 503") {
		t.Errorf("%+v", r)
	}
}

// idle breaks nothing at all.
type idle struct{}

func (idle) Inject(context.Context, chaos.Fault) error { return nil }
func (idle) Heal(context.Context, string) error        { return nil }

func TestAFaultThatNobodyFeltProvesNothing(t *testing.T) {
	if r := perform(t, &shelf{}, experiment, idle{}); r.Verdict != chaos.Insufficient || !strings.Contains(r.Why[0], "no client felt the fault") {
		t.Errorf("%+v", r)
	}
}

func TestAnUnsteadySystemIsNotBroken(t *testing.T) {
	s := &shelf{refuses: true}
	b := &broken{shelf: s}
	if r := perform(t, s, experiment, b); r.Verdict != chaos.Insufficient || b.healed != 0 || !strings.Contains(r.Why[0], "not steady before") {
		t.Errorf("%+v", r)
	}
}

func TestAnExperimentIsCheckedWhole(t *testing.T) {
	for text, says := range map[string]string{
		"titel: x":       "field titel not found",
		"title: x":       "at least one is needed to know that the system is steady",
		"operations: {}": "a fault that nobody meets proves nothing",
		"method: [{fault: {link: a, kind: fire}}]":                               `"fire" is none of latency, hang, refuse, reset-mid-body, response-lost`,
		"method: [{fault: {kind: hang}}]":                                        "method[0].fault.link: missing",
		"method: [{fault: {link: a, kind: hang}, for: 5m}]":                      "is not between 0 and 1m0s",
		"operations: {write: {request: {method: POST, path: /x}}}":               "an Idempotency-Key with {{key}} is needed",
		"operations: {read: {request: {path: x}}}":                               "operations.read.request: needs a method and a path",
		"steady-state-hypothesis: {probes: [{request: {method: GET, path: /}}]}": "tolerance.status: missing",
	} {
		if _, err := chaos.Parse(strings.NewReader(text)); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v, want it to say %q", text, err, says)
		}
	}
}

func TestTheShopsExperimentsAreValid(t *testing.T) {
	files, err := filepath.Glob("../shop/chaos/*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatalf("%v, %v", files, err)
	}
	for _, f := range files {
		if _, err := chaos.Load(f); err != nil {
			t.Error(err)
		}
	}
}

// link puts a link in front of a server that answers 1,000 bytes.
func link(t *testing.T) (*chaos.Links, *http.Client, string, func() int) {
	t.Helper()
	var mu sync.Mutex
	asked := 0
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		mu.Lock()
		asked++
		mu.Unlock()
		w.Header().Set("Content-Length", "1000")
		fmt.Fprint(w, strings.Repeat("x", 1000))
	}))
	t.Cleanup(server.Close)
	links := chaos.NewLinks()
	t.Cleanup(func() {
		if err := links.Close(); err != nil {
			t.Error(err)
		}
	})
	addr, err := links.Open("shelf", "127.0.0.1:0", server.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	client := &http.Client{Timeout: 3 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	return links, client, "http://" + addr, func() int { mu.Lock(); defer mu.Unlock(); return asked }
}

func get(client *http.Client, url string) (int, error) {
	res, err := client.Get(url)
	if err != nil {
		return 0, err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	return len(body), err
}

// TestEachFaultDoesWhatItSays breaks a real link in every way and heals it.
func TestEachFaultDoesWhatItSays(t *testing.T) {
	links, client, url, asked := link(t)
	whole := func(when string) {
		t.Helper()
		if n, err := get(client, url); n != 1000 || err != nil {
			t.Errorf("%s: %d bytes, %v", when, n, err)
		}
	}
	whole("before")
	for _, c := range []struct {
		fault chaos.Fault
		check func(n int, err error, reached bool, took time.Duration) bool
	}{
		{chaos.Fault{Kind: "latency", Delay: 200 * time.Millisecond}, func(n int, err error, _ bool, took time.Duration) bool {
			return n == 1000 && err == nil && took >= 200*time.Millisecond
		}},
		{chaos.Fault{Kind: "refuse"}, func(_ int, err error, reached bool, _ time.Duration) bool {
			var op *net.OpError
			return errors.As(err, &op) && op.Op == "dial" && !reached
		}},
		{chaos.Fault{Kind: "hang"}, func(_ int, err error, reached bool, took time.Duration) bool {
			return err != nil && !reached && took >= client.Timeout
		}},
		{chaos.Fault{Kind: "reset-mid-body", Bytes: 300}, func(n int, err error, reached bool, _ time.Duration) bool {
			return n < 1000 && err != nil && reached
		}},
		{chaos.Fault{Kind: "response-lost"}, func(n int, err error, reached bool, _ time.Duration) bool {
			return n == 0 && err != nil && reached
		}},
	} {
		c.fault.Link = "shelf"
		if err := links.Inject(c.fault); err != nil {
			t.Fatal(err)
		}
		before, begun := asked(), time.Now()
		n, err := get(client, url)
		if !c.check(n, err, asked() > before, time.Since(begun)) {
			t.Errorf("%s: %d bytes, %v, reached %v after %s", c.fault.Kind, n, err, asked() > before, time.Since(begun))
		}
		if err := links.Heal("shelf"); err != nil {
			t.Fatal(err)
		}
		whole("after " + c.fault.Kind)
	}
	if err := links.Inject(chaos.Fault{Link: "elsewhere", Kind: "hang"}); err == nil || !strings.Contains(err.Error(), "known are shelf") {
		t.Errorf("an unknown link: %v", err)
	}
}
