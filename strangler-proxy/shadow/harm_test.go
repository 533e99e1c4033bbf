package shadow_test

import (
	"io"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"stranglerfig/strangler-proxy/shadow"
)

// TestTheLivePathIsNeverHarmed has clients read a shadowed route over real
// sockets while the service is in trouble: every one of them is answered by the
// monolith, and every exchange is accounted for.
func TestTheLivePathIsNeverHarmed(t *testing.T) {
	const clients, each = 8, 60
	for name, trouble := range map[string]func(w *world){
		"dead": func(w *world) { w.serviceServer.Close() },
		"hung": func(w *world) {
			answers(&w.service, func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
		},
		"ten times slower": func(w *world) {
			answers(&w.monolith, func(out http.ResponseWriter, _ *http.Request) { late(out, time.Millisecond) })
			answers(&w.service, func(out http.ResponseWriter, _ *http.Request) { late(out, 10*time.Millisecond) })
		},
		"breaking off": func(w *world) {
			answers(&w.service, func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, func(o *shadow.Options) { o.Queue, o.Timeout = 8, 200*time.Millisecond })
			trouble(w)
			var all sync.WaitGroup
			for range clients {
				all.Go(func() {
					for range each {
						w.expect(http.StatusOK)
					}
				})
			}
			all.Wait()
			c := w.until("GET /invoices", judged(clients*each))
			if c.Mismatched != 0 || w.asked.Load() < clients*each {
				t.Errorf("%+v, the monolith was asked %d times", c, w.asked.Load())
			}
			if c.Dropped+c.Incomparable+c.Matched != clients*each || name != "ten times slower" && c.Matched != 0 {
				t.Errorf("not every exchange is accounted for: %+v", c)
			}
			if name == "hung" && c.Dropped == 0 {
				t.Errorf("nothing was dropped: %+v", c)
			}
			if w.toService().Open() {
				t.Error("what was mirrored opened the breaker that clients depend on")
			}
		})
	}
}

// late answers after a while, as a slow side does.
func late(out http.ResponseWriter, after time.Duration) {
	timer := time.NewTimer(after)
	<-timer.C
	io.WriteString(out, `{"total": 1}`)
}

// TestMemoryIsTheQueueTimesTheCap lets bodies of exactly the cap pile up behind a
// service that hangs.
func TestMemoryIsTheQueueTimesTheCap(t *testing.T) {
	const queue, body, workers = 32, 128 << 10, 4
	w := newWorld(t, func(o *shadow.Options) { o.Queue, o.Body = queue, body })
	long := strings.Repeat("x", body)
	answers(&w.monolith, func(out http.ResponseWriter, _ *http.Request) { io.WriteString(out, long) })
	answers(&w.service, func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	w.ask("GET", "/invoices") // so that what connections need is there
	before := heap()
	const bound = (queue + workers) * body
	for range 6 * queue {
		w.ask("GET", "/invoices")
		if held := w.shadow.Held(); held > bound {
			t.Fatalf("%d bytes are held, %d is the bound", held, bound)
		}
	}
	if held := w.shadow.Held(); held < queue*body {
		t.Errorf("only %d bytes are held: nothing piled up", held)
	}
	const others = 4 << 20 // buffers, goroutines and the test's own
	if grown := heap() - before; grown > bound+others {
		t.Errorf("the heap grew by %d bytes, %d is the bound", grown, bound)
	}
	longer := strings.Repeat("x", body+1)
	answers(&w.monolith, func(out http.ResponseWriter, _ *http.Request) { io.WriteString(out, longer) })
	held := w.shadow.Held()
	w.ask("GET", "/either") // which is compared by nobody, and takes no room
	if c := w.until("/either", judged(1)); c.Reasons[shadow.TooLong] != 1 || w.shadow.Held() > held {
		t.Errorf("%+v, %d bytes are held", c, w.shadow.Held())
	}
}

// heap is how much of the memory is in use.
func heap() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

func TestAServiceThatTakesLongerIsTold(t *testing.T) {
	var l shadow.Latency
	if l.Typical() != shadow.Unsettled {
		t.Error("nothing was timed, and it is settled")
	}
	pairs := func(n int, monolith, service time.Duration) shadow.Latency {
		var l shadow.Latency
		for range n {
			l.Note(monolith, service, 0.5)
		}
		return l
	}
	const ms = time.Millisecond
	for _, c := range []struct {
		n                 int
		monolith, service time.Duration
		want              shadow.Judgement
	}{
		{7, 10 * ms, 10 * ms, shadow.Unsettled},
		{8, 10 * ms, 10 * ms, shadow.NotSlower},
		{8, 10 * ms, 17 * ms, shadow.NotSlower}, // half as much again, and 2 ms
		{8, 10 * ms, 18 * ms, shadow.Slower},
		{8, ms / 10, 2 * ms, shadow.NotSlower}, // twenty times as long, and nobody notices
	} {
		l := pairs(c.n, c.monolith, c.service)
		if got := l.Typical(); got != c.want {
			t.Errorf("%d pairs of %s and %s: %s, want %s", c.n, c.monolith, c.service, got, c.want)
		}
	}
	l = pairs(100, 10*ms, 10*ms)
	for q, d := range map[float64]time.Duration{0.5: 10 * ms, 0.99: 10 * ms} {
		if got := l.Service.Quantile(q); got < d || got > d*11/10 {
			t.Errorf("quantile %v: %s, want %s", q, got, d)
		}
	}
}

func TestBothSidesAreTimed(t *testing.T) {
	w := newWorld(t)
	answers(&w.service, func(out http.ResponseWriter, _ *http.Request) { late(out, 30*time.Millisecond) })
	for range 20 {
		w.ask("GET", "/invoices")
		w.idle()
	}
	c := w.until("GET /invoices", judged(20))
	if c.Latency.Pairs != 20 || c.Latency.Service.Quantile(0.5) < 30*time.Millisecond {
		t.Errorf("%d pairs, p50 %s", c.Latency.Pairs, c.Latency.Service.Quantile(0.5))
	}
}
