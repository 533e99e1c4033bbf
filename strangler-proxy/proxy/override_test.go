package proxy_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"stranglerfig/migrations/change"
	"stranglerfig/strangler-proxy/proxy"
	"stranglerfig/strangler-proxy/route"
)

var overrideKey = []byte("a key of at least thirty-two bytes")

// token signs an override of a scope that holds for an hour from a moment.
func token(side change.Side, scope string, from time.Time) string {
	return route.Override{Side: side, Scope: scope, Until: from.Add(time.Hour)}.Sign(overrideKey)
}

// TestATestersTokenLeadsReadsToItsSide asks over both ways by which requests
// are read.
func TestATestersTokenLeadsReadsToItsSide(t *testing.T) {
	w := newWorld(t)
	w.snapshot.OverrideKey = overrideKey
	w.obey("GET /invoices/{id}=monolith", "POST /invoices=monolith", "GET /orders=service", "GET /products=canary 50%")
	seen := make(chan http.Header, 1)
	note := func(name string) http.HandlerFunc {
		return func(out http.ResponseWriter, r *http.Request) { seen <- r.Header.Clone() }
	}
	w.monolith.answers(note("monolith"))
	w.service.answers(note("service"))
	now := time.Now()
	service, monolith := token(change.Service, "billing", now), token(change.Monolith, "GET /orders", now)
	newer := &http.Transport{Protocols: new(http.Protocols)}
	newer.Protocols.SetUnencryptedHTTP2(true)
	t.Cleanup(newer.CloseIdleConnections)
	for name, transport := range map[string]http.RoundTripper{"HTTP/1.1": w.client.Transport, "HTTP/2.0": newer} {
		w.client.Transport = transport
		for _, row := range []struct {
			method, path, token string
			want, said          string
		}{
			{"GET", "/invoices/7", "", "monolith", ""},
			{"GET", "/invoices/7", service, "service", "service"},
			{"HEAD", "/invoices/7", service, "service", "service"},
			{"GET", "/orders", service, "service", "service"},
			{"GET", "/orders", monolith, "monolith", "monolith"},
			{"GET", "/products", service, "service", "service"},
			{"POST", "/invoices", service, "monolith", "ignored: a write goes to its owner"},
			{"GET", "/invoices/7", monolith, "monolith", "ignored: it is about another route"},
			{"GET", "/undeclared", service, "monolith", "ignored: it is about another route"},
			{"GET", "/invoices/7", service[:len(service)-2] + "AA", "monolith", "ignored: it is no token of this key"},
			{"GET", "/invoices/7", token(change.Service, "billing", now.Add(-2*time.Hour)), "monolith", "ignored: it has expired"},
		} {
			for _, cookie := range []bool{false, true} {
				header := []string{proxy.OverrideField, row.token, "Cookie", "session=1"}
				if cookie {
					header = []string{"Cookie", "session=1; " + proxy.OverrideCookie + "=" + row.token}
				}
				if row.token == "" {
					header = []string{"Cookie", "session=1"}
				}
				got := w.ask(row.method, row.path, "", header...)
				if got.Proto != name || got.by() != row.want || got.Header.Get(proxy.OverrideField) != row.said {
					t.Errorf("%s %s %s with %.40q: %d over %s by %q, told %q; want %q, told %q", name, row.method, row.path, header, got.StatusCode, got.Proto, got.by(), got.Header.Get(proxy.OverrideField), row.want, row.said)
				}
				if len(got.Header["Set-Cookie"]) > 0 && row.said == row.want {
					t.Errorf("%s: a tester was made sticky: %v", row.path, got.Header["Set-Cookie"])
				}
				told := <-seen
				if told.Get("Cookie") != "session=1" || told.Get(proxy.OverrideField) != "" {
					t.Errorf("%s %s: the backend was told %v", name, row.path, told)
				}
			}
		}
	}
}

func TestWithoutAKeyNoTokenIsObeyed(t *testing.T) {
	w := newWorld(t)
	w.obey("GET /invoices/{id}=monolith")
	got := w.ask("GET", "/invoices/7", "", proxy.OverrideField, route.Override{Side: change.Service, Scope: "billing", Until: time.Now().Add(time.Hour)}.Sign(nil))
	if got.by() != "monolith" || got.Header.Get(proxy.OverrideField) != "" {
		t.Errorf("by %q, told %q", got.by(), got.Header.Get(proxy.OverrideField))
	}
}

// TestNoTokenMovesAWriteOfMovingData asks for the side that does not own.
func TestNoTokenMovesAWriteOfMovingData(t *testing.T) {
	for _, owner := range []change.Side{change.Monolith, change.Service} {
		w := newWorld(t)
		w.snapshot.OverrideKey = overrideKey
		w.moving(owner, "GET /invoices/{id}="+string(owner), "POST /invoices="+string(owner))
		w.sync(time.Now())
		other := token(owner.Other(), "billing", time.Now())
		if got := w.ask("POST", "/invoices", "", proxy.OverrideField, other); got.by() != string(owner) {
			t.Errorf("a write owned by the %s went to %q", owner, got.by())
		}
		got := w.ask("GET", "/invoices/7", "", proxy.OverrideField, other)
		if said := got.Header.Get(proxy.OverrideField); got.by() != string(owner) || !strings.HasPrefix(said, "ignored: the client has just written") {
			t.Errorf("a read behind a write, of the %s, went to %q, told %q", owner, got.by(), said)
		}
		w.sync(time.Now().Add(time.Second)) // the follower has the write by now
		if got := w.ask("GET", "/invoices/7", "", proxy.OverrideField, other); got.by() != string(owner.Other()) {
			t.Errorf("a read for the follower of the %s went to %q", owner, got.by())
		}
	}
}

// TestATesterSeesTheServiceFail has nobody stand in for it.
func TestATesterSeesTheServiceFail(t *testing.T) {
	w := newWorld(t)
	w.snapshot.OverrideKey = overrideKey
	w.obey("GET /invoices/{id}=service")
	w.service.answers(func(out http.ResponseWriter, _ *http.Request) { out.WriteHeader(http.StatusServiceUnavailable) })
	if got := w.ask("GET", "/invoices/7", ""); got.by() != "monolith" {
		t.Errorf("without a token %q answered", got.by())
	}
	if got := w.ask("GET", "/invoices/7", "", proxy.OverrideField, token(change.Service, "GET /invoices/{id}", time.Now())); got.by() != "service" || got.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("with a token %q answered %d", got.by(), got.StatusCode)
	}
}

func TestExplainingSaysWhatBecomesOfAToken(t *testing.T) {
	w := newWorld(t)
	w.snapshot.OverrideKey = overrideKey
	w.obey("GET /invoices/{id}=monolith")
	for from, want := range map[time.Time]string{time.Now(): "service", time.Now().Add(-2 * time.Hour): "ignored: it has expired"} {
		e := w.proxy.Explain(w.request("GET", "/invoices/7", "", proxy.OverrideField, token(change.Service, "billing", from)))
		if e.Override != want || e.Decision.Side == change.Service != (want == "service") {
			t.Errorf("%+v", e)
		}
	}
}
