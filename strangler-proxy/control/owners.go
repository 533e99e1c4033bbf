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

// looked says which capabilities are as the file wants them: nothing about them
// can change before the file does, or a switch names other owners.
type looked struct {
	config       *config.Config
	publications int
	settled      map[string]bool // by their names
}

// lookAt returns what is settled of a config, and how many switches have named
// their owners.
func (c *Control) lookAt(cfg *config.Config) (settled map[string]bool, anew bool, published int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if anew = c.looked.config != cfg || c.looked.publications != c.publications; anew {
		c.looked = looked{cfg, c.publications, map[string]bool{}}
	}
	return c.looked.settled, anew, c.publications
}

// admitting is one look at the gates: which owner is obeyed on each route that
// was looked at, and why it is not the one that is wanted.
type admitting struct {
	before, actual map[string]route.Owner
	why            map[string]string
	admitted       map[string][]api.Finding
}

// admit decides, route by route, which owner is obeyed. Steps down the ladder
// are free; steps up need their gates. It is asked every second, so it looks
// only at capabilities about which something is open.
func (c *Control) admit(ctx context.Context, cfg *config.Config) {
	settled, anew, published := c.lookAt(cfg)
	var open []*config.Capability
	for i := range cfg.Capabilities {
		if p := &cfg.Capabilities[i]; !settled[p.Name] {
			open = append(open, p)
		}
	}
	if len(open) == 0 && !anew {
		return
	}
	c.mu.Lock()
	a := admitting{before: maps.Clone(c.actual), actual: make(map[string]route.Owner, len(c.actual)), why: map[string]string{}, admitted: map[string][]api.Finding{}}
	c.mu.Unlock()
	var pace pace
	for _, p := range open {
		settled[p.Name] = c.admitOne(ctx, p, &a, &pace)
	}
	c.mu.Lock()
	if c.publications != published {
		// A switch has just named other owners, and saved a file that says so:
		// what was thought out by the old one is not worth anything.
		c.mu.Unlock()
		return
	}
	changed := c.take(&a, anew)
	c.mu.Unlock()
	c.record(ctx, cfg, a.before, changed, a.admitted)
}

// admitOne decides about the routes of one capability, and reports whether it is
// settled.
func (c *Control) admitOne(ctx context.Context, p *config.Capability, a *admitting, pace *pace) (settled bool) {
	over, atHome := c.over(ctx, p), c.atHome(p.Name)
	if over {
		c.mu.Lock()
		c.retired[p.Name] = true
		c.mu.Unlock()
	}
	settled = p.Data == nil && !atHome
	for i := range p.Routes {
		pace.pause()
		r := &p.Routes[i]
		before := a.before[r.ID]
		a.actual[r.ID] = r.Owner
		switch {
		case r.Writes && p.Data != nil:
			a.actual[r.ID], a.why[r.ID] = c.writeWord(p, *r, before)
		case over:
			a.actual[r.ID], a.why[r.ID] = ownerWord(change.Service), "the move is complete: the monolith's tables are retired"
		case atHome:
			a.actual[r.ID], a.why[r.ID] = before, "the words could not be written into the file after a switch: save the file"
		case r.Owner.Above(before):
			found := c.findings(ctx, p, r.ID, gatesOf(*r, p.Data != nil))
			if closed := closedGates(found); len(closed) > 0 {
				a.actual[r.ID], a.why[r.ID] = before, refusal(closed)
				settled = false
				continue
			}
			c.noteWaivers(ctx, p, found)
			a.admitted[r.ID] = found
		}
	}
	return settled
}

// take brings what was found into force and returns the owners that are others
// now. A route that is not declared any more has none. c.mu is held.
func (c *Control) take(a *admitting, anew bool) map[string]route.Owner {
	changed := map[string]route.Owner{}
	for id, is := range a.actual {
		if was, known := c.actual[id]; !known || was != is {
			changed[id] = is
			c.actual[id] = is
		}
		if why := a.why[id]; why != "" {
			c.why[id] = why
		} else {
			delete(c.why, id)
		}
	}
	if anew {
		for id := range a.before {
			if _, declared := a.actual[id]; !declared {
				changed[id] = route.Owner{}
				delete(c.actual, id)
				delete(c.why, id)
			}
		}
	}
	if len(changed) > 0 {
		c.owners++
	}
	return changed
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

// record journals owners that changed, and what admitted it. A route that is not
// declared any more goes back to the monolith, so that it begins anew should it
// return.
func (c *Control) record(ctx context.Context, cfg *config.Config, before, changed map[string]route.Owner, admitted map[string][]api.Finding) {
	for id, is := range changed {
		if was := before[id]; was == is || was.Stage == route.Monolith && is.Stage == route.Monolith {
			delete(changed, id)
		}
	}
	if len(changed) == 0 {
		return
	}
	capabilities := map[string]string{}
	for i := range cfg.Capabilities {
		for j := range cfg.Capabilities[i].Routes {
			capabilities[cfg.Capabilities[i].Routes[j].ID] = cfg.Capabilities[i].Name
		}
	}
	for _, id := range slices.Sorted(maps.Keys(changed)) {
		was, is := before[id], changed[id]
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
	if c.obeyed.config == cfg && c.obeyed.owners == c.owners {
		return
	}
	c.obeyed.config, c.obeyed.owners = cfg, c.owners
	s := &proxy.Snapshot{
		Table: cfg.Table().WithOwners(func(id string) route.Owner { return c.actual[id] }), Monolith: c.backends[cfg.Monolith.Key()], FallbackAfter: fallbackAfter, OverrideKey: []byte(cfg.OverrideKey),
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
	before := map[string]route.Owner{}
	for id, word := range words {
		before[id], c.actual[id] = c.actual[id], word
		delete(c.why, id)
	}
	c.owners++
	c.mu.Unlock()
	c.obey(c.config())
	c.record(ctx, c.config(), before, words, nil)
	c.wake()
	return err
}
