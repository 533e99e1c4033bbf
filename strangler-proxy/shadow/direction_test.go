package shadow_test

import (
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	"stranglerfig/migrations/change"
	"stranglerfig/strangler-proxy/proxy"
	"stranglerfig/strangler-proxy/route"
	"stranglerfig/strangler-proxy/shadow"
)

func TestAfterACutoverReadsAreMirroredBackAndCountedApart(t *testing.T) {
	w := newWorld(t)
	w.ask("GET", "/invoices")
	w.until("GET /invoices", judged(1))
	w.cutOver(100)
	for range 3 {
		w.ask("GET", "/invoices")
	}
	back := func(c shadow.Count) bool { return c.Direction == shadow.Reverse && judged(3)(c) }
	c := w.until("GET /invoices", back)
	if c.Matched != 3 || w.mirrored.Load() != 4 || w.asked.Load() != 4 {
		t.Errorf("%+v, the service was asked %d times, the monolith %d", c, w.mirrored.Load(), w.asked.Load())
	}
	if f, ok := w.shadow.Count("GET /invoices", shadow.Forward); !ok || f.Matched != 1 || f.Compared != 1 {
		t.Errorf("%+v", f)
	}
	says(&w.monolith, `{"total": "1"}`) // the way back would lose a type
	w.ask("GET", "/invoices")
	c = w.until("GET /invoices", func(c shadow.Count) bool { return c.Direction == shadow.Reverse && c.Mismatched == 1 })
	d := c.Differences[0].Difference
	if d.Path != "$.body.total" || !strings.Contains(d.Expected, `1`) || d.Kind != "type" {
		t.Errorf("%+v", d)
	}
	if f, _ := w.shadow.Count("GET /invoices", shadow.Forward); f.Mismatched != 0 {
		t.Errorf("the forward count has it as well: %+v", f)
	}
}

func TestNothingIsMirroredBackOnceTheMonolithDoesNotFollow(t *testing.T) {
	w := newWorld(t, func(o *shadow.Options) { o.Follows = func(string) bool { return false } })
	w.cutOver(100)
	says(&w.monolith, `{"error": "no such table: inv"}`)
	w.ask("GET", "/invoices")
	if c := w.until("GET /invoices", judged(1)); c.Direction != shadow.Reverse || c.Reasons[shadow.Behind] != 1 || len(c.Differences) != 0 {
		t.Errorf("%+v", c)
	}
	w.obey(func(c *proxy.Capability, _ []route.Route) { c.Reverse = 0 })
	w.idle()
	before := w.asked.Load()
	w.ask("GET", "/invoices")
	if w.asked.Load() != before || !w.shadow.Idle() {
		t.Error("the monolith is still asked")
	}
}

// heard notes what a side was asked.
type heard struct {
	mu  sync.Mutex
	all []string
}

func (h *heard) answer(status int, body string) http.HandlerFunc {
	return func(out http.ResponseWriter, r *http.Request) {
		sent, _ := io.ReadAll(r.Body)
		h.mu.Lock()
		h.all = append(h.all, fmt.Sprint(r.Method, " ", r.URL.Path, " ", string(sent)))
		h.mu.Unlock()
		out.WriteHeader(status)
		io.WriteString(out, body)
	}
}

func (h *heard) list() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.all)
}

// isolatedWorld mirrors writes to a store of its own.
func isolatedWorld(t *testing.T) *world {
	w := &world{t: t}
	w.set(func(o *shadow.Options) {
		isolate(o, w)
		o.Queue = 32 // for all that a test writes, however little it is let run meanwhile
	})
	w.obey(func(c *proxy.Capability, routes []route.Route) {
		c.Isolated = true
		for i := range routes {
			routes[i].Owner = route.Owner{Stage: route.Monolith, Share: 100}
		}
	})
	return w
}

func TestWritesGoToTheIsolatedStoreOnceAndInOrder(t *testing.T) {
	w := isolatedWorld(t)
	var live, copied heard
	answers(&w.monolith, live.answer(201, `{"id": 7, "total": 1.50}`))
	answers(&w.isolated, copied.answer(201, `{"id": 1, "total": 2.25}`))
	for n := range 20 {
		w.post("/invoices", fmt.Sprintf(`{"n": %d}`, n))
	}
	c := w.until("POST /invoices", judged(20))
	if c.Direction != shadow.Isolated || c.Matched != 20 || !slices.Equal(live.list(), copied.list()) {
		t.Errorf("%+v\nlive   %v\ncopied %v", c, live.list(), copied.list())
	}
	if w.mirrored.Load() != 0 {
		t.Error("the service that serves clients was written to")
	}
}

func TestAWriteThatDiffersIsToldAndNotRepeated(t *testing.T) {
	for name, c := range map[string]struct {
		status int
		body   string
		path   string // "": incomparable
	}{
		"another type":    {201, `{"id": 1, "total": "1.50"}`, "$.body.total"},
		"a field less":    {201, `{"id": 1}`, "$.body.total"},
		"another status":  {200, `{"id": 1, "total": 1.50}`, "$.status"},
		"another state":   {404, `{"error": "no such customer"}`, ""},
		"it is there yet": {409, `{"error": "it is there"}`, ""},
	} {
		t.Run(name, func(t *testing.T) {
			w := isolatedWorld(t)
			var live, copied heard
			answers(&w.monolith, live.answer(201, `{"id": 7, "total": 1.50}`))
			answers(&w.isolated, copied.answer(c.status, c.body))
			w.post("/invoices", `{}`)
			got := w.until("POST /invoices", judged(1))
			switch {
			case len(copied.list()) != 1:
				t.Errorf("the store was written to %d times", len(copied.list()))
			case c.path == "" && got.Reasons[shadow.InMotion] != 1:
				t.Errorf("%+v", got)
			case c.path != "" && (got.Mismatched != 1 || got.Differences[0].Difference.Path != c.path):
				t.Errorf("%+v", got)
			}
		})
	}
}

func TestAWriteThatTheServiceAnswersGoesNowhereElse(t *testing.T) {
	w := isolatedWorld(t)
	w.cutOver(100)
	w.post("/invoices", `{}`)
	w.ask("GET", "/invoices") // after which it would have been seen
	w.until("GET /invoices", judged(1))
	w.idle()
	if w.isolatedAsked.Load() != 0 {
		t.Error("the store was written to")
	}
	x := &proxy.Exchange{
		Route: &route.Route{ID: "POST /invoices", Capability: "billing", Writes: true}, Method: "POST", Path: "/invoices", Status: 200,
		Decision: route.Decision{Side: change.Service, Mirror: true}, // whatever the proxy may think
	}
	w.shadow.Observe(x, nil)
	if !w.shadow.Idle() {
		t.Error("a write of the service's is mirrored")
	}
}
