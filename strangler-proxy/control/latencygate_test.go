package control

import (
	"strings"
	"testing"
	"time"

	"stranglerfig/contract-tests/sequential"
	"stranglerfig/strangler-proxy/config"
	"stranglerfig/strangler-proxy/control/api"
	"stranglerfig/strangler-proxy/shadow"
)

// TestTheShadowGateAsksForTheTailWhereLatencyIsAGate: enough agrees, and then it
// is for how long the service took.
func TestTheShadowGateAsksForTheTailWhereLatencyIsAGate(t *testing.T) {
	c := newShop(t).start()
	rule := sequential.Rule{P0: 0.5, P1: 0.25, Alpha: 0.05, PerClient: 1, PerShape: 1}
	pairs := func(n, hung int) shadow.Count {
		count := shadow.Count{Route: shadowed, Capability: "billing", Compared: int64(n), Rule: rule, Test: sequential.Test{Weight: float64(n), Matches: int64(n)}}
		for i := range n {
			took := 10 * time.Millisecond
			if hung > 0 && i%hung == 0 {
				took = time.Second
			}
			count.Latency.Note(10*time.Millisecond, took, 0.5)
		}
		return count
	}
	for _, row := range []struct {
		name    string
		count   shadow.Count
		latency string
		verdict api.Verdict
		says    string
	}{
		{"too few to know", pairs(20, 0), config.LatencyGate, api.Missing, "it is not settled whether the service is slower than the monolith by more than 50 % at p95"},
		{"alike", pairs(600, 0), config.LatencyGate, api.Pass, "which is enough"},
		{"one of ten hangs", pairs(600, 10), config.LatencyGate, api.Fail, "the service is slower than the monolith by more than 50 % at p95 (p50 10.8ms and 10.8ms, p95 1.06s and 10.8ms, p99 1.06s and 10.8ms)"},
		{"one of ten hangs, and that is told", pairs(600, 10), config.LatencyWarn, api.Pass, "which is enough; the service is slower than the monolith by more than 50 % at p95"},
		{"one of ten hangs, and nobody cares", pairs(600, 10), config.LatencyOff, api.Pass, "which is enough"},
		{"one of thirty hangs", pairs(3000, 30), config.LatencyGate, api.Fail, "at p99"},
	} {
		f := c.judgeShadow("billing", api.Finding{Gate: "shadow", Verdict: api.Missing}, row.count, config.Mirroring{Rule: rule, Latency: row.latency, Slower: 0.5})
		if f.Verdict != row.verdict || !strings.Contains(f.Text, row.says) {
			t.Errorf("%s: %+v", row.name, f)
		}
	}
	told := c.shadowOf(pairs(3000, 30)).Latency
	if told.Verdict != "slower" || told.At != "p99" || told.Typical != "not slower" || len(told.Tails) != 2 || told.Tails[1].Service.Above < 900 || told.Tails[1].Monolith.UpTo > 11 {
		t.Errorf("told is %+v", told)
	}
}
