package proxy_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"stranglerfig/strangler-proxy/proxy"
	"stranglerfig/strangler-proxy/upstream"
)

// TestNoMethodSlipsPastItsOwnerInDisguise asks as frameworks let clients that
// can only GET and POST.
func TestNoMethodSlipsPastItsOwnerInDisguise(t *testing.T) {
	w := newWorld(t)
	w.obey("GET /invoices/{id}=service", "POST /invoices/{id}=monolith", "PUT /invoices/{id}=monolith", "DELETE /invoices/{id}=service")
	newer := &http.Transport{Protocols: new(http.Protocols)}
	newer.Protocols.SetUnencryptedHTTP2(true)
	t.Cleanup(newer.CloseIdleConnections)
	for name, transport := range map[string]http.RoundTripper{"HTTP/1.1": w.client.Transport, "HTTP/2.0": newer} {
		w.client.Transport = transport
		for _, row := range []struct {
			method, path string
			header       []string
			want         string // who answers; "" for a refusal
		}{
			{"POST", "/invoices/7", nil, "monolith"},
			{"POST", "/invoices/7", []string{"X-HTTP-Method-Override", "POST"}, "monolith"},
			{"POST", "/invoices/7", []string{"X-HTTP-Method-Override", "PUT"}, "monolith"}, // who answers is the same
			{"POST", "/invoices/7", []string{"X-HTTP-Method-Override", "PURGE"}, "monolith"},
			{"POST", "/invoices/7", []string{"X-HTTP-Method-Override", "DELETE"}, ""},
			{"POST", "/invoices/7", []string{"X_HTTP_Method_Override", "DELETE"}, ""},
			{"POST", "/invoices/7", []string{"X-HTTP-Method-Override", "PUT", "X-HTTP-Method-Override", "DELETE"}, ""},
			{"POST", "/invoices/7", []string{"X-HTTP-Method-Override", "DELETE, PUT"}, ""}, // Express takes the first
			{"POST", "/invoices/7", []string{"X-HTTP-Method", " delete "}, ""},
			{"POST", "/invoices/7", []string{"X-Method-Override", "DELETE"}, ""},
			{"GET", "/invoices/7", []string{"X-Method-Override", "DELETE"}, ""}, // which has the same owner, but writes
			{"POST", "/invoices/7?_method=delete", nil, ""},
			{"POST", "/invoices/7?x=1;%5Fmethod=DEL%45TE", nil, ""},
			{"POST", "/invoices/7?+.method=DELETE", nil, ""},      // as PHP reads it
			{"GET", "/invoices/7?_method=delete", nil, "service"}, // nobody looks there for GET
			{"POST", "/orders/7", []string{"X-HTTP-Method-Override", "DELETE"}, "monolith"},
			{"PATCH", "/invoices/7", []string{"X-HTTP-Method-Override", "DELETE"}, ""},
			{"delete", "/invoices/7", nil, ""}, // as some read it
			{"delete", "/orders/7", nil, "monolith"},
		} {
			got := w.ask(row.method, row.path, "", row.header...)
			if got.Proto != name {
				t.Fatalf("asked over %s, not %s", got.Proto, name)
			}
			if refused := got.StatusCode == http.StatusBadRequest && strings.Contains(got.body, "could be read as DELETE"); got.by() != row.want || refused != (row.want == "") {
				t.Errorf("%s %s %s %q: %d by %q, want %q: %s", name, row.method, row.path, row.header, got.StatusCode, got.by(), row.want, got.body)
			}
		}
	}
	if got := w.ask("put", "/invoices/7", ""); got.StatusCode != http.StatusBadRequest || !strings.Contains(got.body, "could be read as PUT") {
		t.Errorf("past the gate of its capability: %d by %q: %s", got.StatusCode, got.by(), got.body)
	}
	if e := w.proxy.Explain(w.request("POST", "/invoices/7", "", "X-Method-Override", "DELETE")); !strings.Contains(e.Refused, "DELETE") {
		t.Errorf("explained as %+v", e)
	}
}

