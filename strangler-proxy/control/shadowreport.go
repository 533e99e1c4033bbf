package control

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"stranglerfig/strangler-proxy/control/api"
	"stranglerfig/strangler-proxy/shadow"
)

// shadows says what was found on a capability's routes.
func (c *Control) shadows(capability string) []api.Shadow {
	var all []api.Shadow
	for _, n := range c.shadow.Counts() {
		if n.Capability == capability {
			all = append(all, c.shadowOf(n))
		}
	}
	return all
}

func (c *Control) shadowOf(n shadow.Count) api.Shadow {
	out := api.Shadow{
		Route: n.Route, Direction: string(n.Direction), Since: n.Since,
		Compared: n.Compared, Matched: n.Matched, Noise: n.Noise, Fleeting: n.Fleeting, Allowed: n.Allowed, Mismatched: n.Mismatched,
		Incomparable: n.Incomparable, Dropped: n.Dropped, Reasons: map[string]int64{}, More: n.More,
		Stop: api.Stop{
			P0: n.Rule.P0, P1: n.Rule.P1, Alpha: n.Rule.Alpha, LogE: n.Test.LogE(n.Rule),
			Missing: n.Test.Missing(n.Rule), Remaining: n.Test.Remaining(n.Rule), Enough: n.Enough(),
		},
		Latency: latencyOf(n.Latency, c.slower(n)),
	}
	if n.Rows != (shadow.RowCount{}) {
		rows := api.Rows(n.Rows)
		out.Rows = &rows
	}
	for why, times := range n.Reasons {
		out.Reasons[string(why)] = times
	}
	for _, d := range n.Differences {
		out.Differences = append(out.Differences, api.Difference{
			ID: d.ID, Times: d.Times, First: d.First, Last: d.Last, Example: d.Example, Path: d.Difference.Path, Kind: string(d.Difference.Kind),
			Expected: d.Difference.Expected, Actual: d.Difference.Actual, Rule: d.Difference.Rule, Fingerprint: d.Fingerprint,
			Allowance: c.allowance(d.ID),
		})
	}
	return out
}

// slower is by which share the service may be slower on a route; what is not
// declared any more is judged like what says nothing.
func (c *Control) slower(n shadow.Count) float64 {
	cfg := c.config()
	if p, ok := cfg.Capability(n.Capability); ok {
		return p.Mirroring(n.Route).Slower
	}
	return cfg.Shadow.Slower
}

func latencyOf(l shadow.Latency, slower float64) api.Latency {
	verdict, at := l.Judge(slower)
	out := api.Latency{Pairs: l.Pairs, Slower: l.Slower, Verdict: string(verdict), At: quantile(at), Typical: string(l.Typical())}
	if l.Pairs == 0 {
		return out
	}
	for _, q := range shadow.Tails {
		t := l.Tail(q, slower)
		out.Tails = append(out.Tails, api.Tail{
			Quantile: quantile(q), Verdict: string(t.Judgement), Monolith: spanOf(t.Monolith), Service: spanOf(t.Service),
		})
	}
	out.Monolith, out.Service = map[string]float64{}, map[string]float64{}
	for name, q := range map[string]float64{"p50": 0.5, "p95": 0.95, "p99": 0.99} {
		out.Monolith[name] = milliseconds(l.Monolith.Quantile(q))
		out.Service[name] = milliseconds(l.Service.Quantile(q))
	}
	return out
}

// quantile is how a quantile is called.
func quantile(q float64) string { return fmt.Sprintf("p%.4g", q*100) }

func spanOf(s shadow.Span) api.Span {
	return api.Span{Above: milliseconds(s.Above), UpTo: milliseconds(s.UpTo)}
}

// milliseconds is a duration to the microsecond.
func milliseconds(d time.Duration) float64 { return math.Round(d.Seconds()*1e6) / 1e3 }

// Shadows tells everything about mirroring a capability.
func (c *Control) Shadows(ctx context.Context, name string) (api.Shadows, error) {
	cfg := c.config()
	p, ok := cfg.Capability(name)
	if !ok {
		return api.Shadows{}, api.NoCapability(name, cfg.Names())
	}
	out := api.Shadows{Capability: name, Routes: c.shadows(name), Calibration: c.calibration(ctx, p)}
	c.mu.Lock()
	for _, a := range c.allowances {
		if a.Capability == name && !a.Revoked {
			out.Allowances = append(out.Allowances, a)
		}
	}
	c.mu.Unlock()
	slices.SortFunc(out.Allowances, func(a, b api.Allowance) int { return strings.Compare(a.ID, b.ID) })
	return out, nil
}

// brief is a duration to three digits.
func brief(d time.Duration) string {
	switch {
	case d >= time.Second:
		return d.Round(10 * time.Millisecond).String()
	case d >= time.Millisecond:
		return d.Round(100 * time.Microsecond).String()
	}
	return d.Round(time.Microsecond).String()
}

// latencyText says how the sides' latencies compare, and at which quantile that
// shows.
func latencyText(l shadow.Latency, slower float64) string {
	verdict, at := l.Judge(slower)
	by, where := fmt.Sprintf("%.4g %%", slower*100), quantile(at)
	text := fmt.Sprintf("the service is not slower than the monolith by more than %s, at p50 nor p95", by)
	switch verdict {
	case shadow.Slower:
		text = fmt.Sprintf("the service is slower than the monolith by more than %s at %s", by, where)
	case shadow.Unsettled:
		text = fmt.Sprintf("it is not settled whether the service is slower than the monolith by more than %s at %s", by, where)
	}
	var parts []string
	for _, q := range append([]float64{0.5}, shadow.Tails[:]...) {
		parts = append(parts, fmt.Sprintf("%s %s and %s", quantile(q), brief(l.Service.Quantile(q)), brief(l.Monolith.Quantile(q))))
	}
	return text + " (" + strings.Join(parts, ", ") + ")"
}
