package app_test

import (
	"fmt"
	"strings"
	"sync"
	"testing"
)

// invoice is what the tests look at.
type invoice struct {
	ID       int64   `json:"id"`
	No       string  `json:"no"`
	St       int     `json:"st"`
	Amount   float64 `json:"amount"`
	Paid     float64 `json:"paid"`
	Payments []any   `json:"payments"`
}

// issue creates an invoice over an amount.
func (s *shop) issue(amount string) invoice {
	s.t.Helper()
	var made invoice
	a := s.ask("POST", "/invoices", `{"customer_id":1,"amount":`+amount+`}`)
	a.is(s.t, 201, "")
	a.read(s.t, &made)
	return made
}

func (s *shop) pay(id int64, amount string, headers ...string) answer {
	s.t.Helper()
	return s.ask("POST", fmt.Sprintf("/invoices/%d/payments", id), `{"amount":`+amount+`,"ref":"test"}`, headers...)
}

func (s *shop) invoice(id int64) invoice {
	s.t.Helper()
	var found invoice
	s.ask("GET", fmt.Sprintf("/invoices/%d", id), "").read(s.t, &found)
	return found
}

func TestBillingKeepsItsPromisesOnSQLite(t *testing.T) {
	testBilling(t, open(t, sqliteFile(t)))
}

func TestBillingKeepsItsPromisesOnPostgres(t *testing.T) {
	testBilling(t, open(t, postgresDatabase(t)))
}

func testBilling(t *testing.T, s *shop) {
	for name, promise := range map[string]func(*testing.T, *shop){
		"a new invoice is issued and numbered":      promiseNumbered,
		"the last open cent makes an invoice paid":  promisePaid,
		"overpaying is refused":                     promiseNoOverpaying,
		"a void invoice takes no payments":          promiseVoid,
		"a key makes one change among many at once": promiseOnce,
		"a key belongs to one request":              promiseKeyBelongs,
		"a refused request does not use its key up": promiseRefusalForgotten,
		"amounts are exact":                         promiseExact,
		"customers see only their own invoices":     promiseOwn,
		"what is known is not sent again":           promiseTags,
		"the pages and reports answer":              promiseReads,
		"orders are invoiced once":                  promiseOrder,
	} {
		t.Run(name, func(t *testing.T) {
			of := *s
			of.t = t
			promise(t, &of)
		})
	}
}

func promiseNumbered(t *testing.T, s *shop) {
	a := s.ask("POST", "/invoices", `{"customer_id":1,"amount":12.30,"note":"x"}`)
	a.is(t, 201, "")
	var made invoice
	a.read(t, &made)
	if want := fmt.Sprintf("INV-%06d", made.ID); made.No != want || made.St != 1 {
		t.Errorf("made %+v, want number %s and state 1", made, want)
	}
	if want := fmt.Sprintf("/invoices/%d", made.ID); a.header.Get("Location") != want {
		t.Errorf("Location %q, want %q", a.header.Get("Location"), want)
	}
	s.ask("POST", "/invoices", `{"customer_id":999999,"amount":1}`).is(t, 422,
		`{"error":"validation failed","fields":{"customer_id":"does not exist"}}`)
}

func promisePaid(t *testing.T, s *shop) {
	i := s.issue("12.30")
	s.pay(i.ID, "5").is(t, 201, "")
	if got := s.invoice(i.ID); got.St != 1 || got.Paid != 5 {
		t.Errorf("after a part: %+v", got)
	}
	s.pay(i.ID, "7.30").is(t, 201, "")
	if got := s.invoice(i.ID); got.St != 2 || got.Paid != 12.3 || len(got.Payments) != 2 {
		t.Errorf("after the rest: %+v", got)
	}
	s.ask("POST", fmt.Sprintf("/invoices/%d/void", i.ID), "").is(t, 409,
		fmt.Sprintf(`{"error":"invoice %d is paid"}`, i.ID))
}

