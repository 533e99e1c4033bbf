package control

import (
	"strings"
	"testing"
	"time"

	"stranglerfig/migrations/ledger"
	"stranglerfig/strangler-proxy/control/api"
)

// files files a verification of the billing contract, as of its subject.
func (s *server) files(verdict, summary, details string, subject ledger.Subject) {
	s.t.Helper()
	if _, err := s.ledger.AddEvidence(s.t.Context(), ledger.Evidence{
		Capability: "billing", Kind: "contract", Verdict: verdict, Summary: summary, Details: []byte(details), Subject: subject, By: "test", At: time.Now(),
	}); err != nil {
		s.t.Fatal(err)
	}
}

func TestOnlyAVerificationThatJudgedWhatThereIsNowDisplacesAnother(t *testing.T) {
	s := newShop(t)
	s.save(func(s *shop) { s.routes = "GET /invoices: monolith; POST /invoices: monolith" })
	c := s.start()
	now := c.contracted()
	other := now
	other.ServiceBuild = "v2"
	const whole, reads = `{"verdicts":{"evidence":5}}`, `{"verdicts":{"evidence":3,"not-exercised":2}}`
	gate := func(route string, verdict api.Verdict, words ...string) {
		t.Helper()
		f := says(t, c.canCutOver(route), "contract")
		for _, w := range words {
			if f.Verdict != verdict || !strings.Contains(f.Text, w) {
				t.Errorf("%s: the gate says %+v, want %s and %q", route, f, verdict, w)
			}
		}
	}
	c.files("insufficient", "nobody was let in", "{}", now)
	gate("GET /invoices", api.Missing, "nobody was let in")
	c.files("pass", "5 of 5", whole, now)
	gate("POST /invoices", api.Pass, "5 of 5")
	c.files("insufficient", "nobody was let in", "{}", now)
	gate("GET /invoices", api.Pass, "5 of 5 (verified at ", "could not judge: nobody was let in)")
	gate("POST /invoices", api.Pass, "5 of 5")
	c.files("pass", "3 of 5", reads, now)
	gate("GET /invoices", api.Pass, "3 of 5")
	gate("POST /invoices", api.Pass, "5 of 5") // writes were exercised, and nothing has changed since
	c.files("fail", "4 of 5 of another build", whole, other)
	gate("POST /invoices", api.Pass, "5 of 5")
	c.files("fail", "4 of 5", reads, now)
	gate("GET /invoices", api.Fail, "4 of 5")
	gate("POST /invoices", api.Fail, "4 of 5")
	c.files("insufficient", "nobody was let in", "{}", now)
	gate("POST /invoices", api.Fail, "4 of 5 (verified at ")
	c.files("pass", "3 of 5", reads, now)
	gate("GET /invoices", api.Pass, "3 of 5")
	gate("POST /invoices", api.Missing, "2 interactions were not exercised") // what failed may be a write
}
