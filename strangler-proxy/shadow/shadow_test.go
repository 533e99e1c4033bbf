package shadow_test

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"stranglerfig/strangler-proxy/proxy"
	"stranglerfig/strangler-proxy/route"
	"stranglerfig/strangler-proxy/shadow"
	"stranglerfig/strangler-proxy/upstream"
)

func TestEqualAnswersMatch(t *testing.T) {
	w := newWorld(t)
	says(&w.monolith, `{"a": 1, "b": [1, 2]}`)
	says(&w.service, `{"b":[1,2],"a":1}`)
	for range 5 {
		w.ask("GET", "/invoices/7?x=1")
	}
	c := w.until("GET /invoices/{id}", judged(5))
	if c.Matched != 5 || c.Compared != 5 || c.Capability != "billing" || len(c.Differences) != 0 || c.Since.IsZero() {
		t.Errorf("%+v", c)
	}
}

func TestTheServiceIsAskedWhatTheMonolithWasAsked(t *testing.T) {
	w := newWorld(t)
	asked := make(chan string, 2)
	note := func(out http.ResponseWriter, r *http.Request) {
		asked <- fmt.Sprint(r.Method, " ", r.Host, r.RequestURI, " ", r.Header.Get("Authorization"))
	}
	answers(&w.monolith, note)
	answers(&w.service, func(out http.ResponseWriter, r *http.Request) {
		if r.Header.Get("X-Strangler-Shadow") != "1" {
			t.Error("the service cannot tell that it is mirrored")
		}
		note(out, r)
	})
	w.ask("GET", "/%69nvoices/7?x=%zz;1")
	if live, mirrored := <-asked, <-asked; live != mirrored || !strings.Contains(live, "/invoices/7?x=%zz;1 Bearer someone") {
		t.Errorf("the monolith was asked %q, the service %q", live, mirrored)
	}
}

func TestADifferenceIsNamedByItsFieldAndCountedUnderItsFingerprint(t *testing.T) {
	w := newWorld(t)
	answers(&w.monolith, func(out http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(out, `{"id": %q, "lines": [{"amount": 100}, {"amount": 200}]}`, r.URL.Path)
	})
	answers(&w.service, func(out http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(out, `{"id": %q, "lines": [{"amount": 100}, {"amount": "200"}]}`, r.URL.Path)
	})
	for i := range 3 {
		w.ask("GET", fmt.Sprintf("/invoices/%d", i))
	}
	c := w.until("GET /invoices/{id}", judged(3))
	if c.Mismatched != 3 || c.Compared != 3 || len(c.Differences) != 1 {
		t.Fatalf("%+v", c)
	}
	d := c.Differences[0]
	if d.Times != 3 || d.Difference.Path != "$.body.lines[1].amount" || !strings.Contains(d.Fingerprint, "$.body.lines[*].amount") || !strings.HasPrefix(d.Example, "GET /invoices/") {
		t.Errorf("%+v", d)
	}
}

func TestEveryKindOfDifferenceIsFound(t *testing.T) {
	for path, differs := range map[string]http.HandlerFunc{
		"$.status": func(out http.ResponseWriter, _ *http.Request) {
			out.WriteHeader(404)
			io.WriteString(out, `{"total": 1}`)
		},
		"$.header.Content-Type": func(out http.ResponseWriter, _ *http.Request) {
			out.Header().Set("Content-Type", "text/html")
			io.WriteString(out, `{"total": 1}`)
		},
		"$.body.total": func(out http.ResponseWriter, _ *http.Request) { io.WriteString(out, `{"total": 2}`) },
		"$.body.more":  func(out http.ResponseWriter, _ *http.Request) { io.WriteString(out, `{"total": 1, "more": null}`) },
	} {
		t.Run(path, func(t *testing.T) {
			w := newWorld(t)
			answers(&w.service, differs)
			w.ask("GET", "/invoices")
			c := w.until("GET /invoices", judged(1))
			found := false
			for _, d := range c.Differences {
				found = found || d.Difference.Path == path
			}
			if c.Mismatched != 1 || !found {
				t.Errorf("%+v", c)
			}
		})
	}
}

