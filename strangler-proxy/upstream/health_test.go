package upstream_test

import (
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"stranglerfig/strangler-proxy/upstream"
)

// journal keeps a log.
type journal struct {
	mu   sync.Mutex
	text strings.Builder
}

func (j *journal) Write(b []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.text.Write(b)
}

// times counts lines with a message.
func (j *journal) times(message string) int {
	j.mu.Lock()
	defer j.mu.Unlock()
	return strings.Count(j.text.String(), `msg="`+message+`"`)
}

// patient is a server that can fall ill.
func patient(t testing.TB) (s *httptest.Server, ill *atomic.Bool, asked *atomic.Int64) {
	t.Helper()
	ill, asked = &atomic.Bool{}, &atomic.Int64{}
	return serve(t, func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.URL.Path != "/readyz":
			asked.Add(1)
			io.WriteString(w, "well")
		case ill.Load():
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	}), ill, asked
}

func TestAnEndpointThatSaysItIsIllIsNotAskedUntilItIsWell(t *testing.T) {
	well, _, _ := patient(t)
	sick, ill, asked := patient(t)
	said := &journal{}
	b := made(t, upstream.Options{
		URLs: []string{well.URL, sick.URL}, Health: upstream.Health{Path: "/readyz", Interval: time.Millisecond}, Log: slog.New(slog.NewTextHandler(said, nil)),
	})
	state := func() upstream.EndpointState { return b.Stats().Endpoints[1].State }
	ask := func() {
		if _, err := send(t.Context(), b, "GET", "/", nil); err != nil {
			t.Fatal(err)
		}
	}
	for range 2 {
		eventually(t, "both are asked", func() bool { ask(); return asked.Load() > 0 })
		ill.Store(true)
		eventually(t, "it is left out", func() bool { return state() == upstream.Sick })
		asked.Store(0)
		for range 50 {
			ask()
		}
		if n := asked.Load(); n != 0 {
			t.Errorf("it was asked %d times although it says it is ill", n)
		}
		ill.Store(false)
		eventually(t, "it is asked again", func() bool { return state() == upstream.Usable })
	}
	if s := b.Stats().Endpoints; s[1].Checks.Ill < 6 || s[1].Checks.Well < 4 || s[0].Checks.Ill != 0 || s[0].Checks.Well == 0 {
		t.Errorf("the checks are counted as %+v", s)
	}
	if out, back := said.times("an endpoint is left out"), said.times("an endpoint is well again"); out != 2 || back != 2 {
		t.Errorf("logged %d times as left out, %d times as well again", out, back)
	}
}

// TestAnEndpointThatHangsKeepsNobodyFromBeingChecked: they are asked side by
// side.
func TestAnEndpointThatHangsKeepsNobodyFromBeingChecked(t *testing.T) {
	hangs := serve(t, func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	well, _, _ := patient(t)
	b := made(t, upstream.Options{URLs: []string{hangs.URL, hangs.URL + "1", well.URL}, Health: upstream.Health{Path: "/readyz", Interval: time.Millisecond}})
	eventually(t, "the last one is checked", func() bool { return b.Stats().Endpoints[2].Checks.Well > 0 })
}

// TestRequestsToAnEndpointThatBreaksThemOffGoElsewhere leaves one of two out.
func TestRequestsToAnEndpointThatBreaksThemOffGoElsewhere(t *testing.T) {
	well, _, _ := patient(t)
	var asked atomic.Int64
	bad := serve(t, func(http.ResponseWriter, *http.Request) {
		asked.Add(1)
		panic(http.ErrAbortHandler)
	})
	said := &journal{}
	b := made(t, upstream.Options{
		URLs: []string{well.URL, bad.URL}, Breaker: upstream.BreakerOptions{Failures: 100}, Log: slog.New(slog.NewTextHandler(said, nil)),
	})
	failed := 0
	for range 200 {
		if _, err := send(t.Context(), b, "POST", "/", nil); err != nil {
			failed++
		}
	}
	if s := b.Stats().Endpoints[1]; asked.Load() != 5 || failed != 5 || s.Ejections != 1 || s.State != upstream.Ejected || s.Outcomes[upstream.Failed] != 5 {
		t.Errorf("it was asked %d times, %d requests failed: %+v", asked.Load(), failed, s)
	}
	if n := said.times("an endpoint is left out for a while"); n != 1 {
		t.Errorf("that was logged %d times", n)
	}
}
