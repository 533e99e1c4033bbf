package control

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"time"

	"stranglerfig/migrations/change"
	"stranglerfig/migrations/ledger"
	"stranglerfig/strangler-proxy/config"
	"stranglerfig/strangler-proxy/control/api"
	"stranglerfig/strangler-proxy/proxy"
	"stranglerfig/strangler-proxy/route"
)

// fallbackAfter is how long a safe read waits for the service before the
// monolith answers it.
const fallbackAfter = time.Second

// admit decides, route by route, which owner is obeyed. Steps down the ladder
// are free; steps up need their gates.
func (c *Control) admit(ctx context.Context, cfg *config.Config) {
	c.mu.Lock()
	before, published := maps.Clone(c.actual), c.publications
	c.mu.Unlock()
	actual, why := map[string]route.Owner{}, map[string]string{}
	admitted := map[string][]api.Finding{}
	for i := range cfg.Capabilities {
		p := &cfg.Capabilities[i]
		for _, r := range p.Routes {
			if r.Writes && p.Data != nil {
				actual[r.ID], why[r.ID] = c.writeWord(p, r, before[r.ID])
				continue
			}
			if c.over(ctx, p) {
				c.mu.Lock()
				c.retired[p.Name] = true
				c.mu.Unlock()
				actual[r.ID] = ownerWord(change.Service)
				why[r.ID] = "the move is complete: the monolith's tables are retired"
				continue
			}
			actual[r.ID] = r.Owner
			if c.atHome(p.Name) {
				actual[r.ID], why[r.ID] = before[r.ID], "the words could not be written into the file after a switch: save the file"
				continue
			}
			if !r.Owner.Above(before[r.ID]) {
				continue
			}
			found := c.findings(ctx, p, r.ID, gatesOf(r, p.Data != nil))
			if closed := closedGates(found); len(closed) > 0 {
				actual[r.ID], why[r.ID] = before[r.ID], refusal(closed)
				continue
			}
			c.noteWaivers(ctx, p, found)
			admitted[r.ID] = found
		}
	}
	c.mu.Lock()
	if c.publications != published {
		// A switch has just named other owners, and saved a file that says so:
		// what was thought out by the old one is not worth anything.
		c.mu.Unlock()
		return
	}
	c.actual, c.why = actual, why
	c.mu.Unlock()
	c.record(ctx, cfg, before, actual, admitted)
}

// over reports whether a capability's move is complete: there is nothing left
// at the monolith to go back to.
func (c *Control) over(ctx context.Context, p *config.Capability) bool {
	if p.Data == nil {
		return false
	}
	st, err := c.engine.Status(ctx, p.Name)
	return err == nil && st.State == "complete"
}

// atHome reports whether a switch's owner words are still to be written.
func (c *Control) atHome(capability string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.unwritten[capability]
}

// writeWord says who owns a write route whose data moves: whoever the proxy lets
// write, and before that is known, whoever it was last.
func (c *Control) writeWord(p *config.Capability, r route.Route, before route.Owner) (route.Owner, string) {
	side, known := c.proxy.Owner(p.Name)
	if !known {
		return before, "who owns the data is not known yet"
	}
	owner := ownerWord(side)
	if owner == r.Owner {
		return owner, ""
	}
	c.mu.Lock()
	why := c.why[r.ID]
	c.mu.Unlock()
	if why == "" {
		verb := "cutover"
		if owner.Stage == route.Service {
			verb = "rollback"
		}
		why = fmt.Sprintf("the %s owns the data; run: strangler %s %s", side, verb, p.Name)
	}
	return owner, why
}

func ownerWord(side change.Side) route.Owner {
	if side == change.Service {
		return route.Owner{Stage: route.Service, Share: 100}
	}
	return route.Owner{Stage: route.Monolith, Share: 100}
}

// ownerEntry is a change of an actual owner in the ledger, which is also where
// a restart learns them from.
type ownerEntry struct {
	Capability string `json:"capability,omitempty"`
	Route      string `json:"route"`
	Owner      string `json:"owner"`
	// Findings are what the gates of a step up said when it was admitted.
	Findings []api.Finding `json:"findings,omitempty"`
}

// ownerKind marks those entries.
const ownerKind = "owner"