// TestNoPathSlipsPastItsOwnerInAField by which rewriting servers name what was
// asked for.
func TestNoPathSlipsPastItsOwnerInAField(t *testing.T) {
	w := newWorld(t)
	w.obey("GET /invoices/{id}=service", "GET /files/{path...}=service", "GET /orders=monolith")
	for _, row := range []struct {
		path, field, value string
		want               string // who answers; "" for a refusal
	}{
		{"/", "X-Original-URL", "/invoices/7", ""},
		{"/", "X-Rewrite-Url", "/invoices/7?x=1", ""},
		{"/", "X_Original_URL", "/%69nvoices/7", ""},
		{"/", "X-Original-URL", "http://shop.example/invoices/7", ""},
		{"/", "X-Original-URL", "invoices/7", ""},
		{"/", "X-Original-URL", "//invoices/7", ""},
		{"/", "X-Original-URL", "/a\\b", ""},
		{"/orders", "X-Original-URL", "/invoices/7", ""},
		{"/invoices/7", "X-Original-URL", "/admin", ""},
		{"/", "X-Original-URL", "", "monolith"},
		{"/", "X-Original-URL", "/other", "monolith"},
		{"/", "X-Original-URL", "http://shop.example", "monolith"},
		{"/invoices/7", "X-Original-URL", "/invoices/7", "service"},
		{"/invoices/7", "X-Rewrite-URL", "/files/a/b", "service"}, // whoever answers is the same
		{"/", "X-Original-URLs", "/invoices/7", "monolith"},
	} {
		before := w.refusals("path-override")
		got := w.ask("GET", row.path, "", row.field, row.value)
		if refused := got.StatusCode == http.StatusBadRequest; got.by() != row.want || refused != (row.want == "") || refused != (w.refusals("path-override") == before+1) {
			t.Errorf("%+v: %d by %q: %s", row, got.StatusCode, got.by(), got.body)
		}
	}
}

// TestNoMethodSlipsPastItsOwnerOnAnotherPath where a request names both.
func TestNoMethodSlipsPastItsOwnerOnAnotherPath(t *testing.T) {
	w := newWorld(t)
	w.snapshot.Manners = map[*upstream.Backend]proxy.Manners{w.snapshot.Monolith: {BodyMethod: true}}
	w.obey("DELETE /notes/{id}=service", "GET /invoices=service")
	for _, row := range []struct {
		method, path, body string
		header             []string
		want               string // who answers; "" for a refusal
	}{
		{"GET", "/", "", []string{"X-Original-URL", "/notes/7"}, "monolith"},
		{"GET", "/", "", []string{"X-Original-URL", "/notes/7", "X-HTTP-Method-Override", "DELETE"}, ""},
		{"GET", "/", "", []string{"X-Original-URL", "/notes/7", "X-HTTP-Method-Override", "PUT"}, "monolith"},
		{"POST", "/?_method=delete", "", []string{"X-Rewrite-URL", "/notes/7"}, ""},
		{"POST", "/", "", []string{"X-Rewrite-URL", "/notes/7?_method=delete"}, ""},
		{"GET", "/", "", []string{"X-Rewrite-URL", "/notes/7?_method=delete"}, "monolith"}, // nobody looks there for GET
		{"POST", "/", "_method=delete", []string{"X-Original-URL", "/notes/7"}, ""},
		{"POST", "/", "_method=delete", []string{"X-Original-URL", "/other"}, "monolith"},
	} {
		got := w.ask(row.method, row.path, row.body, row.header...)
		if got.by() != row.want || (row.want == "") != (got.StatusCode == http.StatusBadRequest) {
			t.Errorf("%+v: %d by %q: %s", row, got.StatusCode, got.by(), got.body)
		}
	}
	const everything = "OPTIONS * HTTP/1.1\r\nHost: shop\r\nX-HTTP-Method-Override: %s\r\nX-Original-URL: %s\r\n\r\n"
	for _, row := range []struct {
		method, path string
		refused      bool
	}{{"DELETE", "/notes/7", true}, {"GET", "/invoices", true}, {"DELETE", "/other", false}, {"DELETE", "", false}} {
		if got := w.raw(fmt.Sprintf(everything, row.method, row.path)); (got.StatusCode == http.StatusBadRequest) != row.refused {
			t.Errorf("OPTIONS * for %+v: %d", row, got.StatusCode)
		}
	}
}

