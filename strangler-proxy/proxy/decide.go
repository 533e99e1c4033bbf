package proxy

import (
	"context"
	"errors"
	"math/rand/v2"
	"net/http"
	"time"

	"stranglerfig/migrations/change"
	"stranglerfig/strangler-proxy/http1"
	"stranglerfig/strangler-proxy/route"
	"stranglerfig/strangler-proxy/trace"
	"stranglerfig/strangler-proxy/upstream"
)

// asked is a request as far as a decision needs it, whichever engine has read
// it.
type asked struct {
	method, host string
	target       string // the path as it was sent
	query        string
	length       int64  // of the body, -1 where it is not known before its end
	upgrade      bool   // the client wants another protocol
	client       string // address of the client, without a port
	id           string // of the request; "" where it has none
	fields       fields
}

// fields are a request's header.
type fields interface {
	// Header returns the first value of a field.
	Header(name string) string
	// Cookie returns the value of a cookie.
	Cookie(name string) string
	// All returns every field.
	All() route.Header
}

// obeyed is a snapshot with what the proxy keeps beside it.
type obeyed struct {
	*Snapshot
	capabilities map[string]*capability
	counters     []*counters // of the routes, by their places
}

// capability is what the proxy keeps of one.
type capability struct {
	Capability
	name  string
	gate  *gate
	fresh *fresh
}

// everything is the target of a request that is about the whole monolith.
const everything = "*"

// find canonicalises the path and looks up its route.
func (f *flight) find() error {
	if f.asked.target == everything && f.asked.method == http.MethodOptions {
		f.path, f.with = everything, everything
		return f.undisguised()
	}
	path, err := route.Canonical(f.asked.target)
	if err != nil {
		return err
	}
	if f.path, f.with, err = f.obeyed.Table.Normal(path); err != nil {
		return err
	}
	if f.route, err = f.obeyed.Table.Lookup(f.question()); err != nil {
		return err
	}
	if f.obeyed.Table.Len() == 0 {
		return nil
	}
	if err := f.undisguised(); err != nil {
		return err
	}
	f.path, f.with = f.obeyed.Table.Spell(f.route, f.path, f.with)
	return nil
}

// reasonOf says by what word a request that found no route is counted.
func reasonOf(err error) string {
	var doubt *route.DoubtError
	var disguised *disguisedError
	switch {
	case errors.As(err, &doubt):
		return "predicate"
	case errors.As(err, &disguised):
		return disguised.reason
	}
	return "path"
}

// question is what a route is looked up by.
func (f *flight) question() route.Request {
	q := route.Request{Method: f.asked.method, Host: f.asked.host, Path: f.path, Query: f.asked.query}
	if f.obeyed.Table.Asks() {
		q.Header = f.asked.fields.All()
	}
	return q
}

// decide fills in who answers, waiting where nobody may yet. The flight is
// left, by [flight.land], when the request has been answered; that is what a
// switch waits for.
func (p *Proxy) decide(ctx context.Context, f *flight) error {
	f.readOverride()
	if f.route == nil {
		f.decision = route.Decide(nil, f.asked.method, route.Client{}, route.Capability{})
		f.target = f.obeyed.Monolith
		return nil
	}
	c := f.obeyed.capabilities[f.route.Capability]
	f.capability = c
	writes := f.route.WritesWith(f.asked.method)
	if c.Data && !writes {
		// Whoever owns: neither side may answer before that is known.
		if err := c.gate.awaitOwner(ctx); err != nil {
			return err
		}
	}
	state := p.state(c)
	client := p.client(f, state.Owner, true)
	f.decision = route.Decide(f.route, f.asked.method, client, state)
	if c.Data && writes {
		passed, held, err := c.gate.pass(ctx, f.asked.length)
		f.held = held
		if err != nil {
			return err
		}
		f.inside, passed.Isolated = c.gate, c.Isolated
		f.decision = route.Decide(f.route, f.asked.method, client, passed)
	}
	f.target, f.other = f.obeyed.Monolith, nil
	if f.decision.Side == change.Service {
		f.target = c.Service
		if mayFallBack(f, state, client) {
			f.other = f.obeyed.Monolith
		}
	}
	return nil
}

