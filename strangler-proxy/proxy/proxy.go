// Package proxy is the data plane: for each request it decides who answers,
// holds writes while a switch lasts, forwards, and falls back where that is
// safe. What it decides by is a [Snapshot], replaced whole and atomically.
//
// Start at [Proxy.ServeHTTP]. Package proxy knows nothing of files, evidence
// or data; control tells it what to obey, and the engine moves its gates.
package proxy

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/http/httputil"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"stranglerfig/migrations/change"
	"stranglerfig/migrations/engine"
	"stranglerfig/strangler-proxy/route"
	"stranglerfig/strangler-proxy/upstream"
)

// Snapshot is everything the proxy obeys at a moment.
type Snapshot struct {
	Table        *route.Table
	Monolith     *upstream.Backend
	Capabilities map[string]Capability
	// FallbackAfter is how long a service may take to begin its answer to a
	// safe read before the monolith is asked.
	FallbackAfter time.Duration
}

// Capability is what the proxy needs to know of one.
type Capability struct {
	Service  *upstream.Backend
	CanaryBy string
	Data     bool // its writes obey a gate
}

// Options are what a proxy is made of.
type Options struct {
	Log     *slog.Logger // one record for each request; nil logs nothing
	Metrics *Metrics     // required
	Key     []byte       // signs our cookies
	Bounds  engine.Bounds
	// Synced returns a moment before which everything written to a side of a
	// capability is on the other one; zero where nothing follows.
	Synced func(capability string, from change.Side) time.Time
	// StaleAfter is how far behind a follower may be and still answer reads;
	// default 10 s.
	StaleAfter time.Duration
	Observers  []Observer
}

// Observer sees exchanges after they were answered.
type Observer interface {
	// Wants reports whether the exchange that begins is to be captured.
	Wants(r *route.Route, d route.Decision) bool
	// Observe takes a captured exchange. It must not block.
	Observe(x *Exchange)
}

// Exchange is a captured request with its answer.
type Exchange struct {
	Route      *route.Route // nil where none is declared
	Decision   route.Decision
	Method     string
	Path       string // canonical
	Query      string
	Host       string
	Header     http.Header // of the request
	Body       []byte      // of the request
	Status     int
	Answer     http.Header
	AnswerBody []byte
	Truncated  bool // a body was longer than [CaptureLimit], or not wanted to its end
	At         time.Time
	Took       time.Duration
}

// CaptureLimit bounds each captured body, in bytes.
const CaptureLimit = 256 << 10

// Proxy is an http.Handler. It implements [engine.Routes].
type Proxy struct {
	o        Options
	snapshot atomic.Pointer[Snapshot]
	reverse  *httputil.ReverseProxy

	mu    sync.RWMutex
	gates map[string]*gate
	fresh map[string]*fresh
}

var _ engine.Routes = (*Proxy)(nil)

// New returns a proxy that answers 503 until it is given a snapshot.
func New(o Options) *Proxy {
	if o.Synced == nil {
		o.Synced = func(string, change.Side) time.Time { return time.Time{} }
	}
	if o.StaleAfter == 0 {
		o.StaleAfter = 10 * time.Second
	}
	if o.Bounds == (engine.Bounds{}) {
		o.Bounds = engine.DefaultBounds()
	}
	p := &Proxy{o: o, gates: map[string]*gate{}, fresh: map[string]*fresh{}}
	p.reverse = &httputil.ReverseProxy{
		Rewrite: rewrite, Transport: forwarder{p}, FlushInterval: -1, BufferPool: &buffers{},
		ErrorHandler: p.fail, ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelError),
		ModifyResponse: arrived,
	}
	return p
}

// Obey makes the proxy decide by a snapshot from now on. Requests under way
// end as they began.
func (p *Proxy) Obey(s *Snapshot) {
	for name := range s.Capabilities {
		p.Know(name)
	}
	p.snapshot.Store(s)
}

// Know makes the gate of a capability, through which its writes will pass once
// a snapshot names it. Knowing it already changes nothing.
func (p *Proxy) Know(capability string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.gates[capability] == nil {
		p.gates[capability] = newGate(capability, p.o.Bounds)
		p.fresh[capability] = newFresh()
	}
}

func (p *Proxy) gate(capability string) (*gate, *fresh) {
	p.mu.RLock()
	defer p.mu.RUnlock()
	return p.gates[capability], p.fresh[capability]
}

// Hold implements [engine.Routes].
func (p *Proxy) Hold(ctx context.Context, capability string, b engine.Bounds) (engine.Held, error) {
	g, _ := p.gate(capability)
	if g == nil {
		return engine.Held{}, fmt.Errorf("the proxy knows no capability %q", capability)
	}
	return g.hold(ctx, b)
}

// Flip implements [engine.Routes].
func (p *Proxy) Flip(capability string, owner change.Side, epoch uint64) error {
	g, _ := p.gate(capability)
	if g == nil {
		return fmt.Errorf("the proxy knows no capability %q", capability)
	}
	if err := g.flip(owner, epoch); err != nil {
		return err
	}
	p.o.Metrics.epoch.WithLabelValues(capability).Set(float64(epoch))
	return nil
}

// Release implements [engine.Routes].
func (p *Proxy) Release(capability string) {
	if g, _ := p.gate(capability); g != nil {
		g.release()
	}
}

// Held returns how many writes of a capability wait at the moment.
func (p *Proxy) Held(capability string) int {
	if g, _ := p.gate(capability); g != nil {
		return g.queue()
	}
	return 0
}

