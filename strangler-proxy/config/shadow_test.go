package config_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"stranglerfig/contract-tests/sequential"
	"stranglerfig/strangler-proxy/config"
)

const judged = `
monolith: {url: http://127.0.0.1:9000}
capabilities:
  billing:
    service: {url: http://127.0.0.1:9102}
    shadow: {p0: 1%, p1: 0.001, latency: gate, reverse: off, isolated: http://127.0.0.1:9902}
    routes:
      GET /invoices: {owner: shadow, shadow: {alpha: 10%, span: 0}}
      GET /invoices/{id}: shadow
  catalog:
    service: {url: http://127.0.0.1:9101}
    routes:
      GET /products: shadow
shadow: {queue: 16, body: 64KiB, per_client: 1, slower: 100%, span: 2m}
`

// TestTheNarrowestPlaceSaysHowAnswersAreJudged has the file's own part at its
// end: what is wider need not come first.
func TestTheNarrowestPlaceSaysHowAnswersAreJudged(t *testing.T) {
	c := parse(t, judged)
	file := config.Mirroring{
		Rule:    sequential.Rule{P0: 0.001, P1: 0.0001, Alpha: 0.05, PerClient: 1, PerShape: 0.5, Span: 2 * time.Minute},
		Latency: config.LatencyWarn, Slower: 1, Reverse: 10,
	}
	billing := file
	billing.Rule.P0, billing.Rule.P1, billing.Latency, billing.Reverse = 0.01, 0.001, config.LatencyGate, 0
	list := billing
	list.Rule.Alpha, list.Rule.Span = 0.1, 0
	for name, routes := range map[string]map[string]config.Mirroring{
		"billing": {"GET /invoices": list, "GET /invoices/{id}": billing},
		"catalog": {"GET /products": file},
	} {
		p, _ := c.Capability(name)
		for id, want := range routes {
			if diff := cmp.Diff(want, p.Mirroring(id)); diff != "" {
				t.Errorf("%s: %s", id, diff)
			}
		}
	}
	if c.Shadow.Queue != 16 || c.Shadow.Body != 64<<10 {
		t.Errorf("%+v", c.Shadow)
	}
	if p, _ := c.Capability("billing"); p.Isolated == nil || p.Isolated.URL != "http://127.0.0.1:9902" {
		t.Errorf("%+v", p.Isolated)
	}
}

func TestAnIsolatedStoreMayNameItsDatabase(t *testing.T) {
	c := parse(t, `
monolith: {url: http://127.0.0.1:9000, database: sqlite:shop.db}
capabilities:
  billing:
    service: {url: http://127.0.0.1:9102, database: sqlite:billing.db}
    shadow: {isolated: {url: "http://127.0.0.1:9902", database: sqlite:isolated.db}}
    data: {invoices: {from: inv, key: id, columns: {id: id}}}
`)
	p, _ := c.Capability("billing")
	if p.Isolated == nil || p.Isolated.URL != "http://127.0.0.1:9902" || p.Isolated.Database != "sqlite:"+c.Resolve("isolated.db") {
		t.Errorf("%+v", p.Isolated)
	}
}

func TestHowAnswersAreJudgedDoesNotVoidOtherEvidence(t *testing.T) {
	one, _ := parse(t, judged).Capability("billing")
	other := *one
	other.Shadow.Rule.P0, other.Isolated = 0.5, nil
	if one.Digest() != other.Digest() {
		t.Error("contract evidence would be void")
	}
}
