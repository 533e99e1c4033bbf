package proxy_test

import (
	"io"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"stranglerfig/strangler-proxy/upstream"
)

// limited replaces a world's monolith and its backend, and returns how many
// connections it was asked on.
func (w *world) limited(answer http.HandlerFunc, o upstream.Options) *atomic.Int64 {
	w.t.Helper()
	made := new(atomic.Int64)
	var seen sync.Map
	w.monolith.answers(func(out http.ResponseWriter, r *http.Request) {
		if _, again := seen.LoadOrStore(r.RemoteAddr, true); !again {
			made.Add(1)
		}
		answer(out, r)
	})
	o.Name, o.URLs = "monolith", []string{w.monolith.server.URL}
	b, err := upstream.New(o)
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(b.Close)
	w.snapshot.Monolith = b
	w.obey()
	return made
}

// patron is a client with one connection of its own.
type patron struct {
	*world
	http *http.Client
}

func (w *world) patron() *patron {
	c := &http.Client{Transport: &http.Transport{MaxConnsPerHost: 1}}
	w.t.Cleanup(c.CloseIdleConnections)
	return &patron{w, c}
}

// get asks for a path and returns the status.
func (p *patron) get(path string) int {
	res, err := p.http.Do(p.request("GET", path, ""))
	if err != nil {
		p.t.Errorf("%s: %v", path, err)
		return 0
	}
	defer res.Body.Close()
	if _, err := io.Copy(io.Discard, res.Body); err != nil {
		p.t.Errorf("%s: %v", path, err)
	}
	return res.StatusCode
}

// slowly answers what begins with /slow after long enough for its client to be
// listened to meanwhile.
func slowly(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == "/slow" {
		time.Sleep(200 * time.Millisecond)
	}
	io.WriteString(w, "answer")
}

// TestTheTimeToAnswerHoldsOnAConnectionThatSomebodyElseHadJustNow and that has been
// waited for, because there may be no other.
func TestTheTimeToAnswerHoldsOnAConnectionThatSomebodyElseHadJustNow(t *testing.T) {
	w := newWorld(t)
	ended := make(chan struct{})
	t.Cleanup(func() { close(ended) })
	w.limited(func(out http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/hang" {
			<-ended
		}
		slowly(out, r)
	}, upstream.Options{Limits: upstream.Limits{Connections: 1}, Timeouts: upstream.Timeouts{Answer: 400 * time.Millisecond}})
	first, second := w.patron(), w.patron()
	first.get("/")
	second.get("/")
	var both sync.WaitGroup
	both.Go(func() { first.get("/slow") })
	both.Go(func() {
		for w.snapshot.Monolith.Stats().InFlight == 0 {
			time.Sleep(time.Millisecond)
		}
		if status := second.get("/hang"); status != http.StatusGatewayTimeout {
			t.Errorf("a backend that does not answer: %d", status)
		}
	})
	both.Wait()
}

func TestASlowMomentOfABackendLeavesItsConnectionsOfUse(t *testing.T) {
	w := newWorld(t)
	made := w.limited(slowly, upstream.Options{Limits: upstream.Limits{Idle: 4}})
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() { w.patron().get("/slow") })
	}
	all.Wait()
	before := made.Load()
	quick := w.patron()
	for range 50 {
		quick.get("/")
	}
	if more := made.Load() - before; more > 1 {
		t.Errorf("%d connections were made for 50 requests one after the other", more)
	}
}

func TestTheOnlyConnectionThereMayBeIsUsedByEveryone(t *testing.T) {
	w := newWorld(t)
	made := w.limited(slowly, upstream.Options{Limits: upstream.Limits{Connections: 1}})
	clients := []*patron{w.patron(), w.patron(), w.patron()}
	clients[2].get("/slow")
	for range 20 {
		for _, c := range clients {
			if status := c.get("/"); status != http.StatusOK {
				t.Fatalf("status %d", status)
			}
		}
	}
	// It may be missed in the moment in which it is given back.
	if n := made.Load(); n > 20 {
		t.Errorf("%d connections were made for 61 requests, one after the other", n)
	}
}

func TestManyWaitForFewConnectionsAndAllAreAnswered(t *testing.T) {
	w := newWorld(t)
	made := w.limited(slowly, upstream.Options{Limits: upstream.Limits{Connections: 4}})
	var all sync.WaitGroup
	for range 200 {
		all.Go(func() {
			c := w.patron()
			for range 3 {
				if status := c.get("/"); status != http.StatusOK {
					t.Errorf("status %d", status)
				}
			}
		})
	}
	all.Wait()
	if n := made.Load(); n > 200 {
		t.Errorf("%d connections were made for 600 requests", n)
	}
}

// TestAServiceWhoseConnectionHasJustEndedIsAskedOnANewOne rather than passed over:
// it may have been closed for being idle.
func TestAServiceWhoseConnectionHasJustEndedIsAskedOnANewOne(t *testing.T) {
	w := newWorld(t)
	var seen sync.Map // connections
	w.service.answers(func(out http.ResponseWriter, r *http.Request) {
		if _, again := seen.LoadOrStore(r.RemoteAddr, true); again {
			panic(http.ErrAbortHandler) // as if it had been closed before
		}
		io.WriteString(out, "service")
	})
	w.obey("GET /invoices=service")
	for range 4 {
		if got := w.ask("GET", "/invoices", ""); got.by() != "service" || got.Header.Get("X-Strangler-Fallback") != "" {
			t.Errorf("answered by the %s, %v", got.by(), got.Header)
		}
	}
}