func promiseNoOverpaying(t *testing.T, s *shop) {
	i := s.issue("12.30")
	s.pay(i.ID, "5").is(t, 201, "")
	s.pay(i.ID, "7.31").is(t, 422,
		`{"error":"validation failed","fields":{"amount":"exceeds the open amount 7.30"}}`)

	var together sync.WaitGroup
	for range 8 {
		together.Go(func() { s.pay(i.ID, "3") })
	}
	together.Wait()
	if got := s.invoice(i.ID); got.Paid != 11 {
		t.Errorf("paid %v by payments at once, want 11", got.Paid)
	}
}

func promiseVoid(t *testing.T, s *shop) {
	i := s.issue("1")
	path := fmt.Sprintf("/invoices/%d/void", i.ID)
	first := s.ask("POST", path, "")
	first.is(t, 200, "")
	s.ask("POST", path, "").is(t, 200, first.body)
	s.pay(i.ID, "1").is(t, 409, fmt.Sprintf(`{"error":"invoice %d is void"}`, i.ID))
}

func promiseOnce(t *testing.T, s *shop) {
	before := s.count("SELECT COUNT(*) FROM inv")
	answers := make([]answer, 12)
	var together sync.WaitGroup
	for n := range answers {
		together.Go(func() {
			answers[n] = s.ask("POST", "/invoices", `{"customer_id":1,"amount":4}`, "Idempotency-Key", "at-once")
		})
	}
	together.Wait()
	fresh := 0
	for _, a := range answers {
		a.is(t, 201, answers[0].body)
		if a.header.Get("Idempotency-Replayed") == "" {
			fresh++
		}
	}
	if made := s.count("SELECT COUNT(*) FROM inv") - before; made != 1 || fresh != 1 {
		t.Errorf("%d invoices and %d fresh answers, want one of each", made, fresh)
	}
}

func promiseKeyBelongs(t *testing.T, s *shop) {
	s.ask("POST", "/invoices", `{"customer_id":1,"amount":4}`, "Idempotency-Key", "mine").is(t, 201, "")
	s.ask("POST", "/invoices", `{"customer_id":1,"amount":5}`, "Idempotency-Key", "mine").is(t, 422,
		`{"error":"the Idempotency-Key was used for another request"}`)
	s.ask("POST", "/invoices", `{"customer_id":1,"amount":5}`, "Idempotency-Key", strings.Repeat("k", 201)).is(t, 422, "")
}

func promiseRefusalForgotten(t *testing.T, s *shop) {
	i := s.issue("10")
	s.pay(i.ID, "10.01", "Idempotency-Key", "refused").is(t, 422, "")
	if n := s.count("SELECT COUNT(*) FROM inv_idem WHERE k = 'refused'"); n != 0 {
		t.Errorf("the refusal was stored")
	}
}

func promiseExact(t *testing.T, s *shop) {
	for sent, want := range map[string]string{"0.29": "0.29", `"1.10"`: "1.1", "19.99": "19.99", "99999999.99": "99999999.99", "7": "7"} {
		a := s.ask("POST", "/invoices", `{"customer_id":1,"amount":`+sent+`}`)
		if !strings.Contains(a.body, `"amount":`+want+`,`) {
			t.Errorf("sent %s, answered %s", sent, a.body)
		}
	}
	for sent, problem := range map[string]string{
		"1.234": "must be an amount with at most two decimals", `"x"`: "must be an amount with at most two decimals",
		"1e2": "must be an amount with at most two decimals", "0": "must be greater than 0",
		"-1": "must be greater than 0", "100000000": "must be at most 99999999.99", "null": "is required",
	} {
		s.ask("POST", "/invoices", `{"customer_id":1,"amount":`+sent+`}`).is(t, 422,
			`{"error":"validation failed","fields":{"amount":"`+problem+`"}}`)
	}
}