// TestARequestNamesFewOtherMethodsAndPaths since each of them is looked up: many
// of them are refused, and the same one several times is one.
func TestARequestNamesFewOtherMethodsAndPaths(t *testing.T) {
	w := newWorld(t)
	w.obey("GET /invoices=service")
	for _, row := range []struct {
		methods, paths int
		same           bool
		reason         string // of the refusal
	}{
		{8, 8, false, ""},
		{9, 0, false, "method-override"},
		{0, 9, false, "path-override"},
		{200, 50, true, ""},
	} {
		query, header := "", []string{}
		for i := range row.methods {
			query += "&_method=M"
			if !row.same {
				query += fmt.Sprint(i)
			}
		}
		for i := range row.paths {
			if row.same {
				i = 0
			}
			header = append(header, "X-Original-URL", fmt.Sprintf("/other/%d", i))
		}
		got := w.ask("POST", "/?"+query, "", header...)
		if (row.reason != "") != (got.StatusCode == http.StatusBadRequest) || row.reason != "" && w.refusals(row.reason) != 1 {
			t.Errorf("%+v: %d by %q: %s", row, got.StatusCode, got.by(), got.body)
		}
	}
}

// TestNoMethodSlipsPastItsOwnerInABody that nobody looks into: where the body may
// name a method of another owner it is not passed on.
func TestNoMethodSlipsPastItsOwnerInABody(t *testing.T) {
	const form = "_method=DELETE"
	for _, row := range []struct {
		monolith, service bool // takes methods from bodies
		method, path      string
		body              string
		want              string // who answers; "" for a refusal
	}{
		{true, false, "POST", "/invoices/7", form, ""}, // which meets no route: the monolith would delete it
		{true, false, "POST", "/invoices/7", "x=1", ""},
		{true, false, "POST", "/invoices/7", "", "monolith"},  // without a body it names none
		{true, false, "PUT", "/invoices/7", form, "monolith"}, // nobody looks there for PUT
		{true, false, "POST", "/invoices", form, "monolith"},  // no other method has another owner
		{true, false, "POST", "/orders/7", form, "monolith"},
		{true, false, "POST", "/receipts/7", form, "service"}, // whoever deletes is the same
		{false, false, "POST", "/invoices/7", form, "monolith"},
		{false, true, "POST", "/invoices/7", form, "monolith"}, // the one that answers does not
		{false, true, "POST", "/notes/7", form, ""},
		{true, true, "POST", "/notes/7", form, ""},
	} {
		w := newWorld(t)
		w.snapshot.Manners = map[*upstream.Backend]proxy.Manners{
			w.snapshot.Monolith: {BodyMethod: row.monolith}, w.snapshot.Capabilities["billing"].Service: {BodyMethod: row.service},
		}
		w.obey("GET /invoices=service", "DELETE /invoices/{id}=service", "DELETE /receipts/{id}=service", "POST /receipts/{id}=service",
			"DELETE /notes/{id}=monolith", "POST /notes/{id}=service")
		got := w.ask(row.method, row.path, row.body, "Content-Type", "application/x-www-form-urlencoded")
		if got.by() != row.want || (row.want == "") != (got.StatusCode == http.StatusBadRequest) {
			t.Errorf("%+v: %d by %q: %s", row, got.StatusCode, got.by(), got.body)
		}
		if row.want == "" && (w.refusals("method-override") != 1 || !strings.Contains(got.body, "the body may name")) {
			t.Errorf("%+v: %v counted: %s", row, w.refusals("method-override"), got.body)
		}
		if e := w.proxy.Explain(w.request(row.method, row.path, "")); row.body != "" && (e.Refused != "") != (row.want == "") {
			t.Errorf("%+v: explained as %+v", row, e)
		}
	}
}

func TestWhatFindsNoRouteIsCountedByItsReason(t *testing.T) {
	w := newWorld(t)
	w.obey("GET /invoices=service", "DELETE /invoices=monolith", "GET /orders=monolith", "GET /orders query:kind=a=service")
	for _, row := range []struct{ reason, path, override string }{
		{"path", "//invoices", ""}, {"predicate", "/orders?kind=a&kind=a", ""}, {"method-override", "/invoices", "DELETE"},
	} {
		w.ask("GET", row.path, "", "X-HTTP-Method-Override", row.override)
		if n := w.refusals(row.reason); n != 1 {
			t.Errorf("%s was counted %v times as %s", row.path, n, row.reason)
		}
	}
}

// refusals returns how many requests were refused for a reason.
func (w *world) refusals(reason string) float64 {
	w.t.Helper()
	families, err := w.registry.Gather()
	if err != nil {
		w.t.Fatal(err)
	}
	for _, family := range families {
		for _, m := range family.GetMetric() {
			if family.GetName() == "strangler_refused_total" && m.GetLabel()[0].GetValue() == reason {
				return m.GetCounter().GetValue()
			}
		}
	}
	return 0
}
