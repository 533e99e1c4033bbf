package shadow_test

import (
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"stranglerfig/contract-tests/tape"
	"stranglerfig/migrations/change"
	"stranglerfig/strangler-proxy/listener"
	"stranglerfig/strangler-proxy/loop"
	"stranglerfig/strangler-proxy/loop/looptest"
	"stranglerfig/strangler-proxy/proxy"
	"stranglerfig/strangler-proxy/route"
	"stranglerfig/strangler-proxy/shadow"
	"stranglerfig/strangler-proxy/upstream"
)

func TestMain(m *testing.M) { looptest.Main(m) }

// world is a proxy that shadows billing.
type world struct {
	t                 testing.TB
	monolith, service atomic.Pointer[http.HandlerFunc]
	mirrored          atomic.Int64 // requests that the service got
	asked             atomic.Int64 // requests that the monolith got
	owner             atomic.Value
	gone              atomic.Bool // the capability is in no config any more
	synced            atomic.Pointer[time.Time]
	serviceServer     *httptest.Server
	shadow            *shadow.Shadow
	proxy             *proxy.Proxy
	snapshot          proxy.Snapshot
	routes            []route.Route
	front             string // where clients are served
	registry          *prometheus.Registry
	options           shadow.Options
	live              atomic.Pointer[shadow.Shadow]    // the one that the proxy shows exchanges
	isolated          atomic.Pointer[http.HandlerFunc] // where a store of its own is asked
	isolatedAsked     atomic.Int64
}

func newWorld(t testing.TB, set ...func(*shadow.Options)) *world {
	t.Helper()
	w := &world{t: t}
	w.set(set...)
	return w
}

// set builds the world.
func (w *world) set(set ...func(*shadow.Options)) {
	t := w.t
	t.Helper()
	w.registry = prometheus.NewRegistry()
	w.owner.Store(change.Monolith)
	w.synced.Store(&time.Time{})
	monolith := w.backend("monolith", &w.monolith, &w.asked)
	service := w.backend("service", &w.service, &w.mirrored)
	o := shadow.Options{
		Queue: 16, Body: 1 << 10, Timeout: time.Minute, Metrics: w.registry,
		Backends: func(capability string) (*upstream.Backend, *upstream.Backend) {
			if capability != "billing" || w.gone.Load() {
				return monolith, nil
			}
			return monolith, service
		},
		Owner:  func(string) change.Side { return w.owner.Load().(change.Side) },
		Synced: func(string, change.Side) time.Time { return *w.synced.Load() },
		Redact: tape.NewRedactor([]byte("key"), nil).Redact,
	}
	for _, f := range set {
		f(&o)
	}
	w.options = o
	w.shadow = shadow.New(o)
	w.live.Store(w.shadow)
	t.Cleanup(func() { w.shadow.Close() })
	w.proxy = proxy.New(proxy.Options{
		Metrics: proxy.NewMetrics(w.registry), Observers: []proxy.Observer{w},
		Synced: func(string, change.Side) time.Time { return time.Now() },
	})
	for _, id := range []string{"GET /invoices", "GET /invoices/{id}", "POST /invoices", "/either"} {
		r, err := route.Parse(id)
		if err != nil {
			t.Fatal(err)
		}
		r.Capability, r.Owner = "billing", route.Owner{Stage: route.Shadow, Share: 100}
		w.routes = append(w.routes, r)
	}
	w.snapshot = proxy.Snapshot{Monolith: monolith, FallbackAfter: time.Minute, Capabilities: map[string]proxy.Capability{"billing": {Service: service}}}
	w.obey(func(*proxy.Capability, []route.Route) {})
	w.serve()
}

// toService is the service's backend, as clients depend on it.
func (w *world) toService() *upstream.Backend { return w.snapshot.Capabilities["billing"].Service }

// post writes.
func (w *world) post(path, body string) {
	w.t.Helper()
	res, err := http.Post(w.front+path, "application/json", strings.NewReader(body))
	if err != nil {
		w.t.Fatal(err)
	}
	res.Body.Close()
}

// expect reads, and must be answered with a status.
func (w *world) expect(status int) {
	res, err := http.Get(w.front + "/invoices")
	if err != nil {
		w.t.Error(err)
		return
	}
	defer res.Body.Close()
	if _, err := io.Copy(io.Discard, res.Body); err != nil || res.StatusCode != status {
		w.t.Errorf("answered %d, %v", res.StatusCode, err)
	}
}

// Wants and Observe pass on to the shadow, which may be another after a restart.
func (w *world) Wants(r *route.Route, d route.Decision) bool { return w.live.Load().Wants(r, d) }
func (w *world) Observe(x *proxy.Exchange, on *loop.Task)    { w.live.Load().Observe(x, on) }

