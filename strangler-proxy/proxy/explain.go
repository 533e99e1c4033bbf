package proxy

import (
	"net/http"
	"time"

	"stranglerfig/migrations/change"
	"stranglerfig/strangler-proxy/route"
)

// Explanation says what would happen to a request.
type Explanation struct {
	Path       string         `json:"path"`
	Route      string         `json:"route,omitempty"`
	Capability string         `json:"capability,omitempty"`
	Owner      string         `json:"owner,omitempty"` // the route's word
	Decision   route.Decision `json:"decision"`
	URL        string         `json:"url"`
	Refused    string         `json:"refused,omitempty"`
	Override   string         `json:"override,omitempty"` // what becomes of the tester's token that it has
	Passed     []string       `json:"passed,omitempty"`   // routes that ask for what the request lacks
}

// Explain decides about a request without sending it.
func (p *Proxy) Explain(r *http.Request) Explanation {
	f := flight{asked: inquire(r), from: p.origin(r.RemoteAddr, r.TLS != nil), obeyed: p.obeyed.Load(), begun: time.Now()}
	f.asked.client = p.o.Forwarding.client(f.from, f.asked.fields)
	if f.asked.method == http.MethodPost && f.asked.length == 0 {
		f.asked.length = -1 // it is asked about without the body that it will have
	}
	if f.obeyed == nil {
		return Explanation{Refused: errStarting.Error()}
	}
	if err := f.find(); err != nil {
		return Explanation{Path: f.path, Refused: err.Error()}
	}
	e := Explanation{Path: f.path}
	if f.path != everything {
		_, e.Passed, _ = f.obeyed.Table.Explain(f.question())
	}
	e.Decision, e.URL = route.Decide(nil, r.Method, route.Client{}, route.Capability{}), f.obeyed.Monolith.URL.String()
	if f.route == nil {
		return e
	}
	f.capability = f.obeyed.capabilities[f.route.Capability]
	e.Route, e.Capability, e.Owner = f.route.ID, f.route.Capability, f.route.Owner.String()
	f.readOverride()
	state := p.state(f.capability)
	e.Decision = route.Decide(f.route, r.Method, p.client(&f, state.Owner, false), state)
	f.decision = e.Decision
	e.Override = f.sayOverride()
	if f.keyless {
		e.Decision.Reason += "; the client has no key yet and would get one"
	}
	if e.Decision.Side == change.Service {
		e.URL = f.capability.Service.URL.String()
	}
	return e
}
