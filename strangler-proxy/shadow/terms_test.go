package shadow_test

import (
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"stranglerfig/contract-tests/contract"
	"stranglerfig/strangler-proxy/proxy"
	"stranglerfig/strangler-proxy/route"
	"stranglerfig/strangler-proxy/shadow"
)

// saying gives a shadow the identifiers of a contract.
func saying(t *testing.T, interactions string) func(*shadow.Options) {
	t.Helper()
	c, err := contract.Read(strings.NewReader(`{"consumer":{"name":"a"},"provider":{"name":"b"},"interactions":[` + interactions + `]}`))
	if err != nil {
		t.Fatal(err)
	}
	all := c.Identifiers()
	return func(o *shadow.Options) {
		o.Identifiers = func(_, routeID string) contract.Identifiers { return all[routeID] }
	}
}

// listed says that the id of a list is each side's own.
const listed = `{"type":"Synchronous/HTTP","description":"list","request":{"method":"GET","path":"/invoices"},
 "response":{"status":200,"body":{"content":{"id":1,"total":1}}},
 "comments":{"strangler":{"route":"GET /invoices","matchingRules":{"body":{"$.id":{"matchers":[{"match":"id","scope":"invoice"}]}}}}}}`

func TestIdentifiersThatDifferAlikeEachTimeAreNoise(t *testing.T) {
	w := newWorld(t, saying(t, listed))
	for n, c := range []struct {
		what, monolith, service string
		matched, noise, differ  int64
	}{
		{"the first time", `{"id":7,"total":1}`, `{"id":12,"total":1}`, 0, 1, 0},
		{"the same again", `{"id":7,"total":1}`, `{"id":12,"total":1}`, 0, 2, 0},
		{"another one", `{"id":8,"total":1}`, `{"id":13,"total":1}`, 0, 3, 0},
		{"equal ones", `{"id":9,"total":1}`, `{"id":9,"total":1}`, 1, 3, 0},
		{"another one for the first", `{"id":7,"total":1}`, `{"id":14,"total":1}`, 1, 3, 1},
		{"the first one's for another", `{"id":10,"total":1}`, `{"id":12,"total":1}`, 1, 3, 2},
		{"equal, where it was another", `{"id":7,"total":1}`, `{"id":7,"total":1}`, 1, 3, 3},
		{"another value besides", `{"id":11,"total":1}`, `{"id":15,"total":2}`, 1, 3, 4},
	} {
		says(&w.monolith, c.monolith)
		says(&w.service, c.service)
		w.ask("GET", "/invoices")
		got := w.until("GET /invoices", judged(int64(n+1)))
		if got.Matched != c.matched || got.Noise != c.noise || got.Mismatched != c.differ {
			t.Fatalf("%s: %+v", c.what, got)
		}
	}
	var kinds []string
	for _, d := range w.until("GET /invoices", judged(8)).Differences {
		kinds = append(kinds, fmt.Sprint(d.Difference.Path, " ", d.Difference.Kind, " ", d.Times))
	}
	slices.Sort(kinds)
	if want := []string{"$.body.id identity 3", "$.body.total value 1"}; !slices.Equal(kinds, want) {
		t.Errorf("%q, want %q", kinds, want)
	}
}

func TestIdentifiersDifferWhereNoRuleSaysOtherwise(t *testing.T) {
	w := newWorld(t, saying(t, strings.ReplaceAll(listed, "GET /invoices", "GET /invoices/{id}")))
	says(&w.monolith, `{"id":7}`)
	says(&w.service, `{"id":12}`)
	w.ask("GET", "/invoices")
	if c := w.until("GET /invoices", judged(1)); c.Mismatched != 1 {
		t.Errorf("%+v", c)
	}
}

