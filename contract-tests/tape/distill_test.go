package tape_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"stranglerfig/contract-tests/contract"
	"stranglerfig/contract-tests/tape"
	"stranglerfig/contract-tests/verify"
)

var asJSON = map[string][]string{"Content-Type": {"application/json"}}

// session makes exchanges of one client, a second apart.
type session struct {
	client string
	at     time.Time
	all    []tape.Exchange
}

func newSession(client string) *session {
	return &session{client: client, at: time.Date(2026, 7, 1, 12, 0, 0, 0, time.UTC)}
}

func (s *session) does(route, target, body string, status int, answer string) *tape.Exchange {
	method, _, _ := strings.Cut(route, " ")
	path, query, _ := strings.Cut(target, "?")
	s.at = s.at.Add(time.Second)
	s.all = append(s.all, redactor().Redact(tape.Exchange{
		At: s.at, Route: route,
		Request:  tape.Request{Method: method, Path: path, Query: query, Header: map[string][]string{"Content-Type": {"application/json"}, "Cookie": {"session=" + s.client}}, Body: []byte(body)},
		Response: tape.Response{Status: status, Header: asJSON, Body: []byte(answer)},
	}))
	return &s.all[len(s.all)-1]
}

func distil(t *testing.T, cover float64, sessions ...*session) tape.Distilled {
	t.Helper()
	var all []tape.Exchange
	for _, s := range sessions {
		all = append(all, s.all...)
	}
	d := tape.Distill(all, tape.Options{Consumer: "web", Provider: "shop", Cover: cover})
	if err := d.Contract.Validate(); err != nil {
		t.Fatal(err)
	}
	return d
}

// of returns the one interaction of a route.
func of(t *testing.T, d tape.Distilled, route string) contract.Interaction {
	t.Helper()
	var found []contract.Interaction
	for _, i := range d.Contract.Interactions {
		if i.Route == route {
			found = append(found, i)
		}
	}
	if len(found) != 1 {
		t.Fatalf("%d interactions of %s: %+v", len(found), route, d.Contract.Interactions)
	}
	return found[0]
}

func rulesOf(i contract.Interaction) string {
	var all []string
	for _, r := range i.Response.Rules.Body() {
		raw, _ := json.Marshal(r.List)
		all = append(all, r.Path.String()+" "+string(raw))
	}
	return strings.Join(all, "\n")
}

func TestWhatCoversEnoughIsKeptAndTheRestIsListed(t *testing.T) {
	s := newSession("a")
	for n := range 90 {
		s.does("GET /a/{id}", fmt.Sprintf("/a/%d", n), "", 200, `{"a":1}`)
	}
	for n := range 9 {
		s.does("GET /a/{id}", fmt.Sprintf("/a/%d", n), "", 404, `{"error":"x"}`)
	}
	s.does("GET /b", "/b?deep=1", "", 200, `{"b":1}`)
	d := distil(t, 0.95, s)
	if d.Weight != 100 || d.Covered != 99 || len(d.Contract.Interactions) != 2 {
		t.Errorf("%+v", d)
	}
	if diff := cmp.Diff([]tape.Sort{{Route: "GET /b", Status: 200, Weight: 1, Example: "GET /b?deep=1"}}, d.Left); diff != "" {
		t.Errorf("left out (-want +got)\n%s", diff)
	}
	if d := distil(t, 0.9, s); d.Covered != 90 || len(d.Left) != 2 || d.Left[0].Weight != 9 {
		t.Errorf("of ninety in a hundred: %+v", d)
	}
	if d := distil(t, 0, s); d.Covered != 100 || len(d.Left) != 0 {
		t.Errorf("by default: %+v", d)
	}
}

func TestRequestsOfAnotherShapeAreAnotherSort(t *testing.T) {
	s := newSession("a")
	s.does("GET /list", "/list?page=1", "", 200, `{"a":1}`)
	s.does("GET /list", "/list?page=2", "", 200, `{"a":1}`)
	s.does("GET /list", "/list?status=0", "", 200, `{"a":1}`)
	s.does("POST /list", "/list", `{"a":1}`, 201, `{}`)
	s.does("POST /list", "/list", `{"a":1,"note":"x"}`, 201, `{}`)
	if d := distil(t, 0, s); len(d.Contract.Interactions) != 4 {
		t.Errorf("%d interactions", len(d.Contract.Interactions))
	}
}

