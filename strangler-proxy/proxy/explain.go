package proxy

import (
	"net/http"

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
}

// Explain decides about a request without sending it.
func (p *Proxy) Explain(r *http.Request) Explanation {
	s := p.snapshot.Load()
	if s == nil {
		return Explanation{Refused: "the proxy is starting"}
	}
	path, err := route.Canonical(rawPath(r))
	if err != nil {
		return Explanation{Refused: err.Error()}
	}
	e := Explanation{Path: path}
	rt, err := s.Table.Lookup(r.Method, r.Host, path)
	if err != nil {
		e.Refused = err.Error()
		return e
	}
	e.Decision, e.URL = route.Decide(nil, r.Method, route.Client{}, route.Capability{}), s.Monolith.URL.String()
	if rt == nil {
		return e
	}
	c := s.Capabilities[rt.Capability]
	g, fr := p.gate(rt.Capability)
	who := p.identify(r, c.CanaryBy)
	e.Route, e.Capability, e.Owner = rt.ID, rt.Capability, rt.Owner.String()
	state := p.state(rt.Capability, c, g)
	e.Decision = route.Decide(rt, r.Method, p.client(nil, rt, who, fr, state.Owner), state)
	if rt.Owner.Stage == route.Canary && who.canaryKey == "" {
		e.Decision.Reason += "; the client has no key yet and would get one"
	}
	if e.Decision.Side == change.Service {
		e.URL = c.Service.URL.String()
	}
	return e
}
