package cli

import (
	"testing"

	"stranglerfig/contract-tests/compare"
	"stranglerfig/contract-tests/verify"
	"stranglerfig/strangler-proxy/control/api"
)

func TestWhatIsHeldAgainstNobodyProvesNothingInARehearsal(t *testing.T) {
	e := api.Effects{Rows: map[string]int64{"invoices": 2}}
	read := verify.Interaction{Request: "GET /invoices", Verdict: verify.Evidence}
	wrote := verify.Interaction{Request: "POST /invoices", Verdict: verify.Evidence}
	pending := verify.Interaction{Request: "POST /payments", Verdict: verify.Differs, Pending: true, Effects: []compare.Difference{{Kind: compare.Value}}}
	unsent := verify.Interaction{Request: "POST /refunds", Verdict: verify.NotExercised}
	for _, c := range []struct {
		report           verify.Report
		verdict, summary string
	}{
		{verify.Report{Verdict: verify.Pass, Passed: 2, Interactions: []verify.Interaction{read, wrote}}, verify.Pass,
			"both sides of the pair wrote the same 2 rows of 1 tables in 2 interactions"},
		{verify.Report{Verdict: verify.Pass, Passed: 1, Pending: 1, Interactions: []verify.Interaction{read, pending}}, verify.Insufficient,
			"none of 2 interactions wrote and was held against the sides: 1 are pending, 0 were not exercised"},
		{verify.Report{Verdict: verify.Pass, Passed: 1, Pending: 1, NotExercised: 1, Interactions: []verify.Interaction{wrote, pending, unsent}}, verify.Pass,
			"both sides of the pair wrote the same in 1 of 3 interactions, and 1 are pending, 1 were not exercised; 2 rows of 1 tables were compared"},
		{verify.Report{Verdict: verify.Insufficient, Unreachable: 1, Interactions: []verify.Interaction{wrote}}, verify.Insufficient,
			"1 of 1 interactions got no answer"},
	} {
		if verdict, summary := judgedEffects(c.report, e); verdict != c.verdict || summary != c.summary {
			t.Errorf("%s: %s", verdict, summary)
		}
	}
}
