package proxy_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"stranglerfig/migrations/change"
	"stranglerfig/migrations/engine"
	"stranglerfig/strangler-proxy/proxy"
	"stranglerfig/strangler-proxy/route"
	"stranglerfig/strangler-proxy/upstream"
)

func TestHeldWritesWaitAndGoToTheNewOwnerWhileReadsFlow(t *testing.T) {
	w := newWorld(t)
	w.moving(change.Monolith, "GET /invoices=monolith", "POST /invoices=monolith", "/invoices/{id}=monolith")
	held := w.hold(roomy)
	var waiting []<-chan reply
	for range 10 {
		waiting = append(waiting, w.later(t.Context(), "POST", "/invoices", "body"), w.later(t.Context(), "DELETE", "/invoices/7", ""))
	}
	w.untilHeld(20)
	for _, path := range []string{"/invoices", "/invoices/7", "/elsewhere"} {
		if got := w.ask("GET", path, ""); got.by() != "monolith" {
			t.Errorf("GET %s during the hold: %d by the %s", path, got.StatusCode, got.by())
		}
	}
	if got := w.ask("POST", "/elsewhere", ""); got.by() != "monolith" {
		t.Errorf("a write that is nobody's business: %d by the %s", got.StatusCode, got.by())
	}
	if n := held.Waiting(); n != 20 {
		t.Errorf("%d writes wait", n)
	}
	before := w.monolith.calls.Load()
	if err := w.proxy.Flip("billing", change.Service, 2); err != nil {
		t.Fatal(err)
	}
	if n := w.service.calls.Load(); n != 0 || w.proxy.Held("billing") != 20 {
		t.Errorf("%d writes went when the owner was named; they are released later", n)
	}
	w.proxy.Release("billing")
	w.proxy.Release("billing") // harmless
	for _, answered := range waiting {
		if got := <-answered; got.err != nil || got.by() != "service" {
			t.Errorf("%v by the %s", got.err, got.by())
		}
	}
	if n := w.monolith.calls.Load() - before; n != 0 || w.proxy.Held("billing") != 0 {
		t.Errorf("%d writes went to the old owner, %d still wait", n, w.proxy.Held("billing"))
	}
	if e := w.number("strangler_epoch"); e != 2 {
		t.Errorf("the epoch is told as %v", e)
	}
}

func TestNobodyIsAnsweredUntilSomebodyNamesTheOwner(t *testing.T) {
	w := newWorld(t)
	w.change(func(c *proxy.Capability) { c.Data = true })
	w.obey("POST /invoices=service", "GET /invoices=monolith")
	answered := w.later(t.Context(), "POST", "/invoices", "body")
	w.untilHeld(1)
	// Either side may lack what the other one acknowledged.
	read := w.later(t.Context(), "GET", "/invoices", "")
	held := w.hold(roomy) // a switch that is taken up again at the start
	if err := w.proxy.Flip("billing", change.Monolith, 1); err != nil {
		t.Fatal(err)
	}
	if got := <-read; got.by() != "monolith" {
		t.Errorf("a read: %v by the %s", got.err, got.by())
	}
	if n := held.Waiting(); n != 1 {
		t.Errorf("%d writes wait", n)
	}
	w.proxy.Release("billing")
	if got := <-answered; got.by() != "monolith" {
		t.Errorf("%v by the %s, although the word of the route says service", got.err, got.by())
	}
}

func TestAFullHoldIsReportedAndEveryoneReleased(t *testing.T) {
	for name, row := range map[string]struct {
		bounds engine.Bounds
		body   string
		fits   int
	}{
		"too many writes": {engine.Bounds{Requests: 3, Bytes: 1 << 20, Wait: time.Minute}, "body", 3},
		"too many bytes":  {engine.Bounds{Requests: 1000, Bytes: 100, Wait: time.Minute}, strings.Repeat("x", 40), 2},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.moving(change.Monolith, "POST /invoices=monolith")
			held := w.hold(row.bounds)
			var waiting []<-chan reply
			for range row.fits {
				waiting = append(waiting, w.later(t.Context(), "POST", "/invoices", row.body))
			}
			w.untilHeld(row.fits)
			select {
			case err := <-held.Overflow:
				t.Fatalf("within its bounds: %v", err)
			default:
			}
			waiting = append(waiting, w.later(t.Context(), "POST", "/invoices", row.body))
			if err := <-held.Overflow; err == nil || !strings.Contains(err.Error(), "the hold is full") {
				t.Errorf("%v", err)
			}
			w.proxy.Release("billing") // as the switch does then
			for _, answered := range waiting {
				if got := <-answered; got.err != nil || got.StatusCode != http.StatusOK || got.by() != "monolith" {
					t.Errorf("%v, %d by the %s", got.err, got.StatusCode, got.by())
				}
			}
		})
	}
}

