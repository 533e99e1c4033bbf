package control

import (
	"context"
	"encoding/json"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"stranglerfig/migrations/change"
	"stranglerfig/migrations/engine"
	"stranglerfig/migrations/ledger"
	"stranglerfig/strangler-proxy/config"
	"stranglerfig/strangler-proxy/control/api"
	"stranglerfig/strangler-proxy/route"
)

// followWriteWords starts the switch that a person asked for by saving other
// write words than were in force before: a word that was refused, or that could
// not be written after a switch, is not asked for anew by each later edit. It
// runs on its own, because a switch rewrites the words itself. Words that were
// read before a switch that has come about since are nobody's wish any more:
// that switch has written others into the file.
func (c *Control) followWriteWords(before, cfg *config.Config, switches int) {
	for i := range cfg.Capabilities {
		p := &cfg.Capabilities[i]
		word, ok := p.WritesOwner()
		if !ok || p.Data == nil {
			continue
		}
		if was, known := before.Capability(p.Name); known {
			if old, _ := was.WritesOwner(); old == word {
				continue
			}
		}
		st, err := c.engine.Status(c.ctx, p.Name)
		if err != nil || st.Switching || c.switches() != switches || (st.Owner == change.Service) == (word == route.Service) {
			continue
		}
		to := change.Monolith
		if word == route.Service {
			to = change.Service
		}
		c.wg.Go(func() {
			if _, err := c.Switch(c.ctx, p.Name, to, "the owner words in "+filepath.Base(c.o.Config), nil); err != nil {
				c.explainWrites(p, err)
			}
		})
	}
}

// explainWrites keeps for status why a wanted switch did not happen.
func (c *Control) explainWrites(p *config.Capability, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, r := range p.Routes {
		if r.Writes {
			c.why[r.ID] = strings.ReplaceAll(err.Error(), "\n  ", "; ")
		}
	}
}

// Switch makes a side the owner of a capability's writes, after its gates.
func (c *Control) Switch(ctx context.Context, capability string, to change.Side, why string, tell func(engine.StepTime)) (engine.SwitchResult, error) {
	p, err := c.movable(capability)
	if err != nil {
		return engine.SwitchResult{}, err
	}
	if to == change.Service {
		c.probes.forget() // what was true a moment ago is not enough here
		found := c.findings(ctx, p, "", cutoverGates)
		if closed := closedGates(found); len(closed) > 0 {
			return engine.SwitchResult{}, closedError("cutover of "+capability, closed)
		}
		c.noteWaivers(ctx, p, found)
		if err := c.noteAdmission(ctx, p, found); err != nil {
			return engine.SwitchResult{}, fmt.Errorf("cutover of %s: what admits it could not be journalled: %w", capability, err)
		}
	}
	return c.engine.Switch(ctx, capability, to, why, tell)
}

// movable returns a capability whose data moves.
func (c *Control) movable(name string) (*config.Capability, error) {
	cfg := c.config()
	p, ok := cfg.Capability(name)
	if !ok {
		return nil, api.NoCapability(name, cfg.Names())
	}
	if p.Data == nil {
		return nil, &api.Error{
			Text: fmt.Sprintf("%s declares no data, so its routes move by their words alone", name),
			Hint: fmt.Sprintf("strangler own %s service, or declare capabilities.%s.data", name, name), Code: api.ExitNo,
		}
	}
	return p, nil
}

// noteWaivers journals the waivers that a step makes use of.
func (c *Control) noteWaivers(ctx context.Context, p *config.Capability, found []api.Finding) {
	for _, f := range found {
		if f.Verdict != api.Waived {
			continue
		}
		w, whole := p.Waiver(f.Gate, time.Now())
		if !whole {
			w, _ = p.Waiver(config.Coverage, time.Now()) // a part of the contract's gate
		}
		detail, err := json.Marshal(w)
		if err == nil {
			_, err = c.ledger.Append(ctx, ledger.Entry{At: time.Now(), Capability: p.Name, Kind: "waiver", Actor: w.By, Text: f.Text, Detail: detail})
		}
		if err != nil {
			c.o.Log.Error("the waiver could not be journalled", "gate", f.Gate, "error", err)
		}
	}
}
