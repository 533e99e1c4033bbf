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
	"net/http/httputil"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"stranglerfig/migrations/change"
	"stranglerfig/migrations/engine"
	"stranglerfig/strangler-proxy/route"
	"stranglerfig/strangler-proxy/trace"
	"stranglerfig/strangler-proxy/upstream"
)

// Snapshot is everything the proxy obeys at a moment.
type Snapshot struct {
	Table        *route.Table
	Monolith     *upstream.Backend
	Capabilities map[string]Capability
	// Manners of the backends that have any.
	Manners map[*upstream.Backend]Manners
	// FallbackAfter is how long a service may take to begin its answer to a
	// safe read before the monolith is asked.
	FallbackAfter time.Duration
	// OverrideKey is what testers' overrides are signed with; empty: there are
	// none.
	OverrideKey []byte
}

// Capability is what the proxy needs to know of one.
type Capability struct {
	Service  *upstream.Backend
	CanaryBy string
	Data     bool // its writes obey a gate
	// Reverse and Isolated say what is mirrored besides what routes ask for; see
	// [route.Capability].
	Reverse  float64
	Isolated bool
}

// Options are what a proxy is made of.
type Options struct {
	Log     *AccessLog // one line for each request; nil logs nothing
	Metrics *Metrics   // required
	Key     []byte     // signs our cookies
	Bounds  engine.Bounds
	Limits  Limits
	// Forwarding says what backends are told about clients.
	Forwarding Forwarding
	// Synced returns a moment before which everything written to a side of a
	// capability is on the other one; zero where nothing follows.
	Synced func(capability string, from change.Side) time.Time
	// StaleAfter is how far behind a follower may be and still answer reads;
	// default 10 s.
	StaleAfter time.Duration
	Observers  []Observer
	Capture    int // bytes of each body that observers are shown; default [CaptureLimit]
	// Tracer makes spans of requests; nil: there are none, and what clients say
	// of traces is passed on like anything else.
	Tracer *trace.Tracer
	// Panicked is told what went wrong with a connection, which ends; nil: nobody
	// is.
	Panicked func(reason any, stack []byte)
}

// Proxy is an http.Handler. It implements [engine.Routes].
type Proxy struct {
	o          Options
	obeyed     atomic.Pointer[obeyed]
	reverse    *httputil.ReverseProxy
	undeclared *counters    // of requests for what no capability declares
	underWay   atomic.Int64 // requests

	mu    sync.Mutex
	known map[string]*capability
}

var _ engine.Routes = (*Proxy)(nil)

// mishap notes a defect of ours that has ended one request, and no more than
// that. It is called where the panic is recovered from.
func (p *Proxy) mishap(reason any) {
	p.Refused("panic")
	p.o.Panicked(reason, debug.Stack())
}

// New returns a proxy that answers 503 until it is given a snapshot.
func New(o Options) *Proxy {
	if o.Synced == nil {
		o.Synced = func(string, change.Side) time.Time { return time.Time{} }
	}
	if o.Panicked == nil {
		o.Panicked = func(any, []byte) {}
	}
	if o.StaleAfter == 0 {
		o.StaleAfter = 10 * time.Second
	}
	if o.Capture == 0 {
		o.Capture = CaptureLimit
	}
	if o.Bounds == (engine.Bounds{}) {
		o.Bounds = engine.DefaultBounds()
	}
	o.Limits = o.Limits.withDefaults()
	o.Forwarding = o.Forwarding.withDefaults()
	o.Forwarding.traced = o.Tracer != nil
	p := &Proxy{o: o, known: map[string]*capability{}, undeclared: o.Metrics.requests.of(noRoute)}
	p.reverse = p.reverseProxy()
	return p
}

// Obey makes the proxy decide by a snapshot from now on. Requests under way
// end as they began.
func (p *Proxy) Obey(s *Snapshot) {
	now := &obeyed{Snapshot: s, capabilities: make(map[string]*capability, len(s.Capabilities))}
	for name, declared := range s.Capabilities {
		kept := *p.know(name)
		kept.Capability = declared
		now.capabilities[name] = &kept
	}
	now.counters = p.o.Metrics.requests.ofTable(s.Table, p.obeyed.Load())
	p.obeyed.Store(now)
}

// Know makes the gate of a capability, through which its writes will pass once
// a snapshot names it. Knowing it already changes nothing.
func (p *Proxy) Know(name string) { p.know(name) }

func (p *Proxy) know(name string) *capability {
	p.mu.Lock()
	defer p.mu.Unlock()
	c := p.known[name]
	if c == nil {
		c = &capability{name: name, gate: newGate(name, p.o.Bounds), fresh: newFresh()}
		p.known[name] = c
	}
	return c
}

// gate returns the gate of a capability; nil where it is not known.
func (p *Proxy) gate(name string) *gate {
	p.mu.Lock()
	defer p.mu.Unlock()
	if c := p.known[name]; c != nil {
		return c.gate
	}
	return nil
}

// Hold implements [engine.Routes].
func (p *Proxy) Hold(ctx context.Context, capability string, b engine.Bounds) (engine.Held, error) {
	g := p.gate(capability)
	if g == nil {
		return engine.Held{}, fmt.Errorf("the proxy knows no capability %q", capability)
	}
	return g.hold(ctx, b)
}

// Flip implements [engine.Routes].
func (p *Proxy) Flip(capability string, owner change.Side, epoch uint64) error {
	g := p.gate(capability)
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
	if g := p.gate(capability); g != nil {
		g.release()
	}
}

// Held returns how many writes of a capability wait at the moment.
func (p *Proxy) Held(capability string) int {
	if g := p.gate(capability); g != nil {
		return g.queue()
	}
	return 0
}

// Owner returns the side that owns a capability's writes; false while nobody
// has named one.
func (p *Proxy) Owner(capability string) (owner change.Side, known bool) {
	g := p.gate(capability)
	if g == nil {
		return "", false
	}
	now := g.now()
	return now.Owner, now.Known
}
