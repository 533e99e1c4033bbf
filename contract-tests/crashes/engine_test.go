package crashes

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/signal"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"stranglerfig/contract-tests/harness"
	"stranglerfig/migrations/change"
	"stranglerfig/migrations/engine"
	"stranglerfig/migrations/ledger"
)

// The engine runs in a process of its own, so that it can be killed: this test's
// own binary, started again with engineVariable set.

const engineVariable = "STRANGLER_CRASHES_ENGINE"

// setup is what an engine's process is told.
type setup struct {
	Monolith, Service string // DSNs
	State             string // folder of the ledger
	Routes            string // URL of the gate, and of whoever waits at a trap
	Trap              trap
}

// trap is a named point at which something is to happen.
type trap struct {
	Point string
	Pass  int  // how often it is passed until then
	Kill  bool // the engine, by itself; otherwise somebody else is told, and awaited
}

// serveEngine is the engine's process.
func serveEngine(raw string) error {
	var s setup
	if err := json.Unmarshal([]byte(raw), &s); err != nil {
		return err
	}
	p, err := plan()
	if err != nil {
		return err
	}
	l, err := ledger.Open(s.State, time.Now)
	if err != nil {
		return err
	}
	served := &served{trap: s.Trap, routes: routes(s.Routes)}
	served.engine = engine.New(engine.Options{
		Ledger: l, Routes: served.routes, At: served.at, Audit: 200 * time.Millisecond,
		Log: slog.New(slog.NewTextHandler(os.Stderr, nil)),
	})
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	fmt.Printf("listening on http://%s\n", listener.Addr())
	server := &http.Server{Handler: served}
	failed := make(chan error, 2)
	go func() { failed <- server.Serve(listener) }()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	go func() {
		err := served.engine.Open(ctx, engine.Spec{Capability: capability, Plan: p, Monolith: s.Monolith, Service: s.Service})
		if err != nil {
			failed <- err
		}
	}()
	select {
	case <-ctx.Done():
	case err = <-failed:
	}
	return errors.Join(err, served.engine.Close(), server.Close(), l.Close())
}

// served is the engine as the tests ask it.
type served struct {
	engine *engine.Engine
	routes routes

	mu   sync.Mutex
	trap trap
}

func (s *served) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var err error
	switch r.URL.Path {
	case "/do":
		err = s.do(r.Context(), r.FormValue("operation"))
	case "/status":
		var st engine.Status
		if st, err = s.engine.Status(r.Context(), capability); err == nil {
			err = json.NewEncoder(w).Encode(st)
		}
	case "/trap":
		var t trap
		if err = json.NewDecoder(r.Body).Decode(&t); err == nil {
			s.mu.Lock()
			s.trap = t
			s.mu.Unlock()
		}
	default:
		err = fmt.Errorf("the engine has no %s", r.URL.Path)
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusConflict)
	}
}

func (s *served) do(ctx context.Context, operation string) (err error) {
	switch operation {
	case "prepare":
		return s.engine.Prepare(ctx, capability)
	case "copy":
		return s.engine.Copy(ctx, capability, nil)
	case "resume":
		return s.engine.Resume(ctx, capability, nil)
	case "verify", "repair":
		report, err := s.engine.Verify(ctx, capability, engine.VerifyRequest{Repair: operation == "repair"}, nil)
		if err == nil && !report.Clean {
			err = fmt.Errorf("the sides differ: %+v", report)
		}
		return err
	case "rehearsal":
		_, err = s.engine.Rehearse(ctx, capability, nil)
	case "cutover":
		_, err = s.engine.Switch(ctx, capability, change.Service, "", nil)
	case "rollback":
		_, err = s.engine.Switch(ctx, capability, change.Monolith, "", nil)
	case "cancel":
		return s.engine.Cancel(ctx, capability)
	case "complete":
		return s.engine.Complete(ctx, capability, capability)
	default:
		return fmt.Errorf("%q is no operation", operation)
	}
	return err
}

// at springs the trap when its point is passed.
func (s *served) at(point string) {
	s.mu.Lock()
	sprung := point == s.trap.Point && s.trap.Pass <= 1
	if point == s.trap.Point {
		s.trap.Pass--
	}
	kill := s.trap.Kill
	if sprung {
		s.trap = trap{}
	}
	s.mu.Unlock()
	switch {
	case !sprung:
	case kill:
		if err := syscall.Kill(os.Getpid(), syscall.SIGKILL); err == nil {
			select {} // the signal is on its way
		}
	default:
		if err := s.routes.post(context.Background(), "/trapped", nil); err != nil {
			slog.Error("nobody waits at the trap", "point", point, "error", err)
		}
	}
}

