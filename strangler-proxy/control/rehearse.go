package control

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	"stranglerfig/contract-tests/verify"
	"stranglerfig/migrations/change"
	"stranglerfig/migrations/engine"
	"stranglerfig/migrations/ledger"
	"stranglerfig/strangler-proxy/config"
	"stranglerfig/strangler-proxy/control/api"
)

// rehearsed is a rehearsal's result: what the switch did, and before that, where
// a pair is declared, what both sides of it wrote.
type rehearsed struct {
	engine.SwitchResult
	Effects *api.Effects `json:"effects,omitempty"`
}

// rehearse holds nobody where the pair has shown that the sides write differently.
func (c *Control) rehearse(ctx context.Context, p *config.Capability, q api.OperateRequest, out *lines) (any, error) {
	to := change.Service
	if c.leader(p.Name) == change.Service {
		to = change.Monolith
	}
	if err := c.judgeEffects(ctx, p, q.Effects); err != nil {
		return nil, err
	}
	if e := q.Effects; e != nil && e.Verdict != verify.Pass {
		if err := c.fileRehearsal(ctx, p, to, "fail", e.Summary, rehearsed{Effects: e}); err != nil {
			return nil, err
		}
		return nil, &api.Error{Text: "nothing was rehearsed: " + e.Summary, Hint: "strangler contract report " + p.Name + " shows what differs", Code: api.ExitNo}
	}
	result, err := c.engine.Rehearse(ctx, p.Name, out.steps())
	all := rehearsed{result, q.Effects}
	switch {
	case err != nil && result.Kind == "":
		return nil, err // it did not begin, which proves nothing
	case err != nil:
		if fileErr := c.fileRehearsal(ctx, p, result.To, "fail", err.Error(), all); fileErr != nil {
			c.o.Log.Error("the rehearsal could not be filed", "error", fileErr)
		}
		return all, err
	}
	all.Warning = strings.Join(nonEmpty(result.Warning, c.strangers(ctx, p, result.From)), "; ")
	summary := fmt.Sprintf("held, fenced, drained and turned back in %.0f ms; %s; %d rows proven on the way back", result.PauseMS, result.Predicted, result.Proven)
	if q.Effects != nil {
		summary += "; " + q.Effects.Summary
	}
	return all, c.fileRehearsal(ctx, p, result.To, "pass", summary, all)
}

// judgeEffects refuses what says nothing about the sides that serve.
func (c *Control) judgeEffects(ctx context.Context, p *config.Capability, e *api.Effects) error {
	if e == nil {
		return nil
	}
	now, err := c.subject(ctx, p)
	if err != nil {
		return err
	}
	if e.MonolithBuild != now.MonolithBuild || e.ServiceBuild != now.ServiceBuild {
		return &api.Error{Text: "the pair runs other builds than those that serve, so what it writes says nothing of them", Hint: "start the pair with the builds that serve", Code: api.ExitNotEnough}
	}
	switch {
	case e.Verdict == verify.Insufficient:
		return &api.Error{Text: "what the pair writes could not be compared: " + e.Summary, Hint: "strangler contract report " + p.Name, Code: api.ExitNotEnough}
	case e.Verdict == verify.Pass && e.Sum() == 0:
		return &api.Error{Text: "no interaction of the contract wrote a row of the mapped tables on the pair", Hint: "add interactions that write to " + p.Contract + ", or give the pair's monolith fresh data, where the idempotency keys of recorded requests were not used yet", Code: api.ExitNotEnough}
	}
	return nil
}

// comparedRows asks that a rehearsal, where a pair is declared, has compared what
// both sides write by the contract as it is.
func comparedRows(p *config.Capability, f api.Finding, e ledger.Evidence) api.Finding {
	if p.Pair == nil || f.Verdict != api.Pass {
		return f
	}
	missing := api.Finding{Gate: f.Gate, Verdict: api.Missing, Command: "strangler data rehearse " + p.Name}
	var on rehearsed
	if json.Unmarshal(e.Details, &on) != nil || on.Effects == nil {
		missing.Text = "the rehearsal did not compare what both sides of the pair write"
		return missing
	}
	if digest, err := ContractDigest(p.Contract); err != nil || digest != on.Effects.Contract {
		missing.Text = "the rehearsal compared what both sides write by another contract"
		return missing
	}
	return f
}
