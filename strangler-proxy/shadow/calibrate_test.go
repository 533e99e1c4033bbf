package shadow_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"stranglerfig/contract-tests/match"
	"stranglerfig/strangler-proxy/route"
	"stranglerfig/strangler-proxy/shadow"
)

// calibrate lets clients read while the monolith is asked twice, until there are
// enough pairs.
func (w *world) calibrate(pairs int64) shadow.Calibration {
	w.t.Helper()
	ctx, stop := context.WithTimeout(context.Background(), time.Minute)
	defer stop()
	var seen atomic.Int64
	type result struct {
		found shadow.Calibration
		err   error
	}
	done := make(chan result, 1)
	go func() {
		found, err := w.shadow.Calibrate(ctx, "billing", func(atOnce, lagged int64) { seen.Store(min(atOnce, lagged)) })
		done <- result{found, err}
	}()
	for seen.Load() < pairs && ctx.Err() == nil {
		w.ask("GET", "/invoices")
	}
	if _, err := w.shadow.Calibrate(ctx, "billing", nil); !errors.Is(err, shadow.ErrCalibrating) {
		w.t.Errorf("two calibrations at a time: %v", err)
	}
	stop()
	r := <-done
	if r.err != nil {
		w.t.Fatal(r.err)
	}
	return r.found
}

// TestTheMonolithsOwnNoiseRaisesNoAlarm has a monolith whose answers hold a
// moment, a counter and a token, and a service that makes up its own.
func TestTheMonolithsOwnNoiseRaisesNoAlarm(t *testing.T) {
	w := newWorld(t)
	var count atomic.Int64
	noisy := func(total string) http.HandlerFunc {
		return func(out http.ResponseWriter, _ *http.Request) {
			n := count.Add(1)
			fmt.Fprintf(out, `{"total": %s, "at": %q, "seen": %d, "token": "t%d", "node": "web-%d"}`, total, time.Now().UTC().Format(time.RFC3339Nano), n, n, n%2)
		}
	}
	answers(&w.monolith, noisy("1"))
	answers(&w.service, noisy("1"))
	w.obey(owned(route.Owner{})) // calibration needs no shadow
	found := w.calibrate(30)
	if found.AtOnce < 30 || found.Lagged < 30 || found.Lag <= 0 || len(found.Unexplained) != 0 {
		t.Fatalf("%+v", found)
	}
	learned := map[string]match.Kind{}
	for _, p := range found.Places {
		learned[p.Path] = p.Matcher.Kind
	}
	want := map[string]match.Kind{"$.body.at": match.Moment, "$.body.seen": match.Integer, "$.body.token": match.Type, "$.body.node": match.Regex}
	if fmt.Sprint(learned) != fmt.Sprint(want) { // the token's form is a secret
		t.Errorf("learned %v, want %v", learned, want)
	}
	rules, err := found.Rules()
	if err != nil {
		t.Fatal(err)
	}
	w.obey(owned(route.Owner{Stage: route.Shadow, Share: 100}))
	w.ask("GET", "/invoices") // nothing excuses it yet
	w.until("GET /invoices", func(c shadow.Count) bool { return c.Compared+c.Incomparable == 1 })
	w.shadow.Excuse("billing", rules.For, func(_, print string) bool { return print != "value $.body.total" })
	const compared = 100
	for range compared {
		w.ask("GET", "/invoices")
		w.idle()
	}
	c := w.until("GET /invoices", judged(compared+1))
	if c.Mismatched != 0 || c.Noise < compared {
		t.Errorf("%d mismatches, %d noise: %+v", c.Mismatched, c.Noise, c.Differences)
	}
	answers(&w.service, noisy("2"))
	w.ask("GET", "/invoices")
	if c := w.until("GET /invoices", judged(compared+2)); c.Mismatched != 1 || c.Differences[0].Difference.Path != "$.body.total" || len(c.Differences) != 1 {
		t.Errorf("a bug beside the noise: %+v", c)
	}
}

func TestWhatWasFoundBeforeIsExcusedOnlyWhereItIsCovered(t *testing.T) {
	w := newWorld(t)
	says(&w.service, `{"total": 2}`)
	for range 3 {
		w.ask("GET", "/invoices")
	}
	w.until("GET /invoices", judged(3))
	w.shadow.Excuse("billing", nil, func(_, print string) bool { return print == "value $.body.other" })
	if c, _ := w.shadow.Count("GET /invoices", shadow.Forward); c.Mismatched != 3 {
		t.Errorf("%+v", c)
	}
	w.shadow.Excuse("billing", nil, func(_, print string) bool { return print == "value $.body.total" })
	if c, _ := w.shadow.Count("GET /invoices", shadow.Forward); c.Mismatched != 0 || c.Noise != 3 || len(c.Differences) != 0 || c.Compared != 3 {
		t.Errorf("%+v", c)
	}
}