// state returns what decisions about a capability depend on now.
func (p *Proxy) state(c *capability) route.Capability {
	if !c.Data {
		return route.Capability{Isolated: c.Isolated}
	}
	state := c.gate.now()
	state.Reverse, state.Isolated = c.Reverse, c.Isolated
	state.Stale = time.Since(p.o.Synced(c.name, state.Owner)) > p.o.StaleAfter
	return state
}

// client returns what decisions about a client depend on. Where a canary needs
// a key and the client has none, it is given one, if there is an answer to
// give it with.
func (p *Proxy) client(f *flight, owner change.Side, give bool) route.Client {
	stage := f.route.Owner.Stage
	if !f.capability.Data && (stage != route.Canary && stage != route.Shadow || f.override != "") {
		return route.Client{Override: f.override}
	}
	who := p.identify(&f.asked, f.capability.CanaryBy)
	c := route.Client{Override: f.override}
	if f.capability.Data {
		c.Fresh = f.capability.fresh.is(who.known(), p.o.Synced(f.capability.name, owner))
	}
	if f.capability.Reverse > 0 {
		c.Chance = rand.IntN(10_000)
	}
	switch stage {
	case route.Shadow:
		c.Bucket = rand.IntN(10_000) // a share of requests, not of clients
	case route.Canary:
		if f.override != "" {
			break
		}
		key := who.canaryKey
		if key == "" {
			f.keyless = true
			if give {
				key, f.cookie = p.newCookie()
			}
		}
		c.Bucket = route.Bucket(f.route.Capability, key)
	}
	return c
}

// mayFallBack says whether the monolith may answer in the service's place: a
// safe read without a body, by a client that would not miss its own writes,
// from data that is not stale.
func mayFallBack(f *flight, state route.Capability, cl route.Client) bool {
	if f.override != "" || f.route.Writes || !route.Reads(f.asked.method) || f.asked.length != 0 || f.asked.upgrade {
		return false
	}
	return !state.Data || state.Owner == change.Monolith || !state.Stale && !cl.Fresh
}

// wrote remembers that a client has written, whatever the route: an order may
// make an invoice, and whoever ordered looks for it next. It is noted before
// the client can hear of the answer and ask, and once more when all is said,
// should the write be committed only then.
func (p *Proxy) wrote(f *flight) {
	if f.decided && !route.Reads(f.asked.method) {
		now := time.Now()
		for name, c := range f.obeyed.capabilities {
			if c.Data {
				who := p.identify(&f.asked, c.CanaryBy)
				c.fresh.note(who.known(), now, p.o.Synced(name, c.gate.now().Owner))
			}
		}
	}
}

// flight is one request on its way.
type flight struct {
	asked      asked
	from       origin
	told       []http1.Field // what backends are told about the client
	obeyed     *obeyed
	begun      time.Time
	path       string // the one form that was routed
	with       string // the same with its parameters
	route      *route.Route
	capability *capability
	counted    bool // among those under way
	decided    bool
	decision   route.Decision
	target     *upstream.Backend
	other      *upstream.Backend // asked instead if that is safe; nil: nobody is
	inside     *gate             // which counts this write as under way
	keyless    bool              // a canary's client without a key
	override   change.Side       // that a tester's token asks for; "" where none is obeyed
	overridden string            // what became of a token, for whoever sent it; "" where there is none
	inCookie   bool              // it came in one
	cookie     string            // Set-Cookie that makes the client sticky; "" where it is, or need not be
	fellBack   string            // why, if it did
	err        error
	span       *trace.Span // nil: there is none
	held       time.Duration
	status     int   // answered; 0: nothing was
	bytes      int64 // of the answer's body
}

// manners are how the target likes to be spoken to.
func (f *flight) manners() Manners {
	if len(f.obeyed.Manners) == 0 {
		return Manners{}
	}
	return f.obeyed.Manners[f.target]
}

// pathFor is the path that the target is asked for.
func (f *flight) pathFor() string {
	if f.with != f.path && f.manners().Parameters {
		return f.with
	}
	return f.path
}

// hostFor is the host that the target is asked for.
func (f *flight) hostFor() string {
	if f.asked.host == "" || f.manners().OwnHost {
		return f.target.URL.Host
	}
	return f.asked.host
}

// land ends a flight.
func (p *Proxy) land(f *flight) {
	if f.counted {
		p.underWay.Add(-1)
	}
	if f.inside != nil {
		p.wrote(f)
		f.inside.leave()
		f.inside = nil
	} else {
		p.wrote(f)
	}
	p.account(f)
}
