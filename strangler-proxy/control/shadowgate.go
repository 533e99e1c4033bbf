package control

import (
	"context"
	"fmt"
	"time"

	"stranglerfig/migrations/ledger"
	"stranglerfig/strangler-proxy/config"
	"stranglerfig/strangler-proxy/control/api"
)

// shadowGate asks what is being compared now, and otherwise what was filed when
// enough had been.
func (c *Control) shadowGate(ctx context.Context, p *config.Capability, routeID string) api.Finding {
	f := api.Finding{Gate: "shadow", Verdict: api.Missing, Command: fmt.Sprintf("strangler own %q shadow", routeID)}
	now, err := c.subject(ctx, p)
	if err != nil {
		f.Text = err.Error()
		return f
	}
	now.Route = routeID
	for _, count := range c.shadow.Counts() {
		if count.Route != routeID || count.Compared == 0 {
			continue
		}
		enough := int64(c.config().Shadow.Enough)
		summary := fmt.Sprintf("%d of %d mirrored answers matched", count.Matched, count.Compared)
		switch {
		case count.Mismatched > 0:
			f.Verdict, f.Text, f.Command = api.Fail, summary, "strangler status "+p.Name
			c.fileShadow(ctx, p, now, "fail", summary)
			return f
		case count.Compared < enough:
			f.Text = fmt.Sprintf("%s; %d are asked for", summary, enough)
			return f
		}
		f.Verdict, f.Text, f.Command = api.Pass, summary, ""
		c.fileShadow(ctx, p, now, "pass", summary)
		return f
	}
	f, _ = c.filed(ctx, p, f, now)
	return f
}

// fileMismatches asks the shadow gates of routes that differ, which files it:
// nobody has to ask before a restart for a mismatch to be remembered.
func (c *Control) fileMismatches(ctx context.Context, cfg *config.Config) {
	for _, count := range c.shadow.Counts() {
		if p, ok := cfg.Capability(count.Capability); ok && count.Mismatched > 0 {
			c.shadowGate(ctx, p, count.Route)
		}
	}
}

// fileShadow files what was found, once for what there is now: a restart must
// not forget a mismatch.
func (c *Control) fileShadow(ctx context.Context, p *config.Capability, now ledger.Subject, verdict, summary string) {
	before, _ := c.filed(ctx, p, api.Finding{Gate: "shadow", Verdict: api.Missing}, now)
	if string(before.Verdict) == verdict {
		return
	}
	if _, err := c.ledger.AddEvidence(ctx, ledger.Evidence{
		Capability: p.Name, Kind: "shadow", Verdict: verdict, Summary: summary, Subject: now, By: "control", At: time.Now(),
	}); err != nil {
		c.o.Log.Error("the shadow evidence could not be filed", "error", err)
	}
}
