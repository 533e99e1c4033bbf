package app_test

import (
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"gorm.io/gorm"

	"stranglerfig/extracted/billing/app"
	"stranglerfig/extracted/billing/storage"
)

const token = "test-token"

// service is a billing service behind a real socket, with a monolith that
// knows the customers 1 and 2, and their sessions s1 and s2.
type service struct {
	t        *testing.T
	url      string
	db       *gorm.DB
	monolith *httptest.Server
	asked    atomic.Int32 // questions about customers
}

func open(t *testing.T) *service {
	t.Helper()
	s := &service{t: t}
	s.monolith = httptest.NewServer(http.HandlerFunc(s.answerAsMonolith))
	database := "sqlite:" + filepath.Join(t.TempDir(), "billing.db")
	running, err := app.Open(t.Context(), app.Options{Database: database, Token: token, MonolithURL: s.monolith.URL,
		ProviderStates: true, Log: slog.New(slog.NewJSONHandler(io.Discard, nil))})
	if err != nil {
		t.Fatal(err)
	}
	if s.db, err = storage.Open(t.Context(), database); err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(running.Handler())
	s.url = server.URL
	t.Cleanup(func() {
		server.Close()
		s.monolith.Close()
		if err := running.Close(); err != nil {
			t.Error(err)
		}
		if err := storage.Close(s.db); err != nil {
			t.Error(err)
		}
	})
	return s
}

