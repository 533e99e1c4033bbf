package app_test

import (
	"bufio"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"stranglerfig/monolith/app"
)

func TestPausedWritesAreAnsweredWithRetryAfter(t *testing.T) {
	s := open(t, sqliteFile(t))
	s.run(`CREATE TRIGGER pause BEFORE INSERT ON inv BEGIN SELECT RAISE(ABORT, 'strangler: inv is fenced'); END`)
	a := s.ask("POST", "/invoices", `{"customer_id":1,"amount":1}`, "Idempotency-Key", "paused")
	if a.is(t, 503, `{"error":"writes are paused"}`); a.header.Get("Retry-After") != "1" {
		t.Error("no Retry-After")
	}
	s.run(`DROP TRIGGER pause`)
	s.ask("POST", "/invoices", `{"customer_id":1,"amount":1}`, "Idempotency-Key", "paused").is(t, 201, "")
}

func TestOrderStandsWhenBillingRefuses(t *testing.T) {
	broken := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		http.Error(w, "broken", http.StatusBadGateway)
	}))
	defer broken.Close()
	s := open(t, sqliteFile(t), func(o *app.Options) { o.BillingURL = broken.URL })
	a := s.ask("POST", "/orders", `{"customer_id":1,"items":[{"product_id":1,"qty":1}]}`)
	if a.is(t, 201, ""); !strings.Contains(a.body, `"invoice_id":null`) {
		t.Errorf("answered %s", a.body)
	}
}

func TestOrderIsInvoicedOverHTTPWithItsOwnKey(t *testing.T) {
	billing := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Idempotency-Key") != "order-21" || r.Header.Get("Authorization") != "Bearer "+token {
			http.Error(w, "who is this", http.StatusUnauthorized)
			return
		}
		w.WriteHeader(http.StatusCreated)
		w.Write([]byte(`{"id":4711}`))
	}))
	defer billing.Close()
	s := open(t, sqliteFile(t), func(o *app.Options) { o.BillingURL = billing.URL })
	a := s.ask("POST", "/orders", `{"customer_id":1,"items":[{"product_id":1,"qty":1}]}`)
	if a.is(t, 201, ""); !strings.Contains(a.body, `"invoice_id":4711`) {
		t.Errorf("answered %s", a.body)
	}
}

func TestEventsTellEveryStateAndEndWithTheOrder(t *testing.T) {
	s := open(t, sqliteFile(t))
	s.run("UPDATE orders SET st = 0 WHERE id = 1")
	lines := s.events("/orders/1/events")
	expect(t, lines, "event: status", `data: {"id":1,"st":0}`, "")
	s.ask("POST", "/orders/1/status", `{"st":1}`).is(t, 200, "")
	expect(t, lines, "event: status", `data: {"id":1,"st":1}`, "")
	s.ask("POST", "/orders/1/status", `{"st":2}`).is(t, 200, "")
	expect(t, lines, "event: status", `data: {"id":1,"st":2}`, "")
	if lines.Scan() {
		t.Errorf("the stream goes on after the order was shipped: %q", lines.Text())
	}
	s.ask("POST", "/orders/1/status", `{"st":3}`).is(t, 409, `{"error":"order 1 is shipped"}`)
}

func TestEventsEndWhenTheShopStops(t *testing.T) {
	s := open(t, sqliteFile(t))
	s.run("UPDATE orders SET st = 0 WHERE id = 1")
	lines := s.events("/orders/1/events")
	expect(t, lines, "event: status", `data: {"id":1,"st":0}`, "")
	s.app.Stop()
	if lines.Scan() {
		t.Errorf("got %q after the stop", lines.Text())
	}
}

// events opens a stream and reads it line by line.
func (s *shop) events(path string) *bufio.Scanner {
	s.t.Helper()
	request, err := http.NewRequestWithContext(s.t.Context(), http.MethodGet, s.url+path, nil)
	if err != nil {
		s.t.Fatal(err)
	}
	request.Header.Set("Authorization", "Bearer "+token)
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { response.Body.Close() })
	if got := response.Header.Get("Content-Type"); got != "text/event-stream" {
		s.t.Fatalf("Content-Type %q", got)
	}
	return bufio.NewScanner(response.Body)
}

func expect(t *testing.T, lines *bufio.Scanner, want ...string) {
	t.Helper()
	for _, line := range want {
		if !lines.Scan() || lines.Text() != line {
			t.Fatalf("got %q, want %q", lines.Text(), line)
		}
	}
}

func TestProviderStatesExistOnlyWhenAskedFor(t *testing.T) {
	open(t, sqliteFile(t)).ask("POST", "/_states", `{"state":"no invoice","params":{"id":1}}`).is(t, 404, "")
}

func TestProviderStateMakesExactlyThatInvoice(t *testing.T) {
	s := open(t, sqliteFile(t), func(o *app.Options) { o.ProviderStates = true })
	set := func(state, params string) answer {
		return s.ask("POST", "/_states", `{"state":"`+state+`","params":`+params+`,"action":"setup"}`)
	}
	wish := `{"id":900001,"customer_id":1,"amount":25,"st":1,"created":"2026-03-01 10:00:00","paid":5}`
	for range 2 {
		set("invoice", wish).is(t, 200, "{}")
		s.pay(900001, "1").is(t, 201, "")
	}
	set("invoice", wish).is(t, 200, "{}")
	s.ask("GET", "/invoices/900001", "").is(t, 200, `{"id":900001,"no":"INV-900001","customer_id":1,`+
		`"customer":"Ada Lovelace","order_id":null,"amount":25,"st":1,"note":"","created":"2026-03-01 10:00:00",`+
		`"updated":"2026-03-01 10:00:00","paid":5,"payments":[{"id":900001,"invoice_id":900001,"amount":5,`+
		`"ref":"state","created":"2026-03-01 10:00:00"}]}`)
	set("no invoice", `{"id":900001}`).is(t, 200, "{}")
	s.ask("GET", "/invoices/900001", "").is(t, 404, "")
	set("unheard of", `{}`).is(t, 422,
		`{"error":"validation failed","fields":{"state":"must be one of: idempotency key unused, invoice, no invoice"}}`)
}

func TestCustomersLogInAndOut(t *testing.T) {
	s := open(t, sqliteFile(t))
	cookie := s.login("customer1@example.com", "secret1")
	s.askAs("Cookie", cookie, "GET", "/me", "").is(t, 200,
		`{"customer_id":1,"name":"Ada Lovelace","email":"customer1@example.com"}`)
	s.askAs("Cookie", cookie, "POST", "/logout", "").is(t, 204, "")
	s.askAs("Cookie", cookie, "GET", "/me", "").is(t, 401, "")
	s.askAs("Accept", "*/*", "POST", "/login", `{"email":"customer1@example.com","password":"wrong"}`).is(t, 401, "")
}

func TestAnEmailRegistersOnce(t *testing.T) {
	s := open(t, sqliteFile(t))
	body := `{"email":"new@example.com","name":"New","password":"long enough"}`
	s.ask("POST", "/customers", body).is(t, 201, "")
	s.ask("POST", "/customers", body).is(t, 409, `{"error":"email new@example.com is already registered"}`)
	s.login("new@example.com", "long enough")
}
