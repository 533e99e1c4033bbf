package proxy_test

import (
	"net/http"
	"strings"
	"testing"

	"stranglerfig/migrations/change"
)

// asking returns a world in which the service has what asks for something.
func asking(t *testing.T) *world {
	w := newWorld(t)
	w.obey("GET /invoices=monolith", "GET /invoices header:X-Version=2=service", "GET /orders=monolith", "GET /orders cookie:beta=service",
		"GET /products=monolith", "GET /products query:kind=a=service")
	return w
}

// TestPredicatesHoldAlikeOverBothProtocols asks over the two ways by which
// requests are read.
func TestPredicatesHoldAlikeOverBothProtocols(t *testing.T) {
	w := asking(t)
	newer := &http.Transport{Protocols: new(http.Protocols)}
	newer.Protocols.SetUnencryptedHTTP2(true)
	t.Cleanup(newer.CloseIdleConnections)
	for name, transport := range map[string]http.RoundTripper{"HTTP/1.1": w.client.Transport, "HTTP/2.0": newer} {
		w.client.Transport = transport
		for _, row := range []struct {
			path   string
			header []string
			want   string // who answers; "" for a refusal
		}{
			{"/invoices", nil, "monolith"},
			{"/invoices", []string{"X-Version", "2"}, "service"},
			{"/invoices", []string{"x-version", "3"}, "monolith"},
			{"/invoices", []string{"X-Version", "2", "X-Version", "2"}, ""},
			{"/invoices", []string{"X_Version", "2"}, ""},
			{"/orders", []string{"Cookie", "session=1"}, "monolith"},
			{"/orders", []string{"Cookie", "session=1; beta=on"}, "service"},
			{"/orders", []string{"Cookie", "session=1", "Cookie", "beta=on"}, "service"},
			{"/orders", []string{"Cookie", "BETA=on"}, ""},
			{"/products?kind=b", nil, "monolith"},
			{"/products?x=1&k%69nd=%61", nil, "service"},
			{"/products?kind=a&kind=b", nil, ""},
			{"/products?x=1;kind=a", nil, ""},
		} {
			got := w.ask("GET", row.path, "", row.header...)
			if got.Proto != name {
				t.Fatalf("asked over %s, not %s", got.Proto, name)
			}
			if refused := got.StatusCode == http.StatusBadRequest && strings.Contains(got.body, "depends on who reads it"); got.by() != row.want || refused != (row.want == "") {
				t.Errorf("%s %s %q: %d by %q, want %q: %s", name, row.path, row.header, got.StatusCode, got.by(), row.want, got.body)
			}
		}
	}
}

func TestAFieldThatIsNotPassedOnMeetsNoPredicate(t *testing.T) {
	w := asking(t)
	c := w.dial()
	c.send("GET /invoices HTTP/1.1\r\nHost: shop\r\nConnection: X-Version\r\nX-Version: 2\r\n\r\n")
	if res, _ := c.answer("GET"); res.Header.Get("X-Answered-By") != "monolith" {
		t.Errorf("%d by %q", res.StatusCode, res.Header.Get("X-Answered-By"))
	}
}

func TestExplainingLooksAtPredicatesToo(t *testing.T) {
	w := asking(t)
	e := w.proxy.Explain(w.request("GET", "/invoices", "", "X-Version", "2"))
	if e.Route != "GET /invoices header:X-Version=2" || e.Decision.Side != change.Service {
		t.Errorf("%+v", e)
	}
	if e := w.proxy.Explain(w.request("GET", "/products?kind=a&kind=b", "")); !strings.Contains(e.Refused, "query:kind") {
		t.Errorf("%+v", e)
	}
}