func TestAServiceThatFollowsAMomentLaterMatches(t *testing.T) {
	w := newWorld(t)
	says(&w.monolith, `{"total": 2}`)
	first := make(chan struct{}, 1)
	first <- struct{}{}
	answers(&w.service, func(out http.ResponseWriter, _ *http.Request) {
		select {
		case <-first:
			io.WriteString(out, `{"total": 1}`) // what the monolith said a moment ago
		default:
			io.WriteString(out, `{"total": 2}`)
		}
	})
	w.ask("GET", "/invoices")
	if c := w.until("GET /invoices", judged(1)); c.Matched != 1 || len(c.Differences) != 0 {
		t.Errorf("%+v", c)
	}
}

func TestAnAnswerThatWasOldWhenItWasComparedMatches(t *testing.T) {
	w := newWorld(t)
	says(&w.service, `{"total": 2}`)
	live := make(chan struct{}, 1)
	live <- struct{}{}
	answers(&w.monolith, func(out http.ResponseWriter, _ *http.Request) {
		select {
		case <-live:
			io.WriteString(out, `{"total": 1}`) // and then it changed
		default:
			io.WriteString(out, `{"total": 2}`)
		}
	})
	w.ask("GET", "/invoices")
	if c := w.until("GET /invoices", judged(1)); c.Matched != 1 {
		t.Errorf("%+v", c)
	}
}

func TestWhatCannotBeComparedIsCountedAsSuch(t *testing.T) {
	for name, breaks := range map[string]func(w *world){
		"unreachable: a service that is down": func(w *world) { w.serviceServer.Close() },
		"unreachable: a service that breaks off": func(w *world) {
			answers(&w.service, func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })
		},
		"too-long: an answer":                func(w *world) { says(&w.monolith, strings.Repeat("x", 2<<10)) },
		"longer: an answer of the service's": func(w *world) { says(&w.service, `{"total": 1`+strings.Repeat(" ", 2<<10)+"}") },
		"stream: a stream of events": func(w *world) {
			answers(&w.monolith, func(out http.ResponseWriter, _ *http.Request) { out.Header().Set("Content-Type", "text/event-stream") })
		},
		"both-failing: both sides": func(w *world) {
			for _, h := range []*atomic.Pointer[http.HandlerFunc]{&w.monolith, &w.service} {
				body := fmt.Sprint(h == &w.monolith)
				answers(h, func(out http.ResponseWriter, _ *http.Request) { out.WriteHeader(500); io.WriteString(out, body) })
			}
		},
		"both-failing: both sides, alike": func(w *world) {
			for _, h := range []*atomic.Pointer[http.HandlerFunc]{&w.monolith, &w.service} {
				answers(h, func(out http.ResponseWriter, _ *http.Request) { out.WriteHeader(500) })
			}
		},
		"monolith-failing: the monolith alone": func(w *world) {
			answers(&w.monolith, func(out http.ResponseWriter, _ *http.Request) { out.WriteHeader(503) })
		},
		"timeout: a service that takes too long": func(w *world) {
			answers(&w.service, func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
		},
		"not-followed: data that does not arrive": func(w *world) {
			says(&w.service, `{"total": 2}`)
			long := time.Unix(1, 0)
			w.synced.Store(&long)
		},
		"no-backend: a capability that is gone": func(w *world) { w.gone.Store(true) },
		"state-skew: what changes all the time": func(w *world) {
			var n atomic.Int64
			answers(&w.monolith, func(out http.ResponseWriter, _ *http.Request) { fmt.Fprintf(out, `{"n": %d}`, n.Add(1)) })
		},
	} {
		t.Run(name, func(t *testing.T) {
			why, _, _ := strings.Cut(name, ":")
			w := newWorld(t, func(o *shadow.Options) {
				if why == "timeout" {
					o.Timeout = 50 * time.Millisecond
				}
			})
			breaks(w)
			w.ask("GET", "/invoices")
			c := w.until("GET /invoices", judged(1))
			if c.Incomparable != 1 || c.Compared != 0 || len(c.Differences) != 0 || c.Reasons[shadow.Reason(why)] != 1 {
				t.Errorf("%+v", c)
			}
		})
	}
}

