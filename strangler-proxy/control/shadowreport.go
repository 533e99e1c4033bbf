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
		Compared: n.Compared, Matched: n.Matched, Noise: n.Noise, Allowed: n.Allowed, Mismatched: n.Mismatched,
		Incomparable: n.Incomparable, Dropped: n.Dropped, Reasons: map[string]int64{}, More: n.More,
		Stop: api.Stop{
			P0: n.Rule.P0, P1: n.Rule.P1, Alpha: n.Rule.Alpha, LogE: n.Test.LogE(n.Rule),
			Missing: n.Test.Missing(n.Rule), Remaining: n.Test.Remaining(n.Rule), Enough: n.Enough(),
		},
		Latency: latencyOf(n.Latency),
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

func latencyOf(l shadow.Latency) api.Latency {
	out := api.Latency{Pairs: l.Pairs, Slower: l.Slower, Verdict: string(l.Judge())}
	if l.Pairs == 0 {
		return out
	}
	out.Monolith, out.Service = map[string]float64{}, map[string]float64{}
	for name, q := range map[string]float64{"p50": 0.5, "p95": 0.95, "p99": 0.99} {
		out.Monolith[name] = milliseconds(l.Monolith.Quantile(q))
		out.Service[name] = milliseconds(l.Service.Quantile(q))
	}
	return out
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

// latencyText says how the sides' latencies compare.
func latencyText(l shadow.Latency, slower float64) string {
	text := map[shadow.Judgement]string{
		shadow.NotSlower: "the service is not slower than the monolith by more than %s",
		shadow.Slower:    "the service is slower than the monolith by more than %s",
		shadow.Unsettled: "it is not settled whether the service is slower than the monolith by more than %s",
	}[l.Judge()]
	return fmt.Sprintf(text+" (p50 %s and %s, p95 %s and %s)", fmt.Sprintf("%.4g %%", slower*100),
		brief(l.Service.Quantile(0.5)), brief(l.Monolith.Quantile(0.5)), brief(l.Service.Quantile(0.95)), brief(l.Monolith.Quantile(0.95)))
}
