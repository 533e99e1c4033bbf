package shop_test

import (
	"context"
	"sync"
	"testing"
	"time"

	"stranglerfig/contract-tests/shop"
	"stranglerfig/migrations/engine"
)

// TestKilledAtAnyPointASwitchFinishesOrTurnsBackByItself kills the strangler,
// as kill -9 does, at every named point of a cutover and of a rollback, while
// clerks write. The next one must settle the switch by itself: before the claim
// it goes back, after it forward. No acknowledged write is lost or doubled, and
// there is never a moment in which both databases accept writers.
func TestKilledAtAnyPointASwitchFinishesOrTurnsBackByItself(t *testing.T) {
	w := world(t, shop.Options{Edit: waived("contract", "rehearsal")})
	ready(t, w)
	crew := hire(t, w, 3)
	watch := guard(t, w)
	for _, verb := range []string{"cutover", "rollback"} {
		for i, point := range engine.Points(verb) {
			t.Run(point, func(t *testing.T) {
				owner := map[string]string{"cutover": "monolith", "rollback": "service"}[verb]
				own(t, w, owner)
				crash(t, w, verb, point)
				want := owner
				if i >= claimed(verb) {
					want = map[string]string{"monolith": "service", "service": "monolith"}[owner]
				}
				settled(t, w, want)
				before := crew.acked()
				eventually(t, "clerks go on", func() bool { return crew.acked() > before+5 })
			})
		}
	}
	watch()
	crew.settle(t)
	run(t, w, "ledger", "verify")
}

// claimed is the index of the first point at which the gaining database has
// agreed.
func claimed(verb string) int {
	for i, p := range engine.Points(verb) {
		if p == verb+".after-claim" {
			return i
		}
	}
	return -1
}

// own brings billing to an owner by an ordinary switch, if need be.
func own(t *testing.T, w *shop.World, owner string) {
	t.Helper()
	if billing(t, w).WriteOwner == owner {
		return
	}
	verb := "cutover"
	if owner == "monolith" {
		verb = "rollback"
	}
	run(t, w, verb, "billing")
}

// crash restarts the strangler so that it kills itself at a point, and lets it.
func crash(t *testing.T, w *shop.World, verb, point string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if err := w.Proxy.Stop(ctx); err != nil {
		t.Fatal(err)
	}
	if err := w.StartProxy(ctx, "STRANGLER_CRASH_AT="+point); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the move is live again", func() bool { d := billing(t, w).Data; return d != nil && d.Live })
	if out, err := w.Strangler(ctx, verb, "billing"); err == nil {
		t.Errorf("%s said yes although its strangler died at %s:\n%s", verb, point, out)
	}
	select {
	case <-w.Proxy.Done():
	case <-ctx.Done():
		t.Fatalf("the strangler passed %s and lives", point)
	}
	if err := w.StartProxy(ctx); err != nil {
		t.Fatal(err)
	}
}

// settled waits until the new strangler has settled the switch, and looks at
// owner, fences, file and routes.
func settled(t *testing.T, w *shop.World, owner string) {
	t.Helper()
	eventually(t, "the switch is settled", func() bool {
		c := billing(t, w)
		return c.Data != nil && c.Data.Live && (c.Data.State == "ready" || c.Data.State == "moved")
	})
	if got := billing(t, w).WriteOwner; got != owner {
		t.Errorf("the %s owns, want the %s", got, owner)
	}
	monolith, service := fences(t, w)
	if monolith != (owner == "service") || service != (owner == "monolith") {
		t.Errorf("fences: monolith %v, service %v, while the %s owns", monolith, service, owner)
	}
	eventually(t, "the file says who owns", func() bool {
		for _, r := range billing(t, w).Routes {
			if r.Writes && (r.Wanted != owner || r.Actual != owner) {
				return false
			}
		}
		return true
	})
}

// guard watches both fences until the returned function is called: at no moment
// do both sides accept writers.
func guard(t *testing.T, w *shop.World) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	look := func(file string) (open bool, epoch int) {
		counts, err := w.Count(context.Background(), file, "SELECT CASE fenced WHEN 0 THEN 'open' ELSE 'fenced' END, epoch FROM strangler_move WHERE move = 'billing'")
		if err != nil {
			t.Error(err)
		}
		epoch, open = counts["open"]
		return open, epoch
	}
	wg.Go(func() {
		for ctx.Err() == nil {
			// The monolith's twice: only if it was open at the same epoch
			// before and after was it open in between.
			before, e1 := look("shop.db")
			between, _ := look("billing.db")
			after, e2 := look("shop.db")
			if before && between && after && e1 == e2 {
				t.Errorf("both databases accept writers at epoch %d", e1)
				return
			}
		}
	})
	stop = func() { cancel(); wg.Wait() }
	t.Cleanup(stop)
	return stop
}
