package control

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"time"

	"stranglerfig/contract-tests/tape"
	"stranglerfig/migrations/change"
	"stranglerfig/migrations/ledger"
	"stranglerfig/strangler-proxy/config"
	"stranglerfig/strangler-proxy/shadow"
	"stranglerfig/strangler-proxy/upstream"
)

// recorded is how much of a body a recording keeps, in bytes.
const recorded = 64 << 10

// shadowFile is where what shadows found lies in the state's folder.
const shadowFile = "shadow.json"

// newShadow makes the shadow of a config. A frozen one tells what was found
// before, and keeps nothing.
func (c *Control) newShadow(cfg *config.Config, frozen bool) *shadow.Shadow {
	return shadow.New(shadow.Options{
		Queue: cfg.Shadow.Queue, Body: cfg.Shadow.Body, Timeout: cfg.Shadow.Timeout, Metrics: c.registry,
		Path: filepath.Join(cfg.Resolve(cfg.State), shadowFile), Frozen: frozen, Backends: c.sides, Isolated: c.isolated, Owner: c.leader,
		Synced: func(capability string, from change.Side) time.Time { return c.engine.Synced(capability, from) },
		Judged: c.judged, Follows: c.follows, Identifiers: c.identifiers, Rows: c.rows,
		Redact: func(e tape.Exchange) tape.Exchange {
			return c.redactor().Redact(e)
		},
		Failed: func(err error) { c.o.Log.Error("the shadow", "error", err) },
		Panicked: func(reason any, stack []byte) {
			c.o.Log.Error("two answers could not be compared; please report this", "reason", fmt.Sprint(reason), "stack", string(stack))
		},
	})
}

// isolated returns the store of its own that gets copies of a capability's
// writes.
func (c *Control) isolated(capability string) *upstream.Backend {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.cfg == nil {
		return nil
	}
	p, ok := c.cfg.Capability(capability)
	if !ok || p.Isolated == nil {
		return nil
	}
	return c.backends[p.Isolated.Key()]
}

// follows reports whether the monolith's data can follow the service's: not once
// the move is being completed.
func (c *Control) follows(capability string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return !c.retired[capability]
}

// retire says whether a capability's tables at the monolith are retired, and
// with them what is mirrored back.
func (c *Control) retire(capability string, retired bool) {
	c.mu.Lock()
	changed := c.retired[capability] != retired
	c.retired[capability] = retired
	if changed {
		c.obeyed.config = nil // so that the proxy is told
	}
	cfg := c.cfg
	c.mu.Unlock()
	if changed {
		c.obey(cfg)
	}
}

// redactor takes out what the file calls a secret now.
func (c *Control) redactor() *tape.Redactor {
	return tape.NewRedactor([]byte(c.token), c.config().Redact)
}

// judged returns how a route's mirrored answers are judged.
func (c *Control) judged(capability, routeID string) shadow.Judging {
	var m config.Mirroring
	if cfg := c.config(); cfg != nil {
		m = cfg.Shadow.Mirroring
		if p, ok := cfg.Capability(capability); ok {
			m = p.Mirroring(routeID)
		}
	}
	return shadow.Judging{Rule: m.Rule, Slower: m.Slower}
}

// bindShadow tells the shadow what comparisons of a capability are about.
func (c *Control) bindShadow(capability string, s ledger.Subject) {
	if c.shadow.Bind(capability, c.aboutShadow(capability, s)) {
		c.o.Log.Info("what shadows found begins anew: a build or the config is another", "capability", capability)
	}
	c.excuse(capability, s.MonolithBuild)
}

// presumeShadow does so where a build cannot be told.
func (c *Control) presumeShadow(p *config.Capability) {
	c.shadow.Presume(p.Name, c.aboutShadow(p.Name, ledger.Subject{Config: p.Digest()}))
}

// aboutShadow is what comparisons are about, as text.
func (c *Control) aboutShadow(capability string, s ledger.Subject) string {
	s.Contract, s.Route, s.Identifiers = "", "", c.identity(capability).named
	raw, err := json.Marshal(s)
	if err != nil {
		panic(err) // plain strings always marshal
	}
	return string(raw)
}
