package proxy_test

import (
	"net/http"
	"sync/atomic"
	"testing"

	"stranglerfig/strangler-proxy/proxy"
	"stranglerfig/strangler-proxy/route"
)

// defective is an observer with a defect that one route brings out.
type defective struct{ bad string }

func (d defective) Wants(r *route.Route, _ route.Decision) bool {
	if r != nil && r.ID == d.bad {
		panic("a defect")
	}
	return false
}

func (defective) Observe(*proxy.Exchange) {}

func TestADefectOfOursEndsOneRequestAndIsCountedAndTold(t *testing.T) {
	var told atomic.Int64
	w := newWorld(t, func(o *proxy.Options) {
		o.Observers = []proxy.Observer{defective{"GET /invoices"}}
		o.Panicked = func(reason any, stack []byte) {
			if reason != "a defect" || len(stack) == 0 {
				t.Errorf("told of %v with a stack of %d bytes", reason, len(stack))
			}
			told.Add(1)
		}
	})
	w.obey("GET /invoices=service", "GET /orders=service")
	newer := &http.Transport{Protocols: new(http.Protocols)}
	newer.Protocols.SetUnencryptedHTTP2(true)
	t.Cleanup(newer.CloseIdleConnections)
	for name, transport := range map[string]http.RoundTripper{"HTTP/1.1": &http.Transport{DisableKeepAlives: true}, "HTTP/2.0": newer} {
		w.client.Transport = transport
		before := w.refusals("panic")
		if res, err := w.client.Do(w.request("GET", "/invoices", "")); err == nil {
			res.Body.Close()
			t.Errorf("%s: answered %s", name, res.Status)
		}
		if got := w.ask("GET", "/orders", ""); got.Proto != name || got.by() != "service" {
			t.Errorf("%s: afterwards %s is answered by %q", name, got.Proto, got.by())
		}
		if w.refusals("panic") <= before {
			t.Errorf("%s: it was not counted", name)
		}
	}
	if told.Load() != int64(w.refusals("panic")) {
		t.Errorf("told %d times of %v defects", told.Load(), w.refusals("panic"))
	}
}
