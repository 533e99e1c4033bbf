package proxy_test

import (
	"io"
	"net/http"
	"testing"
	"time"

	"stranglerfig/migrations/change"
)

// broken are the ways in which a service fails to answer.
var broken = map[string]func(w *world){
	"refuses connections": func(w *world) { w.service.server.Close() },
	"answers 502": func(w *world) {
		w.service.answers(func(out http.ResponseWriter, _ *http.Request) { out.WriteHeader(http.StatusBadGateway) })
	},
	"answers 503": func(w *world) {
		w.service.answers(func(out http.ResponseWriter, _ *http.Request) { out.WriteHeader(http.StatusServiceUnavailable) })
	},
	"answers 504": func(w *world) {
		w.service.answers(func(out http.ResponseWriter, _ *http.Request) { out.WriteHeader(http.StatusGatewayTimeout) })
	},
	"breaks off": func(w *world) {
		w.service.answers(func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })
	},
	"does not begin its answer": func(w *world) {
		w.snapshot.FallbackAfter = time.Millisecond
		w.service.answers(func(_ http.ResponseWriter, r *http.Request) {
			io.Copy(io.Discard, r.Body)
			<-r.Context().Done()
		})
	},
}

func TestSafeReadsFallBackToTheMonolithAndSaySo(t *testing.T) {
	for how, breaks := range broken {
		t.Run(how, func(t *testing.T) {
			w := newWorld(t)
			breaks(w)
			w.obey("GET /invoices=service", "GET /list=canary 100%", "GET /other=shadow")
			for _, path := range []string{"/invoices", "/list"} {
				for _, method := range []string{"GET", "HEAD"} {
					got := w.ask(method, path, "")
					if got.StatusCode != http.StatusOK || got.by() != "monolith" || got.Header.Get("X-Strangler-Fallback") != "monolith" {
						t.Errorf("%s %s: %d by the %s, %v", method, path, got.StatusCode, got.by(), got.Header)
					}
				}
			}
			if n := w.number("strangler_fallbacks_total"); n != 4 {
				t.Errorf("%v fallbacks were counted", n)
			}
			if got := w.ask("GET", "/other", ""); got.by() != "monolith" || got.Header.Get("X-Strangler-Fallback") != "" {
				t.Errorf("a route of the monolith's own: %v", got.Header)
			}
		})
	}
}

func TestWritesNeverFallBack(t *testing.T) {
	for how, breaks := range broken {
		if how == "does not begin its answer" {
			continue // a write is waited for
		}
		for name, sent := range map[string]struct{ method, path, body string }{
			"a write":                              {"POST", "/invoices", "body"},
			"a write without a body":               {"DELETE", "/invoices", ""},
			"a read on a route that may write":     {"GET", "/anything", ""},
			"a read with a body":                   {"GET", "/invoices", "body"},
			"a read on a route declared as a POST": {"POST", "/search", ""},
		} {
			t.Run(how+", "+name, func(t *testing.T) {
				w := newWorld(t)
				breaks(w)
				w.obey("GET /invoices=service", "POST /invoices=service", "DELETE /invoices=service", "/anything=service", "POST /search=service")
				got := w.ask(sent.method, sent.path, sent.body)
				if got.StatusCode < 502 || got.StatusCode > 504 || got.by() == "monolith" || got.Header.Get("X-Strangler-Fallback") != "" {
					t.Errorf("%d by %q", got.StatusCode, got.by())
				}
				if n := w.monolith.calls.Load(); n != 0 {
					t.Errorf("the monolith was asked %d times", n)
				}
			})
		}
	}
}

func TestOtherAnswersOfTheServiceAreItsOwn(t *testing.T) {
	w := newWorld(t)
	w.obey("GET /invoices=service")
	for _, status := range []int{200, 204, 304, 400, 404, 409, 418, 429, 500, 501} {
		w.service.answers(func(out http.ResponseWriter, _ *http.Request) { out.WriteHeader(status) })
		if got := w.ask("GET", "/invoices", ""); got.StatusCode != status || got.by() != "service" {
			t.Errorf("%d became %d by the %s", status, got.StatusCode, got.by())
		}
	}
}

func TestNothingFallsBackToDataThatWouldBeOld(t *testing.T) {
	w := newWorld(t)
	w.service.answers(func(out http.ResponseWriter, _ *http.Request) { out.WriteHeader(http.StatusServiceUnavailable) })
	w.moving(change.Service, "GET /invoices=service", "POST /invoices=service")
	if got := w.ask("GET", "/invoices", ""); got.by() != "monolith" {
		t.Errorf("while the monolith follows, it was not asked: %d by the %s", got.StatusCode, got.by())
	}
	w.sync(time.Now().Add(-time.Minute))
	if got := w.ask("GET", "/invoices", ""); got.StatusCode != http.StatusServiceUnavailable || got.by() != "service" {
		t.Errorf("while the monolith is behind: %d by the %s", got.StatusCode, got.by())
	}
	w.sync(time.Now())
	w.ask("POST", "/invoices", "")
	if got := w.ask("GET", "/invoices", ""); got.StatusCode != http.StatusServiceUnavailable || got.by() != "service" {
		t.Errorf("to a client that has just written: %d by the %s", got.StatusCode, got.by())
	}
}

func TestABackendThatCannotBeReachedIsTold(t *testing.T) {
	w := newWorld(t)
	w.obey("POST /invoices=service")
	w.service.server.Close()
	got := w.ask("POST", "/invoices", "body")
	if got.StatusCode != http.StatusServiceUnavailable || got.Header.Get("Retry-After") == "" || got.body != "strangler: service cannot be reached; nothing was sent\n" {
		t.Errorf("%d %v %q", got.StatusCode, got.Header, got.body)
	}
	if n := w.number("strangler_upstream_failures_total"); n != 1 {
		t.Errorf("%v failures were counted", n)
	}
	reset := newWorld(t)
	reset.obey("POST /invoices=service")
	reset.service.answers(func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })
	got = reset.ask("POST", "/invoices", "body")
	if got.StatusCode != http.StatusBadGateway || got.body != "strangler: service did not answer\n" {
		t.Errorf("%d %q: the client must not believe that nothing was sent", got.StatusCode, got.body)
	}
}

func TestReadsOfAServiceThatRecoversAreItsOwnAgain(t *testing.T) {
	w := newWorld(t)
	w.obey("GET /invoices=service")
	broken["answers 503"](w)
	w.ask("GET", "/invoices", "")
	w.service.answers(func(out http.ResponseWriter, _ *http.Request) { io.WriteString(out, "well again") })
	if got := w.ask("GET", "/invoices", ""); got.by() != "service" || got.body != "well again" {
		t.Errorf("answered by the %s", got.by())
	}
}
