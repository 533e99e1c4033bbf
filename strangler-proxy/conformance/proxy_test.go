package conformance

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"stranglerfig/strangler-proxy/control"
)

// guard is how long anything may take before it counts as hung.
const guard = 90 * time.Second

// patience is how long a case waits: one that is listed as failing is not worth
// the guard.
func patience(t testing.TB) time.Duration {
	if _, listed := t.(*attempted); listed {
		return guard / 30
	}
	return guard
}

// front is a running proxy.
type front struct {
	address string // host and port where clients are served
	admin   string // URL of the admin API
	path    string // of strangler.yaml
	access  *journal
	end     func()
}

const frontHead = "listen: 127.0.0.1:0\nadmin: {listen: 127.0.0.1:0, token: secret}\naccess_log: stdout\nstate: state\ndrain: 2s\n"

// start starts a proxy whose strangler.yaml says what is given, besides its
// ports and where its log goes. Everything here meets the proxy through this
// function.
func start(t testing.TB, yaml string) *front {
	t.Helper()
	dir := t.TempDir()
	f := &front{path: filepath.Join(dir, "strangler.yaml"), access: &journal{}}
	if err := os.WriteFile(f.path, []byte(frontHead+yaml), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(dir, "state"), 0o700); err != nil {
		t.Fatal(err)
	}
	c, err := control.Start(t.Context(), control.Options{Config: f.path, Log: slog.New(slog.DiscardHandler), Access: f.access})
	if err != nil {
		t.Fatal(err)
	}
	_, f.address, _ = strings.Cut(c.URL, "://")
	f.admin = c.Admin
	f.end = sync.OnceFunc(func() {
		if err := c.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(f.end)
	return f
}

// entry is a line of the access log.
type entry struct {
	Method, Path, Owner, Route, Fallback, Error string
	Status                                      int
}

// entries ends the proxy, which writes what is left of its log, and returns
// the whole log.
func (f *front) entries(t testing.TB) []entry {
	t.Helper()
	f.end()
	var all []entry
	for line := range bytes.Lines(f.access.bytes()) {
		var e entry
		if err := json.Unmarshal(line, &e); err != nil {
			t.Fatalf("a line of the access log is not JSON: %v\n%s", err, line)
		}
		all = append(all, e)
	}
	return all
}

// metrics is what the proxy tells Prometheus.
func (f *front) metrics(t testing.TB) string {
	t.Helper()
	res, err := http.Get(f.admin + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	raw, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

// number adds up the samples of a metric.
func (f *front) number(t testing.TB, name string) (sum float64) {
	t.Helper()
	f.samples(t, func(series string, value float64) {
		if family, _, _ := strings.Cut(series, "{"); family == name {
			sum += value
		}
	})
	return sum
}

// series returns the sample of a series, 0 where there is none.
func (f *front) series(t testing.TB, name string) (is float64) {
	t.Helper()
	f.samples(t, func(series string, value float64) {
		if series == name {
			is = value
		}
	})
	return is
}

// samples reads the metrics.
func (f *front) samples(t testing.TB, each func(series string, value float64)) {
	t.Helper()
	for line := range strings.Lines(f.metrics(t)) {
		at := strings.LastIndexByte(line, ' ') // labels may have blanks
		if at < 0 || strings.HasPrefix(line, "#") {
			continue
		}
		value, err := strconv.ParseFloat(strings.TrimSpace(line[at:]), 64)
		if err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		each(line[:at], value)
	}
}

// journal keeps what is written to it.
type journal struct {
	mu   sync.Mutex
	kept bytes.Buffer
}

var _ io.Writer = (*journal)(nil)

func (j *journal) Write(p []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.kept.Write(p)
}

func (j *journal) bytes() []byte {
	j.mu.Lock()
	defer j.mu.Unlock()
	return bytes.Clone(j.kept.Bytes())
}

// eventually waits until something holds.
func eventually(t testing.TB, what string, holds func() bool) {
	t.Helper()
	deadline := time.Now().Add(patience(t))
	for !holds() {
		if time.Now().After(deadline) {
			t.Fatalf("%s: not after %s", what, patience(t))
		}
		time.Sleep(time.Millisecond)
	}
}

// receive waits for what somebody else sends.
func receive[T any](t testing.TB, what string, from <-chan T) (got T) {
	t.Helper()
	select {
	case got = <-from:
	case <-time.After(patience(t)):
		t.Fatalf("%s: not after %s", what, patience(t))
	}
	return got
}