// Owner returns the side that owns a capability's writes; false while nobody
// has named one.
func (p *Proxy) Owner(capability string) (owner change.Side, known bool) {
	g, _ := p.gate(capability)
	if g == nil {
		return "", false
	}
	now := g.now()
	return now.Owner, now.Known
}

// flight is one request on its way.
type flight struct {
	snapshot *Snapshot
	route    *route.Route
	decision route.Decision
	target   *upstream.Backend
	other    *upstream.Backend // asked instead if that is safe; nil: nobody is
	path     string
	fellBack string // why, if it did
	err      error
	held     time.Duration
	wrote    func() // notes that the client has written
}

type flightKey struct{}

// ServeHTTP decides, holds, forwards.
func (p *Proxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	begun := time.Now()
	f := &flight{snapshot: p.snapshot.Load()}
	out := &answer{ResponseWriter: w}
	defer func() { p.account(r, f, out, begun) }()
	if f.snapshot == nil {
		refuse(out, http.StatusServiceUnavailable, "the proxy is starting")
		return
	}
	path, err := route.Canonical(rawPath(r))
	if err == nil {
		f.path = path
		f.route, err = f.snapshot.Table.Lookup(r.Method, r.Host, path)
	}
	if err != nil {
		p.o.Metrics.refused.WithLabelValues("path").Inc()
		refuse(out, http.StatusBadRequest, err.Error())
		return
	}
	leave, err := p.decide(out, r, f)
	if err != nil {
		f.err = err
		p.o.Metrics.refused.WithLabelValues("paused").Inc()
		refuse(out, http.StatusServiceUnavailable, err.Error())
		return
	}
	defer leave()
	// Once more when all is said, should a write be committed only then.
	defer f.wrote()
	p.forward(out, r, f, begun)
}

// rawPath returns the path as it was sent.
func rawPath(r *http.Request) string {
	if strings.HasPrefix(r.RequestURI, "/") {
		path, _, _ := strings.Cut(r.RequestURI, "?")
		return path
	}
	return r.URL.EscapedPath()
}

// decide fills in who answers. leave must be called when the request has been
// answered; it is what a switch waits for.
func (p *Proxy) decide(w http.ResponseWriter, r *http.Request, f *flight) (leave func(), err error) {
	leave, f.wrote = func() {}, func() {}
	if !route.Reads(r.Method) {
		f.wrote = func() { p.noteWrite(r, f.snapshot) }
	}
	if f.route == nil {
		f.decision = route.Decide(nil, r.Method, route.Client{}, route.Capability{})
		f.target = f.snapshot.Monolith
		return leave, nil
	}
	capability := f.snapshot.Capabilities[f.route.Capability]
	g, fr := p.gate(f.route.Capability)
	who := p.identify(r, capability.CanaryBy)
	writes := f.route.WritesWith(r.Method)
	if capability.Data && !writes {
		// Whoever owns: neither side may answer before that is known.
		if err := g.awaitOwner(r.Context()); err != nil {
			return leave, err
		}
	}
	state := p.state(f.route.Capability, capability, g)
	client := p.client(w, f.route, who, fr, state.Owner)
	f.decision = route.Decide(f.route, r.Method, client, state)
	if capability.Data && writes {
		var passed route.Capability
		var left func()
		passed, f.held, left, err = g.pass(r.Context(), r.ContentLength)
		if err != nil {
			return leave, err
		}
		f.decision = route.Decide(f.route, r.Method, client, passed)
		leave = left
	}
	f.target, f.other = f.snapshot.Monolith, nil
	if f.decision.Side == change.Service {
		f.target = capability.Service
		if mayFallBack(f.route, r, state, client) {
			f.other = f.snapshot.Monolith
		}
	}
	return leave, nil
}

// state returns what decisions about a capability depend on now.
func (p *Proxy) state(name string, c Capability, g *gate) route.Capability {
	if !c.Data {
		return route.Capability{}
	}
	state := g.now()
	state.Stale = time.Since(p.o.Synced(name, state.Owner)) > p.o.StaleAfter
	return state
}

// client returns what decisions about a client depend on, making it sticky
// where a canary needs that.
func (p *Proxy) client(w http.ResponseWriter, r *route.Route, who identity, fr *fresh, owner change.Side) route.Client {
	var c route.Client
	c.Fresh = fr.is(who.ids, p.o.Synced(r.Capability, owner))
	switch r.Owner.Stage {
	case route.Shadow:
		c.Bucket = rand.IntN(10_000) // a share of requests, not of clients
	case route.Canary:
		key := who.canaryKey
		if key == "" && w != nil {
			id, cookie := p.newCookie()
			http.SetCookie(w, cookie)
			key = id
		}
		c.Bucket = route.Bucket(r.Capability, key)
	}
	return c
}

// mayFallBack says whether the monolith may answer in the service's place: a
// safe read without a body, by a client that would not miss its own writes,
// from data that is not stale.
func mayFallBack(rt *route.Route, r *http.Request, state route.Capability, cl route.Client) bool {
	if rt.Writes || !route.Reads(r.Method) || r.ContentLength != 0 || r.Header.Get("Upgrade") != "" {
		return false
	}
	return !state.Data || state.Owner == change.Monolith || !state.Stale && !cl.Fresh
}

// noteWrite remembers that a client has written, whatever the route: an order
// may make an invoice, and whoever ordered looks for it next.
func (p *Proxy) noteWrite(r *http.Request, s *Snapshot) {
	now := time.Now()
	for name, c := range s.Capabilities {
		if !c.Data {
			continue
		}
		g, fr := p.gate(name)
		fr.note(p.identify(r, c.CanaryBy).ids, now, p.o.Synced(name, g.now().Owner))
	}
}