func TestAWaitingClientThatGoesAwayIsNotCountedAndNotSent(t *testing.T) {
	w := newWorld(t)
	w.moving(change.Monolith, "POST /invoices=monolith")
	held := w.hold(roomy)
	ctx, leave := context.WithCancel(t.Context())
	gone, stays := w.later(ctx, "POST", "/invoices", ""), w.later(t.Context(), "POST", "/invoices", "")
	w.untilHeld(2)
	leave()
	if got := <-gone; !errors.Is(got.err, context.Canceled) {
		t.Errorf("%v", got.err)
	}
	w.untilHeld(1)
	if n := held.Waiting(); n != 1 {
		t.Errorf("%d writes wait", n)
	}
	w.proxy.Release("billing")
	if got := <-stays; got.by() != "monolith" {
		t.Errorf("%v by the %s", got.err, got.by())
	}
	if n := w.monolith.calls.Load(); n != 1 {
		t.Errorf("the monolith got %d writes", n)
	}
}

func TestAHeldWriteIsToldToTryAgainWhenThePauseLastsTooLong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, backend := proxy.New(proxy.Options{Metrics: proxy.NewMetrics(prometheus.NewRegistry())}), nowhere(t)
		r, err := route.Parse("POST /invoices")
		if err != nil {
			t.Fatal(err)
		}
		r.Capability = "billing"
		table, _ := route.Compile([]route.Route{r}, route.Profile{})
		p.Obey(&proxy.Snapshot{Table: table, Monolith: backend, Capabilities: map[string]proxy.Capability{"billing": {Service: backend, Data: true}}})
		if err := p.Flip("billing", change.Monolith, 1); err != nil {
			t.Fatal(err)
		}
		if _, err := p.Hold(t.Context(), "billing", engine.Bounds{Requests: 10, Bytes: 100, Wait: 5 * time.Second}); err != nil {
			t.Fatal(err)
		}
		begun := time.Now()
		w := httptest.NewRecorder()
		p.ServeHTTP(w, httptest.NewRequest("POST", "/invoices", strings.NewReader("body")))
		if w.Code != http.StatusServiceUnavailable || w.Header().Get("Retry-After") == "" || !strings.Contains(w.Body.String(), "the owner is being settled") {
			t.Errorf("%d %v %q", w.Code, w.Header(), w.Body)
		}
		if waited := time.Since(begun); waited < 5*time.Second || waited > 10*time.Second {
			t.Errorf("it waited for %s by the bubble's clock", waited)
		}
		if n := p.Held("billing"); n != 0 {
			t.Errorf("%d writes wait", n)
		}
	})
}

