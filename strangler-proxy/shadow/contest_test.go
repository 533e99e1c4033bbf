package shadow_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"stranglerfig/migrations/change"
	"stranglerfig/strangler-proxy/proxy"
	"stranglerfig/strangler-proxy/route"
	"stranglerfig/strangler-proxy/shadow"
)

// TestWritesAboutOneThingAtATimeAreNoDifference: the store, which is sent them one
// after the other, refuses what the monolith has accepted.
func TestWritesAboutOneThingAtATimeAreNoDifference(t *testing.T) {
	const ms = time.Millisecond
	long := strings.Repeat("x", 4<<10)
	type write struct {
		thing      string
		begin, end time.Duration
		refused    bool // by the store
	}
	for name, c := range map[string]struct {
		writes           []write
		mismatched, skew int64
	}{
		"alone":                           {[]write{{"7", 0, 5 * ms, true}}, 1, 0},
		"beside one about something else": {[]write{{"7", 0, 5 * ms, true}, {"8", 1 * ms, 4 * ms, false}}, 1, 0},
		"beside one about the same, of a long name": {[]write{{long + "7", 0, 5 * ms, true}, {long + "7", 4 * ms, 9 * ms, false}}, 0, 1},
		"beside one of another long name":           {[]write{{long + "7", 0, 5 * ms, true}, {long + "8", 1 * ms, 4 * ms, false}}, 1, 0},
		"beside one about the same":                 {[]write{{"7", 0, 5 * ms, true}, {"7", 4 * ms, 9 * ms, false}}, 0, 1},
		"beside one that lasted longer":             {[]write{{"7", 2 * ms, 5 * ms, true}, {"7", 0, 9 * ms, false}}, 0, 1},
		"after one":                                 {[]write{{"7", 0, 5 * ms, false}, {"7", 6 * ms, 9 * ms, true}}, 1, 0},
		"after one that ended otherwise":            {[]write{{"7", 0, 5 * ms, true}, {"7", 6 * ms, 9 * ms, true}}, 1, 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := &world{t: t}
			w.set(func(o *shadow.Options) { isolate(o, w); o.Settling = 100 * ms })
			answers(&w.isolated, func(out http.ResponseWriter, r *http.Request) {
				if r.Header.Get("Refuse") != "" {
					out.WriteHeader(422)
				}
				fmt.Fprint(out, `{}`)
			})
			begun := time.Now()
			for _, x := range c.writes {
				header := http.Header{}
				if x.refused {
					header.Set("Refuse", "yes")
				}
				w.shadow.Observe(&proxy.Exchange{
					Route:    &route.Route{ID: "POST /invoices/{id}/payments", Capability: "billing", Writes: true},
					Decision: route.Decision{Side: change.Monolith, Mirror: true}, Method: "POST", Path: "/invoices/" + x.thing + "/payments", Header: proxy.HeadersOf(header),
					Status: 200, Answer: proxy.HeadersOf(http.Header{"Content-Type": {"application/json"}}), AnswerBody: []byte(`{}`), At: begun.Add(x.begin), Took: x.end - x.begin,
				}, nil)
			}
			got := w.until("POST /invoices/{id}/payments", judged(int64(len(c.writes))))
			if got.Mismatched != c.mismatched || got.Reasons[shadow.InMotion] != c.skew {
				t.Errorf("%+v", got)
			}
		})
	}
}
