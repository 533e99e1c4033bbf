package control

import (
	"context"
	"encoding/json"
	"os"

	"stranglerfig/migrations/change"
	"stranglerfig/strangler-proxy/config"
	"stranglerfig/strangler-proxy/control/api"
)

// Status tells where everything stands.
func (c *Control) Status(ctx context.Context) api.Status {
	cfg := c.config()
	c.mu.Lock()
	s := api.Status{Config: cfg.Path, Problem: c.problem, Listen: c.URL, PID: os.Getpid(), Since: c.started}
	c.mu.Unlock()
	s.Backends = c.backendStatus()
	for i := range cfg.Capabilities {
		s.Capabilities = append(s.Capabilities, c.capability(ctx, &cfg.Capabilities[i]))
	}
	return s
}

func (c *Control) capability(ctx context.Context, p *config.Capability) api.Capability {
	out := api.Capability{
		Name: p.Name, Service: p.Service.URL, Health: c.healthGate(ctx, p), Held: c.proxy.Held(p.Name),
		Routes: c.routes(p), Gates: c.findings(ctx, p, "", gatesOfCutover(p)), Shadow: c.shadows(p.Name), Calibration: c.calibration(ctx, p),
	}
	if p.Data == nil {
		if word, ok := p.WritesOwner(); ok {
			out.WriteOwner = word.String()
		}
		return out
	}
	st, err := c.engine.Status(ctx, p.Name)
	if err != nil {
		c.mu.Lock()
		out.Data = &api.Data{Problem: firstOf(c.unopened[p.Name], err.Error())}
		c.mu.Unlock()
		return out
	}
	out.WriteOwner, out.Epoch = string(st.Owner), st.Epoch
	out.Data = &api.Data{
		State: st.State, Owner: st.Owner, Epoch: st.Epoch, Live: st.Live(), Lag: st.Lag(), Verified: st.Verified, Paused: st.Paused, LogBudget: st.LogBudget,
		Kept:   map[change.Side]int64{change.Monolith: st.Forward.Retained, change.Service: st.Reverse.Retained},
		Tables: st.Tables, Problem: firstOf(st.Problem, st.Forward.Problem, st.Reverse.Problem),
	}
	if st.Last != nil {
		if raw, err := json.Marshal(st.Last); err == nil {
			out.Data.Last = raw
		}
	}
	return out
}

// gatesOfCutover leaves out what a capability without data does not need.
func gatesOfCutover(p *config.Capability) []string {
	if p.Data != nil {
		return cutoverGates
	}
	return []string{"health", "contract"}
}

// routes lists a capability's routes with what is wanted and what is obeyed.
func (c *Control) routes(p *config.Capability) []api.Route {
	c.mu.Lock()
	defer c.mu.Unlock()
	var all []api.Route
	for _, r := range p.Routes {
		out := api.Route{ID: r.ID, Capability: p.Name, Writes: r.Writes, Wanted: r.Owner.String(), Actual: c.actual[r.ID].String()}
		if out.Wanted != out.Actual {
			out.Why = c.why[r.ID]
		}
		all = append(all, out)
	}
	return all
}

// Playbook tells where a capability is on the ladder and what the next step
// needs.
func (c *Control) Playbook(ctx context.Context, name string) (api.Playbook, error) {
	cfg := c.config()
	p, ok := cfg.Capability(name)
	if !ok {
		return api.Playbook{}, api.NoCapability(name, cfg.Names())
	}
	st := c.capability(ctx, p)
	_, missing := os.Stat(p.Contract)
	facts := facts{
		name: name, data: p.Data != nil, contract: missing == nil, status: st,
		routeGates: map[string][]api.Finding{},
	}
	for _, r := range p.Routes {
		if r.Writes {
			continue
		}
		up := r
		up.Owner = ownerWord(change.Service)
		facts.routeGates[r.ID] = c.findings(ctx, p, r.ID, gatesOf(up, p.Data != nil))
	}
	return ladder(facts), nil
}