// record journals which owners changed, and what admitted it. A route that is not declared any more
// goes back to the monolith, so that it begins anew should it return.
func (c *Control) record(ctx context.Context, cfg *config.Config, before, now map[string]route.Owner, admitted map[string][]api.Finding) {
	capabilities := map[string]string{}
	for _, r := range cfg.AllRoutes() {
		capabilities[r.ID] = r.Capability
	}
	for _, id := range slices.Sorted(maps.Keys(mergeKeys(before, now))) {
		was, is := before[id], now[id]
		if was == is || was.Stage == route.Monolith && is.Stage == route.Monolith {
			continue
		}
		detail, err := json.Marshal(ownerEntry{Capability: capabilities[id], Route: id, Owner: is.String(), Findings: admitted[id]})
		if err == nil {
			_, err = c.ledger.Append(ctx, ledger.Entry{
				At: time.Now(), Capability: capabilities[id], Kind: ownerKind, Actor: "config",
				Text: fmt.Sprintf("%s: %s → %s", id, was, is), Detail: detail,
			})
		}
		if err != nil {
			c.o.Log.Error("the owner change could not be journalled", "route", id, "error", err)
		}
	}
}

func mergeKeys(a, b map[string]route.Owner) map[string]route.Owner {
	all := maps.Clone(a)
	maps.Copy(all, b)
	return all
}

// remember reads the owners that were in force when the last process ended, of
// the routes that are still declared by the same capability.
func (c *Control) remember(ctx context.Context, cfg *config.Config) error {
	entries, err := c.ledger.Entries(ctx, ledger.Filter{Kind: ownerKind})
	if err != nil {
		return err
	}
	for _, e := range entries {
		var o ownerEntry
		if err := json.Unmarshal(e.Detail, &o); err != nil {
			return fmt.Errorf("read ledger entry %d: %w", e.Seq, err)
		}
		owner, err := route.ParseOwner(o.Owner)
		if err != nil {
			return fmt.Errorf("read ledger entry %d: %w", e.Seq, err)
		}
		if r, ok := cfg.Route(o.Route); ok && (o.Capability == "" || r.Capability == o.Capability) {
			c.actual[o.Route] = owner
		}
	}
	return nil
}

// obey gives the proxy a snapshot of the owners in force.
func (c *Control) obey(cfg *config.Config) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.obeyed.config == cfg && maps.Equal(c.obeyed.actual, c.actual) {
		return
	}
	c.obeyed.config, c.obeyed.actual = cfg, maps.Clone(c.actual)
	routes := cfg.AllRoutes()
	for i, r := range routes {
		routes[i].Owner = c.actual[r.ID]
	}
	table, problems := route.Compile(routes, cfg.Paths())
	if len(problems) > 0 {
		panic("a config that was checked does not compile: " + problems[0].Text)
	}
	s := &proxy.Snapshot{
		Table: table, Monolith: c.backends[cfg.Monolith.Key()], FallbackAfter: fallbackAfter,
		Capabilities: map[string]proxy.Capability{}, Manners: c.manners(cfg),
	}
	for _, p := range cfg.Capabilities {
		one := proxy.Capability{
			Service: c.backends[p.Service.Key()], CanaryBy: p.CanaryBy, Data: p.Data != nil,
			Isolated: p.Isolated != nil,
		}
		if !c.retired[p.Name] {
			one.Reverse = p.Shadow.Reverse
		}
		s.Capabilities[p.Name] = one
	}
	c.proxy.Obey(s)
}

// published is called by the engine after each switch: it writes the new owner
// words into the file and brings them into force. After a rollback every route
// of the capability comes home, so that the monolith answers alone.
func (c *Control) published(ctx context.Context, capability string, owner change.Side) error {
	p, ok := c.config().Capability(capability)
	if !ok {
		return nil
	}
	words := map[string]route.Owner{}
	for _, r := range p.Routes {
		if r.Writes || owner == change.Monolith {
			words[r.ID] = ownerWord(owner)
		}
	}
	_, err := config.SaveOwners(c.o.Config, words)
	c.mu.Lock()
	c.publications++
	c.unwritten[capability] = err != nil
	before := maps.Clone(c.actual)
	for id, word := range words {
		c.actual[id] = word
		delete(c.why, id)
	}
	now := maps.Clone(c.actual)
	c.mu.Unlock()
	c.obey(c.config())
	c.record(ctx, c.config(), before, now, nil)
	c.wake()
	return err
}