func TestNothingIsLearntOfIdentifiersWhileTheDataChanges(t *testing.T) {
	w := newWorld(t, saying(t, listed))
	var asked atomic.Int64
	answers(&w.monolith, func(out http.ResponseWriter, _ *http.Request) {
		fmt.Fprintf(out, `{"id":%d,"total":1}`, 100+asked.Add(1)) // another newest one each time
	})
	says(&w.service, `{"id":12,"total":1}`)
	w.ask("GET", "/invoices")
	if c := w.until("GET /invoices", judged(1)); c.Reasons[shadow.InMotion] != 1 {
		t.Fatalf("%+v", c)
	}
	for _, id := range []int{101, 103, 7} { // none of which was learnt to be 12
		says(&w.monolith, fmt.Sprintf(`{"id":%d,"total":1}`, id))
		says(&w.service, fmt.Sprintf(`{"id":%d,"total":1}`, 200+id))
		w.ask("GET", "/invoices")
	}
	if c := w.until("GET /invoices", judged(4)); c.Noise != 3 || c.Mismatched != 0 {
		t.Errorf("%+v", c)
	}
}

// booked says that a new invoice's id is used by what pays it.
const booked = `{"type":"Synchronous/HTTP","description":"made","request":{"method":"POST","path":"/invoices"},
 "response":{"status":201,"headers":{"Location":["/invoices/7"]},"body":{"content":{"id":7}}},
 "comments":{"strangler":{"route":"POST /invoices","chain":{"captures":[{"name":"one","from":"$.body.id"}],"returns":[{"name":"one","in":"$.header.Location"}]}}}},
{"type":"Synchronous/HTTP","description":"either","request":{"method":"POST","path":"/either","headers":{"Content-Type":["application/json"]},"body":{"content":{"invoice":7}}},
 "response":{"status":201,"body":{"content":{"invoice":7}}},
 "comments":{"strangler":{"route":"/either","chain":{"uses":[{"name":"one","in":"$.body.invoice"}],"returns":[{"name":"one","in":"$.body.invoice"}]}}}}`

// numbering answers like a side that gives its own ids, from a first one on.
func numbering(h *atomic.Pointer[http.HandlerFunc], next int64, log *heard, paid func(string) string) {
	answers(h, func(out http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/invoices" {
			out.Header().Set("Location", fmt.Sprint("/invoices/", next))
			out.WriteHeader(201)
			fmt.Fprintf(out, `{"id":%d}`, next)
			next++
			return
		}
		sent, _ := io.ReadAll(r.Body)
		log.mu.Lock()
		log.all = append(log.all, string(sent))
		log.mu.Unlock()
		out.WriteHeader(201)
		io.WriteString(out, paid(string(sent)))
	})
}

func TestAWriteIsAboutWhatTheIsolatedStoreHasMade(t *testing.T) {
	w := &world{t: t}
	w.set(func(o *shadow.Options) {
		isolate(o, w)
		saying(t, booked)(o)
		o.Settling = time.Microsecond
	})
	w.obey(func(c *proxy.Capability, routes []route.Route) {
		c.Isolated = true
		for i := range routes {
			routes[i].Owner = route.Owner{Stage: route.Monolith, Share: 100}
		}
	})
	var live, copied heard
	same := func(sent string) string { return sent }
	numbering(&w.monolith, 7, &live, same)
	numbering(&w.isolated, 40, &copied, same)
	w.post("/invoices", `{}`)           // 7, and 40 there
	w.post("/invoices", `{}`)           // 8, and 41 there
	w.post("/either", `{"invoice":8}`)  // 41 there
	w.post("/either", `{"invoice":3}`)  // which both have had before
	w.post("/either", `{"invoice":41}`) // which is 8's there
	c := w.until("POST /invoices", judged(2))
	if c.Matched != 2 {
		t.Errorf("%+v", c)
	}
	c = w.until("/either", judged(3))
	if c.Matched != 2 || c.Reasons[shadow.InMotion] != 1 || c.Mismatched != 0 {
		t.Errorf("%+v", c)
	}
	if want := []string{`{"invoice":41}`, `{"invoice":3}`}; !slices.Equal(copied.list(), want) {
		t.Errorf("the store was sent %q, want %q", copied.list(), want)
	}
	numbering(&w.isolated, 42, &copied, func(string) string { return `{"invoice":40}` })
	w.post("/either", `{"invoice":8}`) // it says that it has paid another one
	c = w.until("/either", judged(4))
	if c.Mismatched != 1 || c.Differences[0].Fingerprint != "identity $.body.invoice" {
		t.Errorf("%+v", c)
	}
}