func TestTheNarrowestMatcherThatTheSamplesSupport(t *testing.T) {
	s := newSession("a")
	for n := range 24 {
		s.does("GET /x/{id}", fmt.Sprintf("/x/%d", n), "", 200, fmt.Sprintf(
			`{"fixed":"a.b","state":%q,"level":%d,"no":"INV-%06d","slug":"p/%d-x","uid":"%08x-0000-4000-8000-000000000000","day":"2026-01-%02d","at":"2026-01-02T10:00:%02dZ","note":"%c","owner_id":%d,"price":%d.5}`,
			[]string{"open", "paid"}[n%2], n%3, n, n, n, n+1, n, 'a'+n, n%4, n))
	}
	got := rulesOf(of(t, distil(t, 0, s), "GET /x/{id}"))
	for _, want := range []string{
		`$.state {"combine":"AND","matchers":[{"match":"regex","regex":"^(?:open|paid)$"}]}`,
		`$.level {"combine":"AND","matchers":[{"match":"regex","regex":"^(?:0|1|2)$"}]}`,
		`$.no {"combine":"AND","matchers":[{"match":"regex","regex":"^INV-\\d{6}$"}]}`,
		`$.slug {"combine":"AND","matchers":[{"match":"regex","regex":"^p/\\d+-x$"}]}`,
		`$.uid {"combine":"AND","matchers":[{"match":"regex","regex":"^[0-9a-fA-F]{8}`,
		`$.day {"combine":"AND","matchers":[{"match":"date"`,
		`$.at {"combine":"AND","matchers":[{"match":"datetime"`,
		`$.note {"combine":"AND","matchers":[{"match":"type"}]}`,
		`$.owner_id {"combine":"AND","matchers":[{"match":"integer"}]}`,
		`$.price {"combine":"AND","matchers":[{"match":"number"}]}`,
	} {
		if !strings.Contains(got, want) {
			t.Errorf("no rule %s in\n%s", want, got)
		}
	}
	if strings.Contains(got, "$.fixed") {
		t.Errorf("what never varied has a rule:\n%s", got)
	}
}

func TestTimesThatSayWhenTheAnswerWasGivenAreFree(t *testing.T) {
	s := newSession("a")
	s.does("POST /x", "/x", `{}`, 201, `{"made":"2026-07-01T12:00:01Z","local":"2026-07-01 14:00:02","born":"2026-06-01 14:00:02","due":"2026-07-01T14:00:01Z"}`)
	got := rulesOf(of(t, distil(t, 0, s), "POST /x"))
	if !strings.Contains(got, "$.made") || !strings.Contains(got, "$.local") || strings.Contains(got, "$.born") || strings.Contains(got, "$.due") {
		t.Errorf("the rules are\n%s", got)
	}
}

// orders is what a client does that creates something, looks at it and pays it,
// while others read things of old.
func orders(first int) []*session {
	clerk, reader, other := newSession("clerk"), newSession("reader"), newSession("other")
	for n := range 3 {
		id := first + n
		made := clerk.does("POST /orders", "/orders", fmt.Sprintf(`{"customer_id":%d}`, n+1), 201, fmt.Sprintf(`{"id":%d,"customer_id":%d}`, id, n+1))
		made.Response.Header = map[string][]string{"Content-Type": {"application/json"}, "Location": {fmt.Sprintf("/orders/%d", id)}}
		clerk.does("POST /orders/{id}/payments", fmt.Sprintf("/orders/%d/payments", id), `{"amount":1}`, 201, fmt.Sprintf(`{"id":%d,"order_id":%d}`, 50+n, id))
		clerk.does("GET /orders/{id}", fmt.Sprintf("/orders/%d", id), "", 200, fmt.Sprintf(`{"id":%d,"payments":[{"id":%d}]}`, id, 50+n))
		reader.does("GET /orders/{id}", fmt.Sprintf("/orders/%d", 50+n), "", 200, fmt.Sprintf(`{"id":%d,"payments":[]}`, 50+n))
	}
	for n := range 4 {
		list := other.does("GET /things", "/things", "", 200, fmt.Sprintf(`{"things":[{"id":%d},{"id":%d}]}`, 800+n, 900+n))
		list.Response.Header = asJSON
		other.does("GET /things/{id}", fmt.Sprintf("/things/%d", 800+n), "", 200, fmt.Sprintf(`{"id":%d}`, 800+n))
	}
	return []*session{clerk, reader, other}
}