// routes is the gate, asked from the engine's process.
type routes string

func (r routes) post(ctx context.Context, path string, values url.Values) error {
	_, err := ask(ctx, string(r)+path, strings.NewReader(values.Encode()), "application/x-www-form-urlencoded")
	return err
}

// ask posts and returns the answer; one other than 200 is an error.
func ask(ctx context.Context, target string, body io.Reader, kind string) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, target, body)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", kind)
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	answer, err := io.ReadAll(res.Body)
	if err == nil && res.StatusCode != http.StatusOK {
		err = errors.New(strings.TrimSpace(string(answer)))
	}
	return answer, err
}

func (r routes) Hold(ctx context.Context, _ string, _ engine.Bounds) (engine.Held, error) {
	waiting := func() (n int) {
		if answer, err := ask(ctx, string(r)+"/waiting", nil, ""); err == nil && json.Unmarshal(answer, &n) == nil {
			return n
		}
		return 0
	}
	return engine.Held{Waiting: waiting}, r.post(ctx, "/hold", nil)
}

func (r routes) Flip(_ string, owner change.Side, epoch uint64) error {
	return r.post(context.Background(), "/flip", url.Values{"owner": {string(owner)}, "epoch": {fmt.Sprint(epoch)}})
}

func (r routes) Release(string) {
	if err := r.post(context.Background(), "/release", nil); err != nil {
		slog.Error("the gate was not released", "error", err)
	}
}

// running is an engine's process, seen from the test.
type running struct {
	process *harness.Process
	said    *os.File         // everything it wrote
	gate    *httptest.Server // its way to the gate, closed with it
	trapped chan chan struct{}
}

// startEngine starts an engine, which begins by settling what the one before
// has left.
func startEngine(t testing.TB, g *gate, s setup) *running {
	t.Helper()
	r := &running{trapped: make(chan chan struct{})}
	mux := http.NewServeMux()
	mux.Handle("/", g)
	mux.HandleFunc("/trapped", func(_ http.ResponseWriter, req *http.Request) {
		goOn := make(chan struct{})
		select {
		case r.trapped <- goOn:
			<-goOn
		case <-req.Context().Done():
		}
	})
	r.gate = httptest.NewServer(mux)
	s.Routes = r.gate.URL
	raw, err := json.Marshal(s)
	must(t, err)
	r.said, err = os.CreateTemp(t.TempDir(), "engine-")
	must(t, err)
	t.Cleanup(func() { r.said.Close() })
	r.process, err = harness.Start(t.Context(), harness.Command{
		Name: "engine", Path: os.Args[0], Env: []string{engineVariable + "=" + string(raw)}, Log: r.said, Ready: patience,
	})
	must(t, err)
	return r
}

// mostSaid is how much of what an engine wrote is shown, in bytes: the stacks of
// all its goroutines, where it was asked for them.
const mostSaid = 128 << 10

// autopsy ends an engine that stands still, and is the last that it has to say.
func (r *running) autopsy(t testing.TB) string {
	t.Helper()
	if !r.ended() {
		must(t, r.process.Signal(syscall.SIGQUIT))
		<-r.process.Done()
	}
	size, err := r.said.Seek(0, io.SeekEnd)
	must(t, err)
	said := make([]byte, min(size, mostSaid))
	_, err = r.said.ReadAt(said, size-int64(len(said)))
	must(t, err)
	return string(said)
}

// do asks for an operation.
func (r *running) do(ctx context.Context, operation string) error {
	_, err := ask(ctx, r.process.URL+"/do?operation="+operation, nil, "")
	return err
}

// arm sets a trap.
func (r *running) arm(ctx context.Context, s trap) error {
	raw, err := json.Marshal(s)
	if err != nil {
		return err
	}
	_, err = ask(ctx, r.process.URL+"/trap", strings.NewReader(string(raw)), "application/json")
	return err
}

func (r *running) status(ctx context.Context) (st engine.Status, err error) {
	answer, err := ask(ctx, r.process.URL+"/status", nil, "")
	if err != nil {
		return st, err
	}
	return st, json.Unmarshal(answer, &st)
}

// ended reports whether the process has ended; nothing of what it asked for is
// under way any more then.
func (r *running) ended() bool {
	select {
	case <-r.process.Done():
		r.gate.CloseClientConnections()
		r.gate.Close()
		return true
	default:
		return false
	}
}