func (s *service) answerAsMonolith(w http.ResponseWriter, r *http.Request) {
	names := map[string]string{"1": "Ada Lovelace", "2": "Grace <O'Malley>"}
	switch {
	case r.URL.Path == "/me":
		cookie, err := r.Cookie("shop_session")
		if err != nil || names[strings.TrimPrefix(cookie.Value, "s")] == "" {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		fmt.Fprintf(w, `{"customer_id":%s}`, strings.TrimPrefix(cookie.Value, "s"))
	case r.URL.Path == "/customers" && r.Header.Get("Authorization") == "Bearer "+token:
		s.asked.Add(1)
		list := []string{}
		for _, id := range strings.Split(r.URL.Query().Get("ids"), ",") {
			if name, err := json.Marshal(names[id]); err == nil && names[id] != "" {
				list = append(list, fmt.Sprintf(`{"id":%s,"name":%s}`, id, name))
			}
		}
		fmt.Fprintf(w, `{"customers":[%s]}`, strings.Join(list, ","))
	default:
		w.WriteHeader(http.StatusNotFound)
	}
}

// answer is what came back.
type answer struct {
	status int
	header http.Header
	body   string
}

// ask sends a request as the service token; headers come in pairs.
func (s *service) ask(method, path, body string, headers ...string) answer {
	s.t.Helper()
	return s.askAs("Authorization", "Bearer "+token, method, path, body, headers...)
}

// askAs sends a request with one header that says who asks.
func (s *service) askAs(header, value, method, path, body string, headers ...string) answer {
	s.t.Helper()
	request, err := http.NewRequestWithContext(s.t.Context(), method, s.url+path, strings.NewReader(body))
	if err != nil {
		s.t.Fatal(err)
	}
	request.Header.Set(header, value)
	for i := 0; i+1 < len(headers); i += 2 {
		request.Header.Set(headers[i], headers[i+1])
	}
	response, err := http.DefaultTransport.RoundTrip(request)
	if err != nil {
		s.t.Error(err)
		return answer{}
	}
	defer response.Body.Close()
	got, err := io.ReadAll(response.Body)
	if err != nil {
		s.t.Error(err)
	}
	return answer{response.StatusCode, response.Header, string(got)}
}

// is checks the status and, unless empty, the body.
func (a answer) is(t *testing.T, status int, body string) {
	t.Helper()
	if a.status != status || body != "" && a.body != body {
		t.Errorf("answered %d %s\nwant %d %s", a.status, a.body, status, body)
	}
}

func (s *service) count(query string) int {
	s.t.Helper()
	var n int
	if err := s.db.Raw(query).Scan(&n).Error; err != nil {
		s.t.Fatal(err)
	}
	return n
}

func TestAnInvoiceIsShownAsTheShopShowedIt(t *testing.T) {
	s := open(t)
	s.ask("POST", "/_states", `{"state":"invoice","params":{"id":7,"customer_id":2,"amount":12.30,"st":1,`+
		`"created":"2026-03-01 10:00:00","paid":5},"action":"setup"}`).is(t, 200, "{}")
	head := `{"id":7,"no":"INV-000007","customer_id":2,"customer":"Grace \u003cO'Malley\u003e","order_id":null,` +
		`"amount":12.3,"st":1,"note":"","created":"2026-03-01 10:00:00","updated":"2026-03-01 10:00:00"`
	s.ask("GET", "/invoices/7", "").is(t, 200, head+`,"paid":5,"payments":[{"id":7,"invoice_id":7,"amount":5,`+
		`"ref":"state","created":"2026-03-01 10:00:00"}]}`)
	s.ask("GET", "/invoices?status=1", "").is(t, 200, `{"invoices":[`+head+`}],"page":1,"per_page":20,"total":1}`)
	s.ask("GET", "/invoices?status=2", "").is(t, 200, `{"invoices":[],"page":1,"per_page":20,"total":0}`)
	s.ask("GET", "/invoices.csv", "").is(t, 200, "id,no,customer,amount,status,created\n"+
		"7,INV-000007,Grace <O'Malley>,12.30,issued,2026-03-01 10:00:00\n")
	page := s.ask("GET", "/invoices/7/page", "")
	for _, part := range []string{"Grace &lt;O&#39;Malley&gt;", "<dd>12.30</dd>", "<dd>issued</dd>", "Paid 5.00, open 7.30."} {
		if !strings.Contains(page.body, part) {
			t.Errorf("the page lacks %q:\n%s", part, page.body)
		}
	}
	if stored := s.count("SELECT COUNT(*) FROM invoices WHERE issued_at = '2026-03-01T09:00:00Z' AND amount_cents = 1230"); stored != 1 {
		t.Error("not stored in UTC and cents")
	}
}

func TestWhatIsKnownIsNotSentAgain(t *testing.T) {
	s := open(t)
	s.ask("POST", "/invoices", `{"customer_id":1,"amount":1}`).is(t, 201, "")
	for _, path := range []string{"/invoices", "/invoices/1", "/invoices/1/page", "/invoices.csv"} {
		tag := s.ask("GET", path, "").header.Get("ETag")
		s.ask("GET", path, "", "If-None-Match", tag).is(t, 304, "")
	}
}

func TestTheLastOpenCentMakesAnInvoicePaid(t *testing.T) {
	s := open(t)
	s.ask("POST", "/invoices", `{"customer_id":1,"amount":"12.30"}`).is(t, 201, "")
	s.ask("POST", "/invoices/1/payments", `{"amount":5,"ref":"a"}`).is(t, 201, "")
	s.ask("POST", "/invoices/1/payments", `{"amount":7.31,"ref":"b"}`).is(t, 422,
		`{"error":"validation failed","fields":{"amount":"exceeds the open amount 7.30"}}`)
	s.ask("POST", "/invoices/1/payments", `{"amount":7.30,"ref":""}`).is(t, 422,
		`{"error":"validation failed","fields":{"ref":"is required"}}`)
	s.ask("POST", "/invoices/1/payments", `{"amount":7.30,"ref":"c"}`).is(t, 201, "")
	if s.count("SELECT COUNT(*) FROM invoices WHERE status = 'paid'") != 1 {
		t.Error("not paid")
	}
	s.ask("POST", "/invoices/1/void", "").is(t, 409, `{"error":"invoice 1 is paid"}`)
}

func TestAVoidInvoiceTakesNoPayments(t *testing.T) {
	s := open(t)
	s.ask("POST", "/invoices", `{"customer_id":1,"amount":1}`).is(t, 201, "")
	first := s.ask("POST", "/invoices/1/void", "")
	first.is(t, 200, "")
	s.ask("POST", "/invoices/1/void", "").is(t, 200, first.body)
	s.ask("POST", "/invoices/1/payments", `{"amount":1,"ref":"a"}`).is(t, 409, `{"error":"invoice 1 is void"}`)
}

func TestAKeyMakesOneChangeAmongManyAtOnce(t *testing.T) {
	s := open(t)
	s.ask("POST", "/invoices", `{"customer_id":1,"amount":100}`).is(t, 201, "")
	for _, path := range []string{"/invoices", "/invoices/1/payments", "/invoices/1/void"} {
		if path == "/invoices/1/void" {
			s.ask("POST", "/_states", `{"state":"invoice","params":{"id":1,"customer_id":1,"amount":1,"st":1,"created":"2026-03-01 10:00:00"}}`)
		}
		answers := make([]answer, 12)
		var together sync.WaitGroup
		for n := range answers {
			together.Go(func() {
				answers[n] = s.ask("POST", path, `{"customer_id":1,"amount":4,"ref":"r"}`, "Idempotency-Key", "k"+path)
			})
		}
		together.Wait()
		fresh := 0
		for _, a := range answers {
			a.is(t, answers[0].status, answers[0].body)
			if a.header.Get("Idempotency-Replayed") == "" {
				fresh++
			}
		}
		if fresh != 1 || answers[0].status >= 300 {
			t.Errorf("%s: %d fresh answers with status %d, want one success", path, fresh, answers[0].status)
		}
	}
	if n := s.count("SELECT COUNT(*) FROM invoices"); n != 2 {
		t.Errorf("%d invoices, want 2", n)
	}
}

func TestAKeyBelongsToOneRequest(t *testing.T) {
	s := open(t)
	s.ask("POST", "/invoices", `{"customer_id":1,"amount":4}`, "Idempotency-Key", "mine").is(t, 201, "")
	s.ask("POST", "/invoices", `{"customer_id":1,"amount":5}`, "Idempotency-Key", "mine").is(t, 422,
		`{"error":"the Idempotency-Key was used for another request"}`)
}

func TestCustomersSeeOnlyTheirOwnInvoices(t *testing.T) {
	s := open(t)
	s.ask("POST", "/invoices", `{"customer_id":1,"amount":4}`).is(t, 201, "")
	as := func(session, path string) answer { return s.askAs("Cookie", "shop_session="+session, "GET", path, "") }
	as("s1", "/invoices/1").is(t, 200, "")
	as("s2", "/invoices/1").is(t, 404, `{"error":"invoice 1 not found"}`)
	as("s2", "/invoices").is(t, 200, `{"invoices":[],"page":1,"per_page":20,"total":0}`)
	as("s3", "/invoices").is(t, 401, `{"error":"login required"}`)
	if page := as("s3", "/invoices/1/page"); page.status != 303 || page.header.Get("Location") != "/login" {
		t.Errorf("page answered %d to %q", page.status, page.header.Get("Location"))
	}
}

func TestWithoutTheMonolithNothingUnknownIsWritten(t *testing.T) {
	s := open(t)
	s.ask("POST", "/invoices", `{"customer_id":1,"amount":4}`, "Idempotency-Key", "before").is(t, 201, "")
	s.monolith.Close()

	unknown := s.ask("POST", "/invoices", `{"customer_id":2,"amount":4}`, "Idempotency-Key", "after")
	unknown.is(t, 503, `{"error":"customers are unavailable"}`)
	if unknown.header.Get("Retry-After") != "1" {
		t.Error("no Retry-After")
	}
	if s.count("SELECT COUNT(*) FROM invoices")+s.count("SELECT COUNT(*) FROM idempotency_keys") != 2 {
		t.Error("something was written")
	}
	s.askAs("Cookie", "shop_session=s1", "GET", "/invoices", "").is(t, 503, "")

	// What is known from before can still be read, and a stored answer given
	// again; nothing new is charged to a customer who may be gone.
	s.ask("GET", "/invoices/1", "").is(t, 200, "")
	s.ask("POST", "/invoices", `{"customer_id":1,"amount":5}`).is(t, 503, "")
	s.ask("POST", "/invoices", `{"customer_id":1,"amount":4}`, "Idempotency-Key", "before").is(t, 201, "")
}

func TestReadingAsksForANameOnceAndIssuingEveryTime(t *testing.T) {
	s := open(t)
	for range 3 {
		s.ask("POST", "/invoices", `{"customer_id":1,"amount":4}`).is(t, 201, "")
		s.ask("GET", "/invoices", "").is(t, 200, "")
	}
	s.ask("POST", "/invoices", `{"customer_id":9,"amount":4}`).is(t, 422,
		`{"error":"validation failed","fields":{"customer_id":"does not exist"}}`)
	if n := s.asked.Load(); n != 4 {
		t.Errorf("asked %d times, want once for each of four requests to issue", n)
	}
}

func TestPausedWritesAreAnsweredWithRetryAfter(t *testing.T) {
	s := open(t)
	pause := `CREATE TRIGGER pause BEFORE INSERT ON invoices BEGIN SELECT RAISE(ABORT, 'strangler: fenced'); END`
	if err := s.db.Exec(pause).Error; err != nil {
		t.Fatal(err)
	}
	a := s.ask("POST", "/invoices", `{"customer_id":1,"amount":1}`)
	if a.is(t, 503, `{"error":"writes are paused"}`); a.header.Get("Retry-After") != "1" {
		t.Error("no Retry-After")
	}
}