func TestAnIDOfOneAnswerThatTheNextCallUsesMakesAChain(t *testing.T) {
	d := distil(t, 0, orders(3000)...)
	create, pay := of(t, d, "POST /orders"), of(t, d, "POST /orders/{id}/payments")
	if len(create.Chain.Captures) != 1 || create.Chain.Captures[0] != (contract.Capture{Name: "order", From: "$.body.id"}) {
		t.Errorf("the order's creation captures %+v", create.Chain)
	}
	if diff := cmp.Diff([]contract.Use{{Name: "order", In: "$.header.Location"}}, create.Chain.Returns); diff != "" {
		t.Errorf("it returns (-want +got)\n%s", diff)
	}
	if diff := cmp.Diff(contract.Chain{Uses: []contract.Use{{Name: "order", In: "$.path[1]"}}, Returns: []contract.Use{{Name: "order", In: "$.body.order_id"}}}, pay.Chain); diff != "" {
		t.Errorf("the payment's chain (-want +got)\n%s", diff)
	}
	if list, thing := of(t, d, "GET /things"), of(t, d, "GET /things/{id}"); len(list.Chain.Captures) != 1 || list.Chain.Captures[0].From != "$.body.things[0].id" || len(thing.Chain.Uses) != 1 {
		t.Errorf("of a list: %+v, %+v", list.Chain, thing.Chain)
	}
	for _, i := range d.Contract.Interactions {
		if i.Route == "GET /orders/{id}" && strings.Contains(string(i.Response.Body), `"payments":[]`) && len(i.Chain.Uses) > 0 {
			t.Errorf("an order of old, whose number a payment has by chance, is in a chain: %+v", i.Chain)
		}
	}
}

func TestADistilledChainHoldsOnASideWithOtherIDs(t *testing.T) {
	for name, wrong := range map[string]bool{"a service that is right": false, "one that books on another order": true} {
		t.Run(name, func(t *testing.T) {
			c := distil(t, 0, orders(3000)[0]).Contract
			side := func(name string, first int, wrong bool) verify.Target {
				server := httptest.NewServer(shop(first, wrong))
				t.Cleanup(server.Close)
				return verify.Target{Name: name, BaseURL: server.URL}
			}
			report, err := verify.Run(t.Context(), verify.Options{Contract: c, Unsafe: true, Targets: []verify.Target{side("monolith", 11, false), side("service", 77777, wrong)}})
			if err != nil {
				t.Fatal(err)
			}
			if held := report.Verdict == verify.Pass && report.Passed == 3; held == wrong {
				t.Errorf("%+v", report)
			}
		})
	}
}

// shop numbers its orders from a first one on.
func shop(first int, wrong bool) http.Handler {
	last := first - 1
	mux := http.NewServeMux()
	answer := func(w http.ResponseWriter, status int, format string, args ...any) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		fmt.Fprintf(w, format, args...)
	}
	mux.HandleFunc("POST /orders", func(w http.ResponseWriter, r *http.Request) {
		var q struct{ Customer_ID int }
		raw, _ := io.ReadAll(r.Body)
		if err := json.Unmarshal(raw, &q); err != nil {
			answer(w, 400, `{}`)
			return
		}
		last++
		w.Header().Set("Location", fmt.Sprintf("/orders/%d", last))
		answer(w, 201, `{"id":%d,"customer_id":%d}`, last, q.Customer_ID)
	})
	known := func(next func(w http.ResponseWriter, id string)) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			if id := r.PathValue("id"); id == fmt.Sprint(last) {
				next(w, id)
				return
			}
			answer(w, 404, `{}`)
		}
	}
	mux.HandleFunc("POST /orders/{id}/payments", known(func(w http.ResponseWriter, id string) {
		if wrong {
			id = "1"
		}
		answer(w, 201, `{"id":5,"order_id":%s}`, id)
	}))
	mux.HandleFunc("GET /orders/{id}", known(func(w http.ResponseWriter, id string) { answer(w, 200, `{"id":%s,"payments":[{"id":5}]}`, id) }))
	return mux
}

func TestAContractCoversTheTrafficItWasDistilledFrom(t *testing.T) {
	var all []tape.Exchange
	for _, s := range orders(3000) {
		all = append(all, s.all...)
	}
	c := tape.Distill(all, tape.Options{Consumer: "web", Provider: "shop"}).Contract
	if got := tape.Cover(c, all, nil); got.Share() != 1 || got.Weight != len(all) || got.Unseen != nil {
		t.Errorf("%+v", got)
	}
	s := newSession("late")
	s.does("GET /orders/{id}", "/orders/1", "", 200, `{"id":1,"payments":[],"gift":true}`)
	s.does("GET /orders/{id}", "/orders/1", "", 410, `{}`)
	s.does("GET /orders/{id}", "/orders/1", "", 503, `{}`)
	got := tape.Cover(c, append(all, s.all...), func(e tape.Exchange) bool { return e.Route == "GET /orders/{id}" })
	if got.Weight != 8 || got.Covered != 6 || len(got.Unseen) != 2 || got.Share() != 0.75 {
		t.Errorf("%+v", got)
	}
}