// nowhere is a backend that must not be reached.
func nowhere(t *testing.T) *upstream.Backend {
	b, err := upstream.New(upstream.Options{Name: "nowhere", URLs: []string{"http://127.0.0.1:1"}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	return b
}

func TestHoldReturnsOnlyWhenTheWritesInsideHaveLeft(t *testing.T) {
	w := newWorld(t)
	w.moving(change.Monolith, "POST /invoices=monolith")
	inside, finish := make(chan struct{}, 2), make(chan struct{})
	w.monolith.answers(func(out http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		inside <- struct{}{}
		<-finish
		io.WriteString(out, "done")
	})
	first, second := w.later(t.Context(), "POST", "/invoices", "1"), w.later(t.Context(), "POST", "/invoices", "2")
	<-inside
	<-inside
	holding := make(chan error, 1)
	go func() {
		_, err := w.proxy.Hold(t.Context(), "billing", roomy)
		holding <- err
	}()
	third := w.laterHeld("POST", "/invoices")
	finish <- struct{}{}
	select {
	case got := <-first:
		first = second
		if got.body != "done" {
			t.Errorf("%+v", got)
		}
	case got := <-second:
		if got.body != "done" {
			t.Errorf("%+v", got)
		}
	}
	select {
	case err := <-holding:
		t.Fatalf("with a write inside, the hold returned %v", err)
	default:
	}
	finish <- struct{}{}
	if got := <-first; got.body != "done" {
		t.Errorf("%+v", got)
	}
	if err := <-holding; err != nil {
		t.Fatal(err)
	}
	close(finish)
	if n := w.monolith.calls.Load(); n != 2 {
		t.Errorf("the monolith has %d writes during the hold", n)
	}
	w.proxy.Release("billing")
	if got := <-third; got.err != nil {
		t.Error(got.err)
	}
}

// laterHeld sends a write once the hold has begun, and returns when it waits.
func (w *world) laterHeld(method, path string) <-chan reply {
	for {
		probe := w.proxy.Explain(w.request(method, path, ""))
		if probe.Decision.Hold {
			break
		}
	}
	answered := w.later(w.t.Context(), method, path, "")
	w.untilHeld(1)
	return answered
}

func TestAHoldThatCannotComeAboutHoldsNobody(t *testing.T) {
	w := newWorld(t)
	w.moving(change.Monolith, "POST /invoices=monolith")
	inside, finish := make(chan struct{}, 1), make(chan struct{})
	w.monolith.answers(func(_ http.ResponseWriter, r *http.Request) {
		if r.Header.Get("X-Slow") != "" {
			inside <- struct{}{}
			<-finish
		}
	})
	slow := w.later(t.Context(), "POST", "/invoices", "", "X-Slow", "1")
	<-inside
	ctx, giveUp := context.WithCancelCause(t.Context())
	holding := make(chan error, 1)
	go func() {
		_, err := w.proxy.Hold(ctx, "billing", roomy)
		holding <- err
	}()
	waiting := w.laterHeld("POST", "/invoices")
	reason := errors.New("long enough")
	giveUp(reason)
	if err := <-holding; !errors.Is(err, reason) {
		t.Errorf("%v", err)
	}
	if got := <-waiting; got.by() != "monolith" {
		t.Errorf("the write that waited: %v by the %s", got.err, got.by())
	}
	if got := w.ask("POST", "/invoices", ""); got.by() != "monolith" {
		t.Errorf("a write afterwards: %d by the %s", got.StatusCode, got.by())
	}
	close(finish)
	if got := <-slow; got.err != nil {
		t.Error(got.err)
	}
	w.hold(roomy) // and another one may be tried
	w.proxy.Release("billing")
}

func TestFlipRefusesAnEarlierEpochAndAnotherOwnerOfTheSame(t *testing.T) {
	w := newWorld(t)
	w.moving(change.Monolith, "POST /invoices=monolith")
	for _, row := range []struct {
		owner change.Side
		epoch uint64
		ok    bool
	}{
		{change.Monolith, 1, true}, {change.Service, 1, false}, {change.Service, 3, true}, {change.Service, 3, true}, {change.Monolith, 3, false},
		{change.Monolith, 2, false}, {change.Service, 2, false}, {change.Monolith, 0, false}, {change.Monolith, 4, true},
	} {
		if err := w.proxy.Flip("billing", row.owner, row.epoch); (err == nil) != row.ok {
			t.Errorf("the %s at epoch %d: %v", row.owner, row.epoch, err)
		} else if err != nil && !strings.Contains(err.Error(), "refused") {
			t.Errorf("%v", err)
		} else if err != nil && w.number("strangler_epoch") < float64(row.epoch) {
			t.Error("the epoch that was refused is told")
		}
	}
	if e := w.number("strangler_epoch"); e != 4 {
		t.Errorf("the epoch is told as %v", e)
	}
	if got := w.ask("POST", "/invoices", ""); got.by() != "monolith" {
		t.Errorf("a write goes to the %s", got.by())
	}
}

func TestUnknownCapabilitiesAreRefused(t *testing.T) {
	w := newWorld(t)
	w.obey("GET /invoices=monolith")
	if err := w.proxy.Flip("nothing", change.Service, 1); err == nil {
		t.Error("flipped")
	}
	if _, err := w.proxy.Hold(t.Context(), "nothing", roomy); err == nil {
		t.Error("held")
	}
	w.proxy.Release("nothing")
	if n := w.proxy.Held("nothing"); n != 0 {
		t.Error(n)
	}
}

func TestASwitchUnderLoadSendsEachWriteToTheOwnerOfItsMoment(t *testing.T) {
	w := newWorld(t)
	w.moving(change.Monolith, "POST /invoices=monolith")
	var owner atomic.Value // who may be written to; "" while nobody may
	owner.Store(change.Monolith)
	for _, a := range []*application{w.monolith, w.service} {
		a.answers(func(out http.ResponseWriter, r *http.Request) {
			io.Copy(io.Discard, r.Body)
			if now := owner.Load().(change.Side); string(now) != a.name {
				t.Errorf("a write reached the %s while %q was the owner", a.name, now)
			}
			io.WriteString(out, a.name)
		})
	}
	stop := make(chan struct{})
	var clients []<-chan int
	for range 4 {
		sent := make(chan int, 1)
		clients = append(clients, sent)
		go func() {
			n := 0
			for {
				select {
				case <-stop:
					sent <- n
					return
				default:
				}
				if got := w.do(w.request("POST", "/invoices", "body")); got.err != nil || got.StatusCode != http.StatusOK {
					t.Errorf("%v %d", got.err, got.StatusCode)
				}
				n++
			}
		}()
	}
	for epoch := uint64(2); epoch < 40; epoch++ {
		to := []change.Side{change.Service, change.Monolith}[epoch%2]
		w.hold(roomy)
		owner.Store(change.Side(""))
		if err := w.proxy.Flip("billing", to, epoch); err != nil {
			t.Error(err)
		}
		owner.Store(to)
		w.proxy.Release("billing")
	}
	close(stop)
	sent := 0
	for _, n := range clients {
		sent += <-n
	}
	if got := w.monolith.calls.Load() + w.service.calls.Load(); int(got) != sent {
		t.Errorf("%d writes were sent, %d arrived", sent, got)
	}
}
