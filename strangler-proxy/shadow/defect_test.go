package shadow_test

import (
	"path/filepath"
	"testing"

	"stranglerfig/contract-tests/tape"
	"stranglerfig/strangler-proxy/proxy"
	"stranglerfig/strangler-proxy/route"
	"stranglerfig/strangler-proxy/shadow"
)

// defects lets a shadow meet one whenever a difference is redacted, and counts
// what is told of them.
func defects(o *shadow.Options) chan any {
	told := make(chan any, 8)
	o.Redact = func(tape.Exchange) tape.Exchange { panic("a defect") }
	o.Panicked = func(reason any, stack []byte) { told <- reason }
	return told
}

func TestADefectMetByAWriteIsToldAndTheNextIsCompared(t *testing.T) {
	w := &world{t: t}
	var told chan any
	w.set(func(o *shadow.Options) { isolate(o, w); told = defects(o) })
	w.obey(func(c *proxy.Capability, routes []route.Route) {
		c.Isolated = true
		for i := range routes {
			routes[i].Owner = route.Owner{Stage: route.Monolith, Share: 100}
		}
	})
	says(&w.isolated, `{"total": "another kind"}`)
	w.ask("POST", "/invoices")
	c := w.until("POST /invoices", judged(1))
	if reason := <-told; reason != "a defect" || c.Reasons[shadow.Defect] != 1 {
		t.Errorf("told of %v; %+v", reason, c)
	}
	says(&w.isolated, `{"total": 1}`)
	w.ask("POST", "/invoices")
	if c := w.until("POST /invoices", judged(2)); c.Matched != 1 {
		t.Errorf("afterwards: %+v", c)
	}
}

func TestADefectMetByAReadAfterItWasJudgedIsTold(t *testing.T) {
	var told chan any
	w := newWorld(t, func(o *shadow.Options) { told = defects(o) })
	says(&w.service, `{"total": 2}`)
	w.ask("GET", "/invoices")
	c := w.until("GET /invoices", judged(1))
	if reason := <-told; reason != "a defect" || c.Reasons[shadow.Defect] != 1 {
		t.Errorf("told of %v; %+v", reason, c)
	}
}

func TestADefectMetWhileWhatWasFoundIsKeptIsTold(t *testing.T) {
	told := make(chan any, 8)
	w := newWorld(t, func(o *shadow.Options) {
		o.Path = filepath.Join(t.TempDir(), "no such folder", "shadow.json")
		o.Failed = func(error) { panic("a defect") }
		o.Panicked = func(reason any, _ []byte) { told <- reason }
	})
	w.ask("GET", "/invoices")
	w.until("GET /invoices", judged(1))
	w.shadow.Close()
	if reason := <-told; reason != "a defect" {
		t.Errorf("told of %v", reason)
	}
}
