package shadow_test

import (
	"io"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"time"

	"stranglerfig/contract-tests/contract"
	"stranglerfig/migrations/change"
	"stranglerfig/strangler-proxy/shadow"
)

// TestADifferenceThatWaitsForDataKeepsNobodyElseWaiting however many of them do.
func TestADifferenceThatWaitsForDataKeepsNobodyElseWaiting(t *testing.T) {
	followed := make(chan struct{})
	w := newWorld(t, func(o *shadow.Options) {
		o.Synced = func(string, change.Side) time.Time { <-followed; return time.Time{} }
	})
	differsOn(w, "/invoices/")
	const differ, agree = 6, 5
	for range differ {
		w.ask("GET", "/invoices/7")
	}
	for range agree {
		w.ask("GET", "/invoices")
	}
	if c := w.until("GET /invoices", judged(agree)); c.Matched != agree {
		t.Errorf("%+v", c)
	}
	if c, some := w.shadow.Count("GET /invoices/{id}", shadow.Forward); some {
		t.Errorf("what waits is judged: %+v", c)
	}
	close(followed)
	if c := w.until("GET /invoices/{id}", judged(differ)); c.Mismatched != differ {
		t.Errorf("%+v", c)
	}
}

// TestADifferenceIsLookedAtWithoutWaitingForOthers: it may soon be gone.
func TestADifferenceIsLookedAtWithoutWaitingForOthers(t *testing.T) {
	judge := make(chan struct{})
	w := newWorld(t, func(o *shadow.Options) { o.Identifiers = occupied(judge) })
	t.Cleanup(func() { close(judge) })
	differsOn(w, "/invoices/")
	w.ask("GET", "/invoices")
	w.ask("GET", "/invoices/7")
	if c := w.until("GET /invoices/{id}", judged(1)); c.Mismatched != 1 {
		t.Errorf("%+v", c)
	}
	if c, some := w.shadow.Count("GET /invoices", shadow.Forward); some {
		t.Errorf("what waits for others is judged: %+v", c)
	}
}

// occupied keeps whoever compares answers that look alike from doing so for as long.
func occupied(until chan struct{}) func(capability, routeID string) contract.Identifiers {
	return func(_, routeID string) contract.Identifiers {
		if routeID == "GET /invoices" {
			<-until
		}
		return contract.Identifiers{}
	}
}

// differsOn has the service say something else below a path.
func differsOn(w *world, path string) {
	answers(&w.service, func(out http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, path) {
			io.WriteString(out, `{"total": 2}`)
			return
		}
		io.WriteString(out, `{"total": 1}`)
	})
}

// TestWhatWaitsToBeComparedHoldsBothAnswers, which is bounded as well.
func TestWhatWaitsToBeComparedHoldsBothAnswers(t *testing.T) {
	const queue, body, workers = 32, 128 << 10, 4
	judge := make(chan struct{})
	w := newWorld(t, func(o *shadow.Options) { o.Queue, o.Body, o.Identifiers = queue, body, occupied(judge) })
	t.Cleanup(func() { close(judge) })
	long := strings.Repeat("x", body)
	says(&w.monolith, long)
	says(&w.service, long)
	before := heap()
	const bound = (queue + workers) * 2 * body
	for range 4 * queue {
		w.ask("GET", "/invoices")
		if held := w.shadow.Held(); held > bound {
			t.Fatalf("%d bytes are held, %d is the bound", held, bound)
		}
	}
	if c := w.until("GET /invoices", func(c shadow.Count) bool { return c.Dropped == 4*queue-queue-workers }); c.Compared > 0 {
		t.Errorf("%+v", c)
	}
	for limit := time.Now().Add(time.Minute); w.shadow.Held() != bound; runtime.Gosched() {
		if time.Now().After(limit) {
			t.Fatalf("%d bytes are held instead of %d", w.shadow.Held(), bound)
		}
	}
	const others = 4 << 20
	if grown := heap() - before; grown > bound+others {
		t.Errorf("the heap grew by %d bytes, %d is the bound", grown, bound)
	}
}
