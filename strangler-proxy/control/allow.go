package control

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/labstack/echo/v4"

	"stranglerfig/migrations/ledger"
	"stranglerfig/strangler-proxy/control/api"
)

// Kinds of ledger entries about shadows.
const (
	allowKind   = "shadow-allow"   // a difference is meant, or is no longer
	restartKind = "shadow-restart" // comparisons begin anew
)

// rememberAllowances reads which differences are allowed.
func (c *Control) rememberAllowances(ctx context.Context) error {
	entries, err := c.ledger.Entries(ctx, ledger.Filter{Kind: allowKind})
	if err != nil {
		return err
	}
	for _, e := range entries {
		var a api.Allowance
		if err := json.Unmarshal(e.Detail, &a); err != nil {
			return fmt.Errorf("read ledger entry %d: %w", e.Seq, err)
		}
		c.allowances[a.ID] = a
	}
	c.tellAllowances()
	return nil
}

// tellAllowances tells the shadow which differences are allowed until when.
func (c *Control) tellAllowances() {
	c.mu.Lock()
	until := map[string]time.Time{}
	for id, a := range c.allowances {
		if !a.Revoked {
			until[id] = a.Until
		}
	}
	c.mu.Unlock()
	c.shadow.Allow(until)
}

// allowance returns who allows a difference at present; nil where nobody does.
func (c *Control) allowance(id string) *api.Allowance {
	c.mu.Lock()
	defer c.mu.Unlock()
	a, known := c.allowances[id]
	if !known || a.Revoked || !time.Now().Before(a.Until) {
		return nil
	}
	return &a
}

// Allow lets a difference count as meant, or takes that back. Who said so, why,
// and until when stands in the ledger.
func (c *Control) Allow(ctx context.Context, q api.AllowRequest) (api.Allowance, error) {
	a, err := c.named(q.ID)
	if err != nil {
		return a, err
	}
	now := time.Now()
	text := fmt.Sprintf("%s on %s is allowed until %s: %s", a.Fingerprint, a.Route, q.Until.UTC().Format(time.RFC3339), q.Reason)
	switch {
	case q.Reason == "" || q.By == "":
		return a, &api.Error{Text: "an allowance names its reason and who answers for it", Hint: "--reason TEXT", Code: api.ExitNo}
	case q.Revoke:
		if c.allowance(a.ID) == nil {
			return a, &api.Error{Text: "nobody allows " + a.ID, Hint: "strangler shadow differences " + a.Capability + " lists who allows what", Code: api.ExitNo}
		}
		q.Until = now
		text = fmt.Sprintf("%s on %s is no longer allowed: %s", a.Fingerprint, a.Route, q.Reason)
	case !now.Before(q.Until):
		return a, &api.Error{Text: fmt.Sprintf("%s has passed", q.Until.Format(time.RFC3339)), Hint: "--expires names a day or a moment to come, such as " + now.AddDate(0, 1, 0).Format(time.DateOnly), Code: api.ExitNo}
	}
	a.Reason, a.By, a.At, a.Until, a.Revoked = q.Reason, q.By, now, q.Until, q.Revoke
	detail, err := json.Marshal(a)
	if err != nil {
		return a, err
	}
	if _, err := c.ledger.Append(ctx, ledger.Entry{At: now, Capability: a.Capability, Kind: allowKind, Actor: q.By, Text: text, Detail: detail}); err != nil {
		return a, err
	}
	c.mu.Lock()
	c.allowances[a.ID] = a
	c.mu.Unlock()
	c.tellAllowances()
	c.wake()
	return a, nil
}

// shortestID is how much of a difference's name is enough to name it.
const shortestID = 4

// named finds a difference by its name, by how its name begins, or by its
// fingerprint where only one route has it.
func (c *Control) named(id string) (api.Allowance, error) {
	found := map[string]api.Allowance{}
	match := func(a api.Allowance) {
		if a.ID == id || a.Fingerprint == id || len(id) >= shortestID && strings.HasPrefix(a.ID, id) {
			found[a.ID] = a
		}
	}
	for _, n := range c.shadow.Counts() {
		for _, d := range n.Differences {
			match(api.Allowance{ID: d.ID, Capability: n.Capability, Route: n.Route, Fingerprint: d.Fingerprint})
		}
	}
	c.mu.Lock()
	for _, a := range c.allowances {
		match(a)
	}
	c.mu.Unlock()
	switch len(found) {
	case 1:
		for _, a := range found {
			return a, nil
		}
	case 0:
		return api.Allowance{}, &api.Error{Text: fmt.Sprintf("no difference is called %q", id), Hint: "strangler shadow differences CAPABILITY lists them", Code: api.ExitNo}
	}
	var names []string
	for _, id := range slices.Sorted(maps.Keys(found)) {
		names = append(names, id+" of "+found[id].Route)
	}
	return api.Allowance{}, &api.Error{Text: fmt.Sprintf("%d differences are called %q, or begin so", len(found), id), Hint: "name one of them whole: " + strings.Join(names, ", "), Code: api.ExitNo}
}

// Restart begins the comparisons of a capability anew: what was found is
// forgotten, and what was filed counts no more.
func (c *Control) Restart(ctx context.Context, name string, q api.RestartRequest) error {
	cfg := c.config()
	p, ok := cfg.Capability(name)
	if !ok {
		return api.NoCapability(name, cfg.Names())
	}
	if q.Reason == "" || q.By == "" {
		return &api.Error{Text: "beginning anew needs a reason: it forgets differences as well", Hint: "--reason TEXT", Code: api.ExitNo}
	}
	now, err := c.subject(ctx, p)
	if err != nil {
		return err
	}
	if _, err := c.ledger.Append(ctx, ledger.Entry{At: time.Now(), Capability: name, Kind: restartKind, Actor: q.By, Text: "what shadows found begins anew: " + q.Reason}); err != nil {
		return err
	}
	for _, r := range p.Routes {
		now.Route = r.ID
		if f, _ := c.filed(ctx, p, api.Finding{Gate: "shadow", Verdict: api.Missing}, now); f.Verdict == api.Missing {
			continue
		}
		if _, err := c.ledger.AddEvidence(ctx, ledger.Evidence{
			Capability: name, Kind: "shadow", Verdict: "insufficient", Summary: "begun anew by " + q.By + ": " + q.Reason, Subject: now, By: q.By, At: time.Now(),
		}); err != nil {
			return err
		}
	}
	c.shadow.Forget(name)
	c.wake()
	return nil
}

func (c *Control) getShadow(x echo.Context) error {
	all, err := c.Shadows(x.Request().Context(), x.Param("capability"))
	if err != nil {
		return err
	}
	return x.JSON(http.StatusOK, all)
}

func (c *Control) postAllow(x echo.Context) error {
	var q api.AllowRequest
	if err := decode(x, &q); err != nil {
		return err
	}
	a, err := c.Allow(x.Request().Context(), q)
	if err != nil {
		return err
	}
	return x.JSON(http.StatusOK, a)
}

func (c *Control) postRestart(x echo.Context) error {
	var q api.RestartRequest
	if err := decode(x, &q); err != nil {
		return err
	}
	if err := c.Restart(x.Request().Context(), x.Param("capability"), q); err != nil {
		return err
	}
	return x.NoContent(http.StatusNoContent)
}