func promiseOwn(t *testing.T, s *shop) {
	theirs := s.issue("3")
	path := fmt.Sprintf("/invoices/%d", theirs.ID)
	owner, other := s.login("customer1@example.com", "secret1"), s.login("customer2@example.com", "secret2")
	s.askAs("Cookie", owner, "GET", path, "").is(t, 200, "")
	s.askAs("Cookie", other, "GET", path, "").is(t, 404, fmt.Sprintf(`{"error":"invoice %d not found"}`, theirs.ID))
	s.askAs("Cookie", other, "POST", path+"/payments", `{"amount":1,"ref":"x"}`).is(t, 404, "")
	s.askAs("Cookie", other, "POST", "/invoices", `{"customer_id":1,"amount":1}`).is(t, 422, "")
	s.askAs("Cookie", "shop_session=made-up", "GET", path, "").is(t, 401, `{"error":"login required"}`)
	page := s.askAs("Cookie", "none=1", "GET", path+"/page", "")
	if page.is(t, 303, ""); page.header.Get("Location") != "/login" {
		t.Errorf("sent to %q", page.header.Get("Location"))
	}
}

func promiseTags(t *testing.T, s *shop) {
	for _, path := range []string{"/invoices/1", "/invoices/1/page", "/invoices.csv", "/products/1"} {
		tag := s.ask("GET", path, "").header.Get("ETag")
		again := s.ask("GET", path, "", "If-None-Match", tag)
		if again.status != 304 || again.body != "" {
			t.Errorf("%s answered %d %q", path, again.status, again.body)
		}
	}
}

func promiseReads(t *testing.T, s *shop) {
	for _, path := range []string{"/", "/login", "/healthz", "/readyz", "/buildz", "/invoices?status=2&per_page=5",
		"/invoices/1/page", "/orders", "/orders/1", "/orders/1/page", "/reports/revenue", "/products?q=lamp&cat=2",
		"/products.csv", "/products/1/page", "/products/1/image", "/customers/1", "/customers?ids=1,2,9999"} {
		s.ask("GET", path, "").is(t, 200, "")
	}
	s.ask("GET", "/invoices?page=0&per_page=101&status=x", "").is(t, 422, `{"error":"validation failed","fields":`+
		`{"page":"must be an integer from 1 to 1000000","per_page":"must be an integer from 1 to 100",`+
		`"status":"must be an integer from 0 to 3"}}`)
	s.ask("GET", "/invoices/none", "").is(t, 404, `{"error":"invoice none not found"}`)
}

func promiseOrder(t *testing.T, s *shop) {
	body := `{"customer_id":1,"items":[{"product_id":2,"qty":3}]}`
	stock := s.count("SELECT stock FROM products WHERE id = 2")
	var placed struct {
		ID        int64  `json:"id"`
		InvoiceID *int64 `json:"invoice_id"`
	}
	first := s.ask("POST", "/orders", body, "Idempotency-Key", "order")
	first.is(t, 201, "")
	first.read(t, &placed)
	if placed.InvoiceID == nil || s.invoice(*placed.InvoiceID).St != 1 {
		t.Fatalf("not invoiced: %s", first.body)
	}
	again := s.ask("POST", "/orders", body, "Idempotency-Key", "order")
	if again.is(t, 201, first.body); again.header.Get("Idempotency-Replayed") != "true" {
		t.Error("the replay is not marked")
	}
	if left := s.count("SELECT stock FROM products WHERE id = 2"); left != stock-3 {
		t.Errorf("%d in stock of %d, want 3 fewer", left, stock)
	}
	keys := s.count("SELECT COUNT(*) FROM inv_idem WHERE k = ?", fmt.Sprintf("order-%d", placed.ID))
	if keys != 1 {
		t.Errorf("%d keys of the order at billing, want 1", keys)
	}
	s.run("UPDATE products SET stock = 1 WHERE id = 3")
	orders := s.count("SELECT COUNT(*) FROM orders")
	s.ask("POST", "/orders", `{"customer_id":1,"items":[{"product_id":2,"qty":1},{"product_id":3,"qty":2}]}`).is(t, 409,
		`{"error":"product 3 has only 1 in stock"}`)
	if s.count("SELECT COUNT(*) FROM orders") != orders || s.count("SELECT stock FROM products WHERE id = 2") != stock-3 {
		t.Error("the refused order left something behind")
	}
}
