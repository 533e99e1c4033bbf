package proxy_test

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"stranglerfig/migrations/change"
	"stranglerfig/migrations/engine"
	"stranglerfig/strangler-proxy/listener"
	"stranglerfig/strangler-proxy/loop/looptest"
	"stranglerfig/strangler-proxy/proxy"
	"stranglerfig/strangler-proxy/route"
	"stranglerfig/strangler-proxy/upstream"
)

// application is a backend that says who it is, unless it is told to answer
// otherwise.
type application struct {
	name   string
	server *httptest.Server
	calls  atomic.Int64
	handle atomic.Pointer[http.HandlerFunc]
}

func newApplication(t testing.TB, name string) *application {
	t.Helper()
	a := &application{name: name}
	a.server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		a.calls.Add(1)
		w.Header().Set("X-Answered-By", name)
		if h := a.handle.Load(); h != nil {
			(*h)(w, r)
			return
		}
		io.Copy(io.Discard, r.Body)
		io.WriteString(w, name)
	}))
	t.Cleanup(a.server.Close)
	return a
}

func (a *application) answers(h http.HandlerFunc) { a.handle.Store(&h) }

func (a *application) backend(t testing.TB) *upstream.Backend {
	t.Helper()
	b, err := upstream.New(upstream.Options{Name: a.name, URLs: []string{a.server.URL}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	return b
}

// world is a proxy on a socket in front of a monolith and a service.
type world struct {
	t                 testing.TB
	monolith, service *application
	registry          *prometheus.Registry
	proxy             *proxy.Proxy
	front             *front
	client            *http.Client
	snapshot          proxy.Snapshot // what obey starts from
	sawSync           sync.Mutex
	synced            time.Time
}

// newWorld starts a world in which both sides are always in step. Tests may
// set options before the proxy is made.
func newWorld(t testing.TB, set ...func(*proxy.Options)) *world {
	t.Helper()
	w := &world{t: t, monolith: newApplication(t, "monolith"), service: newApplication(t, "service"), registry: prometheus.NewRegistry()}
	w.snapshot = proxy.Snapshot{Monolith: w.monolith.backend(t), FallbackAfter: time.Minute}
	w.snapshot.Capabilities = map[string]proxy.Capability{"billing": {Service: w.service.backend(t)}}
	o := proxy.Options{Metrics: proxy.NewMetrics(w.registry), Key: []byte("key"), Synced: func(string, change.Side) time.Time {
		w.sawSync.Lock()
		defer w.sawSync.Unlock()
		if w.synced.IsZero() {
			return time.Now()
		}
		return w.synced
	}}
	for _, f := range set {
		f(&o)
	}
	w.proxy = proxy.New(o)
	w.front = serve(t, w.proxy)
	w.client = &http.Client{
		Transport:     &http.Transport{DisableCompression: true, MaxIdleConnsPerHost: 64},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	t.Cleanup(w.client.CloseIdleConnections)
	return w
}

// front is where a world's clients are served.
type front struct {
	URL      string
	Listener net.Listener
	server   *listener.Server
	ended    chan error
	once     sync.Once
}

func TestMain(m *testing.M) { looptest.Main(m) }

func serve(t testing.TB, p *proxy.Proxy) *front {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return serveOn(t, p, l)
}

func serveOn(t testing.TB, p *proxy.Proxy, l net.Listener) *front {
	t.Helper()
	f := &front{URL: "http://" + l.Addr().String(), Listener: l, server: listener.New(listener.Options{Loops: looptest.Loops(), HTTP1: p.ServeHTTP1, HTTP2: p}), ended: make(chan error, 1)}
	go func() { f.ended <- f.server.Serve(l) }()
	t.Cleanup(f.Close)
	return f
}

// Close waits until every request has ended.
func (f *front) Close() {
	f.once.Do(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if f.server.Shutdown(ctx) != nil {
			f.server.Close()
		}
		<-f.ended
	})
}

// sync says up to when the follower has everything; the zero time means now.
func (w *world) sync(at time.Time) {
	w.sawSync.Lock()
	defer w.sawSync.Unlock()
	w.synced = at
}

// change alters the capability before the next obey.
func (w *world) change(f func(*proxy.Capability)) {
	c := w.snapshot.Capabilities["billing"]
	f(&c)
	w.snapshot.Capabilities = map[string]proxy.Capability{"billing": c}
}

// obey makes the proxy obey "ID=word" pairs.
func (w *world) obey(pairs ...string) {
	w.t.Helper()
	var routes []route.Route
	for _, pair := range pairs {
		at := strings.LastIndexByte(pair, '=') // an ID may hold some itself
		id, word := pair[:at], pair[at+1:]
		r, err := route.Parse(id)
		if err != nil {
			w.t.Fatal(err)
		}
		if r.Owner, err = route.ParseOwner(word); err != nil {
			w.t.Fatal(err)
		}
		r.Capability = "billing"
		routes = append(routes, r)
	}
	table, problems := route.Compile(routes, route.Profile{})
	if len(problems) > 0 {
		w.t.Fatal(problems)
	}
	s := w.snapshot
	s.Table = table
	w.proxy.Obey(&s)
}

// moving makes billing's data move, owned by a side.
func (w *world) moving(owner change.Side, pairs ...string) {
	w.t.Helper()
	w.change(func(c *proxy.Capability) { c.Data = true })
	w.obey(pairs...)
	if err := w.proxy.Flip("billing", owner, 1); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) request(method, path, body string, header ...string) *http.Request {
	w.t.Helper()
	var in io.Reader
	if body != "" {
		in = strings.NewReader(body)
	}
	r, err := http.NewRequest(method, w.front.URL+path, in)
	if err != nil {
		w.t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		r.Header.Add(header[i], header[i+1])
	}
	return r
}

// reply is an answer that has been read to its end.
type reply struct {
	*http.Response
	body string
	err  error // of the request, or of reading the body
}

// by is who answered.
func (r reply) by() string {
	if r.Response == nil {
		return "nobody"
	}
	return r.Header.Get("X-Answered-By")
}

func (w *world) do(r *http.Request) reply {
	res, err := w.client.Do(r)
	if err != nil {
		return reply{err: err}
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	return reply{res, string(body), err}
}

// ask sends a request that must be answered.
func (w *world) ask(method, path, body string, header ...string) reply {
	w.t.Helper()
	got := w.do(w.request(method, path, body, header...))
	if got.err != nil {
		w.t.Fatalf("%s %s: %v", method, path, got.err)
	}
	return got
}

// later sends a request on its own.
func (w *world) later(ctx context.Context, method, path, body string, header ...string) <-chan reply {
	w.t.Helper()
	r := w.request(method, path, body, header...).WithContext(ctx)
	answered := make(chan reply, 1)
	go func() { answered <- w.do(r) }()
	return answered
}

// raw sends bytes and returns what a client reads as the answer.
func (w *world) raw(text string) *http.Response {
	w.t.Helper()
	conn, err := net.Dial("tcp", w.front.Listener.Addr().String())
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { conn.Close() })
	if _, err := io.WriteString(conn, text); err != nil {
		w.t.Fatal(err)
	}
	res, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		w.t.Fatal(err)
	}
	return res
}

// hold begins a hold that must come about.
func (w *world) hold(b engine.Bounds) engine.Held {
	w.t.Helper()
	held, err := w.proxy.Hold(w.t.Context(), "billing", b)
	if err != nil {
		w.t.Fatal(err)
	}
	return held
}

// untilHeld returns when a number of writes wait.
func (w *world) untilHeld(n int) {
	for w.proxy.Held("billing") != n {
		runtime.Gosched()
	}
}

// number returns the value of a counter or gauge, added up over its labels.
func (w *world) number(name string) float64 {
	w.t.Helper()
	families, err := w.registry.Gather()
	if err != nil {
		w.t.Fatal(err)
	}
	var sum float64
	for _, f := range families {
		if f.GetName() != name {
			continue
		}
		for _, m := range f.GetMetric() {
			sum += m.GetCounter().GetValue() + m.GetGauge().GetValue()
		}
	}
	return sum
}

var roomy = engine.Bounds{Requests: 1000, Bytes: 1 << 20, Wait: time.Minute}