// obey changes what the proxy obeys.
func (w *world) obey(change func(*proxy.Capability, []route.Route)) {
	w.t.Helper()
	one := w.snapshot.Capabilities["billing"]
	change(&one, w.routes)
	table, problems := route.Compile(w.routes, route.Profile{})
	if len(problems) > 0 {
		w.t.Fatal(problems)
	}
	s := w.snapshot
	s.Table, s.Capabilities = table, map[string]proxy.Capability{"billing": one}
	w.snapshot = s
	w.proxy.Obey(&s)
}

// owned gives every route an owner word.
func owned(o route.Owner) func(*proxy.Capability, []route.Route) {
	return func(_ *proxy.Capability, routes []route.Route) {
		for i := range routes {
			routes[i].Owner = o
		}
	}
}

// serve lets clients in, as the command does.
func (w *world) serve() {
	w.t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		w.t.Fatal(err)
	}
	server := listener.New(listener.Options{Loops: looptest.Loops(), HTTP1: w.proxy.ServeHTTP1, HTTP2: w.proxy})
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(l) }()
	w.t.Cleanup(func() {
		server.Close()
		<-ended
	})
	w.front = "http://" + l.Addr().String()
}

// cutOver makes the service the owner of billing's data and of its reads.
func (w *world) cutOver(reverse float64) {
	w.t.Helper()
	w.owner.Store(change.Service)
	w.proxy.Know("billing")
	if err := w.proxy.Flip("billing", change.Service, 2); err != nil {
		w.t.Fatal(err)
	}
	w.obey(func(c *proxy.Capability, routes []route.Route) {
		c.Data, c.Reverse = true, reverse
		for i := range routes {
			routes[i].Owner = route.Owner{Stage: route.Service, Share: 100}
		}
	})
}

// isolate declares a store of its own for writes.
func isolate(o *shadow.Options, w *world) {
	store := w.backend("isolated", &w.isolated, &w.isolatedAsked)
	o.Isolated = func(string) *upstream.Backend { return store }
}

// restart makes another process's shadow of the same file.
func (w *world) restart() {
	w.t.Helper()
	w.shadow.Close()
	w.options.Metrics = prometheus.NewRegistry()
	w.shadow = shadow.New(w.options)
	w.live.Store(w.shadow)
}

// kept lets what was found be kept in a file, whose path it returns.
func kept(t testing.TB, o *shadow.Options) string {
	o.Path = filepath.Join(t.TempDir(), "shadow.json")
	o.Failed = func(err error) { t.Error(err) }
	return o.Path
}

func (w *world) backend(name string, h *atomic.Pointer[http.HandlerFunc], calls *atomic.Int64) *upstream.Backend {
	says(h, `{"total": 1}`)
	s := httptest.NewServer(http.HandlerFunc(func(out http.ResponseWriter, r *http.Request) {
		calls.Add(1)
		out.Header().Set("Content-Type", "application/json")
		(*h.Load())(out, r)
	}))
	if name == "service" {
		w.serviceServer = s
	}
	w.t.Cleanup(s.Close)
	b, err := upstream.New(upstream.Options{Name: name, URLs: []string{s.URL}})
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(b.Close)
	return b
}

func answers(h *atomic.Pointer[http.HandlerFunc], f http.HandlerFunc) { h.Store(&f) }

func says(h *atomic.Pointer[http.HandlerFunc], body string) {
	answers(h, func(out http.ResponseWriter, _ *http.Request) { io.WriteString(out, body) })
}

// ask sends a request, which the monolith must answer.
func (w *world) ask(method, path string) {
	w.t.Helper()
	r, err := http.NewRequest(method, w.front+path, nil)
	if err != nil {
		w.t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer someone")
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		w.t.Fatal(err)
	}
	defer res.Body.Close()
	if _, err := io.Copy(io.Discard, res.Body); err != nil {
		w.t.Fatal(err)
	}
}

// until returns the counts of a route once they satisfy a condition.
func (w *world) until(id string, ok func(shadow.Count) bool) shadow.Count {
	w.t.Helper()
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); runtime.Gosched() {
		for _, c := range w.shadow.Counts() {
			if c.Route == id && ok(c) {
				return c
			}
		}
	}
	w.t.Fatalf("what was waited for did not come: %+v", w.shadow.Counts())
	return shadow.Count{}
}

// idle waits until nothing is mirrored any more, which comes after the counts.
func (w *world) idle() {
	w.t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !w.shadow.Idle(); runtime.Gosched() {
		if time.Now().After(deadline) {
			w.t.Fatal("something is mirrored for ever")
		}
	}
}

func judged(n int64) func(shadow.Count) bool {
	return func(c shadow.Count) bool { return c.Compared+c.Incomparable+c.Dropped == n }
}
