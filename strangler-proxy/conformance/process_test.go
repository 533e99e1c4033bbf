package conformance

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"stranglerfig/contract-tests/harness"
	"stranglerfig/strangler-proxy/control"
)

// partVariable says what this program is when it is not the test: a proxy or a
// service, as a process of its own that can be killed and measured.
const partVariable = "STRANGLER_CONFORMANCE_PART"

// takePart plays the part that the environment names; false without one.
func takePart() bool {
	part, argument, _ := strings.Cut(os.Getenv(partVariable), " ")
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	var err error
	switch part {
	case "":
		return false
	case "proxy":
		err = serveProxy(ctx, argument)
	case "service":
		err = serveService(ctx, argument)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	return true
}

// process starts this program in a part.
func process(t testing.TB, log io.Writer, part string) *harness.Process {
	t.Helper()
	path, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	p, err := harness.Start(t.Context(), harness.Command{Name: part, Path: path, Env: []string{partVariable + "=" + part}, Log: log})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Kill)
	return p
}

func serveProxy(ctx context.Context, path string) error {
	c, err := control.Start(ctx, control.Options{Config: path, Log: slog.New(slog.DiscardHandler), Access: io.Discard})
	if err != nil {
		return err
	}
	fmt.Printf("admin API on %s\nlistening on %s\n", c.Admin, c.URL)
	<-ctx.Done()
	return c.Close(context.Background())
}

var adminLine = regexp.MustCompile(`admin API on (\S+)`)

// startProcess starts a proxy as a process of its own.
func startProcess(t testing.TB, yaml string) *front {
	t.Helper()
	f := &front{path: filepath.Join(t.TempDir(), "strangler.yaml"), access: &journal{}}
	if err := os.WriteFile(f.path, []byte(frontHead+yaml), 0o600); err != nil {
		t.Fatal(err)
	}
	said := &journal{}
	p := process(t, said, "proxy "+f.path)
	_, f.address, _ = strings.Cut(p.URL, "://")
	f.admin = adminLine.FindStringSubmatch(string(said.bytes()))[1]
	f.end = func() {
		ctx, cancel := context.WithTimeout(context.Background(), guard)
		defer cancel()
		if err := p.Stop(ctx); err != nil {
			t.Error(err)
		}
	}
	return f
}

// serveService is a service at an address that notes the writes it gets, each
// as a line of a file, and answers as /_mode says: well, slow or reset.
func serveService(ctx context.Context, argument string) error {
	address, ids, _ := strings.Cut(argument, " ")
	noted, err := os.OpenFile(ids, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer noted.Close()
	var mode atomic.Value
	mode.Store("well")
	mux := http.NewServeMux()
	mux.HandleFunc("/_mode/{mode}", func(_ http.ResponseWriter, r *http.Request) { mode.Store(r.PathValue("mode")) })
	mux.HandleFunc("POST /write", func(w http.ResponseWriter, r *http.Request) {
		id, err := io.ReadAll(r.Body)
		if err != nil {
			return // not a whole one
		}
		if _, err := noted.Write(append(id, '\n')); err != nil {
			panic(err)
		}
		behave(w, r, mode.Load().(string), http.StatusCreated)
	})
	mux.HandleFunc("GET /read", func(w http.ResponseWriter, r *http.Request) { behave(w, r, mode.Load().(string), http.StatusOK) })
	var listening net.ListenConfig
	var l net.Listener
	for ctx.Err() == nil { // the port is free once the kernel has cleaned up after who was killed
		if l, err = listening.Listen(ctx, "tcp", address); err == nil {
			break
		}
		time.Sleep(time.Millisecond)
	}
	if err != nil {
		return err
	}
	fmt.Printf("listening on http://%s\n", address)
	protocols := &http.Protocols{}
	protocols.SetHTTP1(true)
	protocols.SetUnencryptedHTTP2(true)
	server := &http.Server{Handler: mux, Protocols: protocols, ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)}
	defer context.AfterFunc(ctx, func() { server.Close() })()
	_ = server.Serve(l)
	return nil
}

// slowness is longer than the second after which the monolith answers a read.
const slowness = 1500 * time.Millisecond

// behave answers as a service does in its mode.
func behave(w http.ResponseWriter, r *http.Request, mode string, status int) {
	w.Header().Set("X-Answered-By", "service")
	switch mode {
	case "slow":
		select {
		case <-time.After(slowness):
		case <-r.Context().Done():
			return
		}
	case "reset":
		if r.ProtoMajor == 2 {
			w.WriteHeader(status)
			io.WriteString(w, "half an answer")
			flush(w)
			panic(http.ErrAbortHandler) // resets the stream
		}
		conn, buffered, err := http.NewResponseController(w).Hijack()
		if err != nil {
			panic(err)
		}
		fmt.Fprintf(buffered, "HTTP/1.1 %d Half\r\nContent-Length: 100000\r\n\r\nhalf an answer", status)
		buffered.Flush()
		conn.(*net.TCPConn).SetLinger(0) // a reset, not an end
		conn.Close()
		return
	}
	w.WriteHeader(status)
	io.WriteString(w, strings.Repeat("service ", 100))
}

// ailing is a service process at an address, across its deaths.
type ailing struct {
	t       testing.TB
	address string
	ids     string // path of the file with the writes it got
	process *harness.Process
}

func newAiling(t testing.TB) *ailing {
	t.Helper()
	address, err := harness.FreePort()
	if err != nil {
		t.Fatal(err)
	}
	p := &ailing{t: t, address: address, ids: filepath.Join(t.TempDir(), "ids")}
	p.live()
	return p
}

// live starts the service.
func (p *ailing) live() { p.process = process(p.t, nil, "service "+p.address+" "+p.ids) }

// is changes the service's mode.
func (p *ailing) is(mode string) {
	p.t.Helper()
	res, err := http.Get("http://" + p.address + "/_mode/" + mode)
	if err != nil {
		p.t.Fatal(err)
	}
	res.Body.Close()
}

// signal sends a signal to the service.
func (p *ailing) signal(s syscall.Signal) {
	p.t.Helper()
	if err := p.process.Signal(s); err != nil {
		p.t.Fatal(err)
	}
}

// got counts the writes that the service has got, by id.
func (p *ailing) got() map[string]int {
	p.t.Helper()
	raw, err := os.ReadFile(p.ids)
	if err != nil {
		p.t.Fatal(err)
	}
	times := map[string]int{}
	for id := range strings.Lines(string(raw)) {
		times[strings.TrimSuffix(id, "\n")]++
	}
	return times
}