func TestADefectOfOursIsToldAndTheNextIsCompared(t *testing.T) {
	told := make(chan any, 2)
	var met atomic.Bool
	w := newWorld(t, func(o *shadow.Options) {
		backends := o.Backends
		o.Backends = func(capability string) (monolith, service *upstream.Backend) {
			if met.CompareAndSwap(false, true) {
				panic("a defect")
			}
			return backends(capability)
		}
		o.Panicked = func(reason any, _ []byte) { told <- reason }
	})
	for range 2 {
		w.ask("GET", "/invoices")
	}
	c := w.until("GET /invoices", judged(2))
	if c.Reasons[shadow.Defect] != 1 || c.Compared != 1 {
		t.Errorf("%+v", c)
	}
	if reason := <-told; reason != "a defect" {
		t.Errorf("told of %v", reason)
	}
}

func TestWritesAreNeverMirrored(t *testing.T) {
	w := newWorld(t)
	for _, method := range []string{"POST", "PUT", "DELETE", "PATCH"} {
		w.ask(method, "/either")
	}
	w.ask("POST", "/invoices")
	w.ask("GET", "/invoices") // after which the others would have been seen
	w.until("GET /invoices", judged(1))
	w.idle()
	x := &proxy.Exchange{Route: &route.Route{ID: "POST /search", Capability: "billing"}, Method: "POST", Path: "/search", Status: 200}
	w.shadow.Observe(x, nil) // whatever the proxy may think
	if n := w.mirrored.Load(); n != 1 || len(w.shadow.Counts()) != 1 || !w.shadow.Idle() {
		t.Errorf("the service got %d requests, the counts are %+v", n, w.shadow.Counts())
	}
}

func TestAServiceThatHangsCostsClientsNothing(t *testing.T) {
	w := newWorld(t, func(o *shadow.Options) { o.Queue = 3 })
	hangs := make(chan struct{}, 100)
	answers(&w.service, func(_ http.ResponseWriter, r *http.Request) {
		hangs <- struct{}{}
		<-r.Context().Done()
	})
	const live = 40
	for range live { // each of them is answered while the service hangs
		w.ask("GET", "/invoices")
	}
	under := int64(0)
	c := w.until("GET /invoices", func(c shadow.Count) bool {
		under = w.mirrored.Load()
		return c.Dropped+under+3 == live
	})
	if c.Dropped == 0 || c.Compared != 0 || w.shadow.Idle() || w.asked.Load() != live {
		t.Errorf("%+v, %d under way, the monolith answered %d", c, under, w.asked.Load())
	}
	w.shadow.Close() // and does not wait for the service
	w.shadow.Close()
}

func TestAfterCloseNothingIsMirroredAndNobodyWaits(t *testing.T) {
	w := newWorld(t, func(o *shadow.Options) { o.Queue = 2 })
	w.shadow.Close()
	for range 10 {
		w.ask("GET", "/invoices")
	}
	if n := w.mirrored.Load(); n != 0 {
		t.Errorf("%d requests were mirrored", n)
	}
}

func TestForgettingStartsACapabilityAnew(t *testing.T) {
	w := newWorld(t)
	w.ask("GET", "/invoices")
	w.until("GET /invoices", judged(1))
	w.shadow.Forget("catalog")
	if len(w.shadow.Counts()) != 1 {
		t.Error("another capability's counts are gone")
	}
	w.shadow.Forget("billing")
	if left := w.shadow.Counts(); len(left) != 0 {
		t.Errorf("%+v", left)
	}
	w.ask("GET", "/invoices")
	w.until("GET /invoices", judged(1))
}

func TestDistinctDifferencesAreBounded(t *testing.T) {
	w := newWorld(t, func(o *shadow.Options) { o.Body = 64 << 10 })
	answers(&w.service, func(out http.ResponseWriter, r *http.Request) {
		var fields []string
		for i := range 45 {
			fields = append(fields, fmt.Sprintf(`"f%s-%d": 1`, r.URL.RawQuery, i))
		}
		io.WriteString(out, `{"total": 1, `+strings.Join(fields, ", ")+"}")
	})
	for i := range 3 {
		w.ask("GET", fmt.Sprintf("/invoices?%d", i))
	}
	c := w.until("GET /invoices", judged(3))
	if len(c.Differences) != 100 || c.More != 35 || c.Mismatched != 3 {
		t.Errorf("%d differences and %d more", len(c.Differences), c.More)
	}
}
