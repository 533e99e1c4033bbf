package control

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"time"

	"stranglerfig/contract-tests/verify"
	"stranglerfig/migrations/ledger"
	"stranglerfig/strangler-proxy/config"
	"stranglerfig/strangler-proxy/control/api"
)

// contractGate asks for the contract's evidence. A cutover, which has no route,
// also asks that the interactions that write were exercised.
func (c *Control) contractGate(ctx context.Context, p *config.Capability, routeID string) api.Finding {
	f := api.Finding{Gate: "contract", Verdict: api.Missing, Command: "strangler contract verify " + p.Name}
	if p.Contract == "" {
		f.Text = "no contract is declared"
		f.Command = fmt.Sprintf("strangler contract record %s --out %s.pact.json, then set capabilities.%s.contract", p.Name, p.Name, p.Name)
		return f
	}
	now, err := c.subject(ctx, p)
	if err == nil {
		now.Contract, err = ContractDigest(p.Contract)
	}
	if errors.Is(err, os.ErrNotExist) {
		f.Text = "the contract " + p.Contract + " does not exist yet"
		f.Command = fmt.Sprintf("strangler contract record %s --out %s", p.Name, p.Contract)
		return f
	}
	if err != nil {
		return untold(f, err)
	}
	if f = c.verified(ctx, p, f, now, c.writes(routeID)); f.Verdict != api.Pass {
		return f
	}
	return c.covered(p, f, now.Contract, routeID)
}

// verified says what the verifications on file are worth.
func (c *Control) verified(ctx context.Context, p *config.Capability, f api.Finding, now ledger.Subject, writes bool) api.Finding {
	all, err := c.ledger.Evidence(ctx, p.Name, f.Gate)
	if err != nil {
		f.Text = err.Error()
		return f
	}
	if len(all) == 0 {
		f.Text = "no contract evidence is on file"
		return f
	}
	at := Counting(all, now, writes, func(t time.Time) bool { return c.tooOld(t) == "" })
	if at < 0 {
		return c.worth(f, all[0], now)
	}
	counts := all[at]
	f = c.worth(f, counts, now)
	if left, known := unexercised(counts); f.Verdict == api.Pass && writes && (!known || left > 0) {
		f.Verdict, f.Command = api.Missing, "strangler contract verify "+p.Name+" --unsafe --states --target monolith=URL,service=URL"
		f.Text = fmt.Sprintf("%d interactions were not exercised, which moving writes needs; they belong on a pair of applications of their own", left)
		if !known {
			f.Text = "the evidence does not say what was exercised"
		}
	}
	if last := all[0]; at > 0 && last.Verdict == verify.Insufficient {
		f.Text += fmt.Sprintf(" (verified at %s; the run of %s could not judge: %s)", counts.At.Local().Format(time.DateTime), last.At.Local().Format(time.DateTime), last.Summary)
	}
	return f
}

// Counting returns which of a capability's contract evidence, the latest first,
// counts for what there is now, -1 where none does. The latest does, unless it
// is about something else, is not of a timely moment, or could not judge; and where
// writes are to move, one that left them out takes nothing back from one that
// exercised them.
func Counting(all []ledger.Evidence, now ledger.Subject, writes bool, timely func(time.Time) bool) int {
	readsOnly := -1
	for n, e := range all {
		if e.Subject.Changed(now) != "" || e.Verdict == verify.Insufficient || !timely(e.At) {
			continue
		}
		left, known := unexercised(e)
		switch {
		case e.Verdict == verify.Pass && (!writes || known && left == 0):
			return n
		case e.Verdict != verify.Pass && readsOnly >= 0:
			return readsOnly // what failed may have been a write
		case e.Verdict != verify.Pass:
			return n
		case readsOnly < 0:
			readsOnly = n
		}
	}
	return readsOnly
}

// unexercised counts the interactions that a verification did not send, if it
// says so.
func unexercised(e ledger.Evidence) (left int, known bool) {
	var counted struct {
		Verdicts map[verify.Verdict]int `json:"verdicts"`
	}
	known = json.Unmarshal(e.Details, &counted) == nil && counted.Verdicts != nil
	return counted.Verdicts[verify.NotExercised], known
}

// covered holds the contract against the traffic that was recorded last. A waiver
// may be of that alone.
func (c *Control) covered(p *config.Capability, f api.Finding, digest, routeID string) api.Finding {
	text, command, enough := c.coverage(p, digest, routeID)
	switch {
	case enough && text != "":
		f.Text += "; " + text
	case !enough:
		f.Verdict, f.Text, f.Command = api.Missing, text, command
		if w, ok := p.Waiver(config.Coverage, time.Now()); ok {
			return waived(f, config.Coverage, w)
		}
	}
	return f
}