func TestAPlaceThatMayBeNullIsOneSort(t *testing.T) {
	s := newSession("a")
	for n := range 3 {
		s.does("GET /l", "/l", "", 200, fmt.Sprintf(`{"list":[{"a":null,"b":%d},{"a":1,"b":2}],"top":1}`, n))
	}
	c := distil(t, 0, s).Contract
	other := newSession("b")
	other.does("GET /l", "/l", "", 200, `{"list":[{"a":null,"b":1}],"top":1}`)
	other.does("GET /l", "/l", "", 200, `{"list":[{"a":null,"b":1}],"top":null}`)
	if got := tape.Cover(c, other.all, nil); got.Covered != 1 {
		t.Errorf("%+v", got)
	}
}

func TestWhatHangsOnHowOftenIsNotHeldToTheNumber(t *testing.T) {
	s := newSession("clerk")
	for n := range 3 {
		id := 70 + n
		s.does("POST /orders", "/orders", `{}`, 201, fmt.Sprintf(`{"id":%d}`, id))
		for range 2 {
			s.does("POST /orders/{id}/payments", fmt.Sprintf("/orders/%d/payments", id), `{"amount":1}`, 201, `{"ok":true}`)
		}
		s.does("GET /orders/{id}", fmt.Sprintf("/orders/%d", id), "", 200, fmt.Sprintf(`{"id":%d,"paid":2,"currency":"EUR"}`, id))
	}
	got := rulesOf(of(t, distil(t, 0, s), "GET /orders/{id}"))
	if !strings.Contains(got, `$.paid {"combine":"AND","matchers":[{"match":"number"}]}`) || strings.Contains(got, "$.currency") {
		t.Errorf("one payment is replayed where there were two, and the rules are\n%s", got)
	}
}

func TestTheExampleIsAboutAThingThatNothingOnTheTapeChanges(t *testing.T) {
	s := newSession("a")
	for _, id := range []int{5, 6, 7} {
		s.does("GET /orders/{id}", fmt.Sprintf("/orders/%d", id), "", 200, fmt.Sprintf(`{"id":%d,"open":true}`, id))
	}
	s.does("POST /orders/{id}/payments", "/orders/5/payments", `{}`, 201, `{"ok":true}`)
	if i := of(t, distil(t, 0, s), "GET /orders/{id}"); i.Request.Path != "/orders/6" {
		t.Errorf("the example is %s", i.Request.Path)
	}
}

func TestTheExampleIsNotAboutAThingThatAnotherClientCreatedOnTheTape(t *testing.T) {
	clerk, customer := newSession("clerk"), newSession("customer")
	clerk.does("POST /orders", "/orders", `{"customer_id":3}`, 201, `{"id":40,"customer_id":3}`)
	customer.at = clerk.at.Add(time.Minute)
	for _, id := range []int{40, 6, 3} {
		customer.does("GET /orders/{id}", fmt.Sprintf("/orders/%d", id), "", 200, fmt.Sprintf(`{"id":%d,"open":true}`, id))
	}
	if i := of(t, distil(t, 0, clerk, customer), "GET /orders/{id}"); i.Request.Path != "/orders/6" || i.Pending {
		t.Errorf("the example is %s, pending %v", i.Request.Path, i.Pending)
	}
}

func TestAReadOfWhatWasChangedAndNotCreatedOnTheTapeIsPending(t *testing.T) {
	s := newSession("a")
	s.does("GET /orders/{id}", "/orders/5", "", 200, `{"id":5,"open":true}`)
	s.does("POST /orders/{id}/payments", "/orders/5/payments", `{}`, 201, `{"ok":true}`)
	d := distil(t, 0, s)
	if i := of(t, d, "GET /orders/{id}"); !i.Pending {
		t.Error("an order that is not there on other data is held against it")
	}
	if i := of(t, d, "POST /orders/{id}/payments"); i.Pending {
		t.Error("a write is pending")
	}
}

func TestMomentsAreNeverOneOfAFew(t *testing.T) {
	s := newSession("a")
	for n := range 30 {
		s.does("GET /x", "/x", "", 200, fmt.Sprintf(`{"at":"2020-01-01 10:00:0%d"}`, n%3))
	}
	if got := rulesOf(of(t, distil(t, 0, s), "GET /x")); !strings.Contains(got, `"match":"datetime"`) {
		t.Errorf("the rules are %s", got)
	}
}
