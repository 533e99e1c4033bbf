package control

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"stranglerfig/contract-tests/sequential"
	"stranglerfig/migrations/ledger"
	"stranglerfig/strangler-proxy/config"
	"stranglerfig/strangler-proxy/control/api"
	"stranglerfig/strangler-proxy/shadow"
)

// shadowDetails are what shadow evidence was filed on.
type shadowDetails struct {
	Rule       sequential.Rule `json:"rule"`
	Compared   int64           `json:"compared"`
	Noise      int64           `json:"noise"`
	Allowed    int64           `json:"allowed"`
	Mismatched int64           `json:"mismatched"`
	LogE       float64         `json:"log_e"`
	First      time.Time       `json:"first,omitzero"`
	Last       time.Time       `json:"last,omitzero"`
}

// shadowGate asks what is being compared now, and otherwise what was filed when
// enough had been.
func (c *Control) shadowGate(ctx context.Context, p *config.Capability, routeID string) api.Finding {
	f := api.Finding{Gate: "shadow", Verdict: api.Missing, Command: fmt.Sprintf("strangler own %q shadow", routeID)}
	now, err := c.subject(ctx, p)
	if err != nil {
		return untold(f, err)
	}
	now.Route, now.Identifiers = routeID, c.identity(p.Name).named
	judged := p.Mirroring(routeID)
	count, some := c.shadow.Count(routeID, shadow.Forward)
	if !some || count.Compared == 0 {
		f = c.filedShadow(ctx, p, f, now, judged.Rule)
		if f.Verdict == api.Missing && count.Incomparable > 0 {
			f.Text += "; " + incomparableText(count)
			f.Command = "strangler shadow calibrate " + p.Name
		}
		return f
	}
	f = c.judgeShadow(p.Name, f, count, judged)
	switch f.Verdict {
	case api.Pass, api.Fail:
		c.fileShadow(ctx, p, now, string(f.Verdict), f.Text, count)
	default:
		if c.mirrors(routeID) {
			f.Command = "strangler shadow status " + p.Name
		}
	}
	return f
}

// incomparableText says why nothing could be compared.
func incomparableText(n shadow.Count) string {
	var parts []string
	for _, why := range slices.Sorted(maps.Keys(n.Reasons)) {
		parts = append(parts, fmt.Sprintf("%d %s", n.Reasons[why], why))
	}
	return fmt.Sprintf("none of %d mirrored answers could be compared (%s)", n.Incomparable+n.Dropped, strings.Join(parts, ", "))
}

// mirrors reports whether a route's requests are mirrored at present.
func (c *Control) mirrors(routeID string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return strings.HasPrefix(c.actual[routeID].String(), "shadow")
}

// judgeShadow says what a count is worth: a difference that nobody allows is a
// no, whatever else agrees; then it is for the stop rule, and for the latency
// where that is to be a gate.
func (c *Control) judgeShadow(capability string, f api.Finding, n shadow.Count, judged config.Mirroring) api.Finding {
	agree := fmt.Sprintf("%d of %d mirrored answers agree", n.Compared-n.Mismatched, n.Compared)
	if n.Mismatched > 0 {
		f.Verdict, f.Command = api.Fail, "strangler shadow differences "+capability
		f.Text = fmt.Sprintf("%s; the others differ in %d ways that nobody allows", agree, unexplained(n))
		return f
	}
	if missing, remaining := n.Test.Missing(n.Rule), n.Test.Remaining(n.Rule); missing > 0 || remaining > 0 {
		f.Text = agree + "; " + stillAsked(missing, remaining)
		return f
	}
	silent := n.Reasons[shadow.Unreachable] + n.Reasons[shadow.TimedOut] + n.Reasons[shadow.Longer]
	if float64(silent) > silentMost*float64(n.Compared+silent) {
		f.Text, f.Command = fmt.Sprintf("%s, but %s", agree, silentText(n, silent)), "strangler shadow status "+capability
		return f
	}
	slow := latencyText(n.Latency, judged.Slower)
	verdict, _ := n.Latency.Judge(judged.Slower)
	if judged.Latency == config.LatencyGate {
		switch verdict {
		case shadow.Slower:
			f.Verdict, f.Text, f.Command = api.Fail, agree+", but "+slow, "strangler shadow status "+capability
			return f
		case shadow.Unsettled:
			f.Text = agree + ", but " + slow
			return f
		}
	}
	f.Verdict, f.Command = api.Pass, ""
	f.Text = fmt.Sprintf("%s, which is enough", agree)
	if n.Fleeting > 0 {
		f.Text += fmt.Sprintf("; %d of them differed at first and agreed when both sides were asked again", n.Fleeting)
	}
	if silent > 0 {
		f.Text += "; " + silentText(n, silent)
	}
	if judged.Latency == config.LatencyWarn && verdict == shadow.Slower {
		f.Text += "; " + slow
	}
	return f
}

// silentMost is the share of the mirrored requests that may get no answer, or one
// beyond what is kept where the monolith's was not: neither can be compared, and a
// service that hangs up now and then would seem to agree each time.
const silentMost = 0.01

func silentText(n shadow.Count, silent int64) string {
	return fmt.Sprintf("%d of %d mirrored requests got no answer, or far too long a one", silent, n.Compared+silent)
}

// isolatedFindings say which writes, of a route or of the whole capability, an
// isolated store ends otherwise than the monolith, in ways that nobody allows.
// Nothing is asked of what agrees, or was not mirrored: a store of its own is no
// duty.
func (c *Control) isolatedFindings(p *config.Capability, routeID string) []api.Finding {
	var all []api.Finding
	for _, n := range c.shadow.Counts() {
		if n.Capability != p.Name || n.Direction != shadow.Isolated || n.Mismatched == 0 || routeID != "" && n.Route != routeID {
			continue
		}
		all = append(all, orWaived(p, api.Finding{
			Gate: "shadow", Route: n.Route, Verdict: api.Fail, Command: "strangler shadow differences " + p.Name,
			Text: fmt.Sprintf("%d of %d writes agree on the isolated store; the others differ in %d ways that nobody allows", n.Compared-n.Mismatched, n.Compared, unexplained(n)),
		}))
	}
	return all
}

// unexplained counts the differences that nobody allows.
func unexplained(n shadow.Count) int64 {
	now, open := time.Now(), n.More
	for _, d := range n.Differences {
		if !now.Before(d.Allowed) {
			open++
		}
	}
	return open
}

// stillAsked says what the stop rule still asks for.
func stillAsked(missing int, remaining time.Duration) string {
	var parts []string
	if missing > 0 {
		parts = append(parts, fmt.Sprintf("%d more without a difference are asked for", missing))
	}
	if remaining > 0 {
		parts = append(parts, fmt.Sprintf("they must spread over %s more", remaining.Round(time.Second)))
	}
	return strings.Join(parts, ", and ")
}

// filedShadow says what is on file where nothing is being compared. A pass by
// another stop rule is none.
func (c *Control) filedShadow(ctx context.Context, p *config.Capability, f api.Finding, now ledger.Subject, rule sequential.Rule) api.Finding {
	asked := f
	f, e := c.filed(ctx, p, f, now)
	if f.Verdict != api.Pass {
		return f
	}
	var on shadowDetails
	if json.Unmarshal(e.Details, &on) != nil || on.Rule != rule {
		asked.Text = fmt.Sprintf("the shadow evidence of %s was enough for another stop rule", e.At.Local().Format(time.DateTime))
		return asked
	}
	return f
}

// lookAtShadows sees every second what the shadows' comparisons are about, which
// forgets those about something else, and files mismatches: nobody has to ask
// before a restart for a mismatch to be remembered.
func (c *Control) lookAtShadows(ctx context.Context, cfg *config.Config) {
	seen := map[string]bool{}
	for _, n := range c.shadow.Counts() {
		p, ok := cfg.Capability(n.Capability)
		if !ok {
			continue
		}
		if !seen[p.Name] {
			seen[p.Name] = true
			if _, err := c.subject(ctx, p); err != nil {
				c.presumeShadow(p) // which leaves alone what was known: nobody knows of another build
			}
		}
		if n.Direction == shadow.Forward && n.Mismatched > 0 {
			c.shadowGate(ctx, p, n.Route)
		}
	}
}

// fileShadow files what was found, once for what there is now: a restart must
// not forget a mismatch.
func (c *Control) fileShadow(ctx context.Context, p *config.Capability, now ledger.Subject, verdict, summary string, n shadow.Count) {
	on := shadowDetails{
		Rule: n.Rule, Compared: n.Compared, Noise: n.Noise, Allowed: n.Allowed, Mismatched: n.Mismatched,
		LogE: n.Test.LogE(n.Rule), First: n.Test.First, Last: n.Test.Last,
	}
	before, e := c.filed(ctx, p, api.Finding{Gate: "shadow", Verdict: api.Missing}, now)
	var was shadowDetails
	if string(before.Verdict) == verdict && json.Unmarshal(e.Details, &was) == nil && was.Rule == on.Rule {
		return
	}
	raw, err := json.Marshal(on)
	if err == nil {
		_, err = c.ledger.AddEvidence(ctx, ledger.Evidence{
			Capability: p.Name, Kind: "shadow", Verdict: verdict, Summary: summary, Details: raw, Subject: now, By: "control", At: time.Now(),
		})
	}
	if err != nil {
		c.o.Log.Error("the shadow evidence could not be filed", "error", err)
	}
}
