package control

import (
	"context"
	"errors"
	"runtime"
	"strings"
	"testing"
	"time"

	"stranglerfig/strangler-proxy/control/api"
	"stranglerfig/strangler-proxy/shadow"
)

const shadowed = "GET /invoices"

// eight clean comparisons are enough.
const eight = "    shadow: {p0: 50%, p1: 25%, per_client: 100%, per_shape: 100%, span: 0}\n"

// shadowing returns a shop whose reads are mirrored, and that is being served.
func shadowing(t *testing.T, alike bool) (*shop, *server) {
	s := newShop(t)
	s.alike.Store(alike)
	s.save(func(s *shop) { s.routes, s.more = shadowed+": shadow", eight })
	return s, s.start()
}

// compare lets clients read until so many more answers have been compared.
func (s *server) compare(n int64) {
	s.t.Helper()
	before, _ := s.shadow.Count(shadowed, shadow.Forward)
	for range n {
		s.by()
	}
	for deadline := time.Now().Add(30 * time.Second); ; runtime.Gosched() {
		now, _ := s.shadow.Count(shadowed, shadow.Forward)
		if now.Compared-before.Compared == n {
			return
		}
		if time.Now().After(deadline) {
			s.t.Fatalf("%d of %d were compared: %+v", now.Compared-before.Compared, n, now)
		}
	}
}

// gate asks the shadow gate.
func (s *server) gate() api.Finding {
	s.t.Helper()
	p, _ := s.config().Capability("billing")
	return s.shadowGate(context.Background(), p, shadowed)
}

func (s *server) says(v api.Verdict, words string) {
	s.t.Helper()
	if f := s.gate(); f.Verdict != v || !strings.Contains(f.Text+" "+f.Command, words) {
		s.t.Errorf("the gate says %+v, want %s and %q", f, v, words)
	}
}

func TestTheShadowGateSaysNotEnoughUntilTheStopRuleIsFulfilled(t *testing.T) {
	s, c := shadowing(t, true)
	c.says(api.Missing, "no shadow evidence")
	c.compare(3)
	c.says(api.Missing, "3 of 3 mirrored answers agree; 5 more without a difference are asked for strangler shadow status billing")
	c.compare(5)
	c.says(api.Pass, "8 of 8 mirrored answers agree, which is enough")
	if n := len(c.entries("evidence:shadow")); n != 1 {
		t.Errorf("%d pieces of evidence are filed", n)
	}
	c.stop()
	c = s.start() // counts and evidence outlive the process
	c.says(api.Pass, "8 of 8")
	if all, err := c.Shadows(context.Background(), "billing"); err != nil || all.ExitCode() != api.ExitYes || all.Routes[0].Compared != 8 {
		t.Errorf("%+v, %v", all, err)
	}
	s.save(func(s *shop) { s.more = strings.Replace(eight, "50%", "40%", 1) })
	c.reload()
	c.says(api.Missing, "more without a difference are asked for") // by another rule
	s.save(func(s *shop) { s.more = eight })
	c.reload()
	s.build.Store("v2")
	c.probes.forget()
	c.says(api.Missing, "is void: the service's build changed since")
	if _, still := c.shadow.Count(shadowed, shadow.Forward); still {
		t.Error("what was compared with another build still counts")
	}
}

func TestWhatWasComparedBeforeTheBuildsWereToldDoesNotCount(t *testing.T) {
	s := newShop(t)
	s.alike.Store(true)
	s.nameless.Store(true)
	s.save(func(s *shop) { s.routes, s.more = shadowed+": shadow", eight })
	c := s.start()
	c.compare(8)
	c.reload()
	const untold = "/buildz with 404 start it, or set build: \"\""
	c.says(api.Missing, untold)
	for _, f := range c.canCutOver(shadowed).Findings {
		if f.Gate == "contract" && !strings.Contains(f.Text+" "+f.Command, untold) {
			t.Errorf("%+v", f)
		}
	}
	s.nameless.Store(false)
	c.reload()
	c.says(api.Missing, "no shadow evidence")
	c.compare(8)
	s.nameless.Store(true)
	c.reload() // takes nothing back
	s.nameless.Store(false)
	c.reload()
	c.says(api.Pass, "8 of 8 mirrored answers agree")
}

func TestADifferenceIsANoUntilAPersonAllowsIt(t *testing.T) {
	ctx := context.Background()
	s, c := shadowing(t, false)
	c.compare(8)
	c.says(api.Fail, "0 of 8 mirrored answers agree; the others differ in 1 ways that nobody allows strangler shadow differences billing")
	all, err := c.Shadows(ctx, "billing")
	if err != nil || all.ExitCode() != api.ExitNo || len(all.Routes[0].Differences) != 1 {
		t.Fatalf("%+v, %v", all, err)
	}
	id := all.Routes[0].Differences[0].ID
	later := time.Now().Add(time.Hour)
	for what, q := range map[string]api.AllowRequest{
		"no difference is called": {ID: "ffffffffff", Reason: "r", By: "ada", Until: later},
		"names its reason":        {ID: id, By: "ada", Until: later},
		"has passed":              {ID: id, Reason: "r", By: "ada", Until: time.Now()},
		"nobody allows":           {ID: id, Reason: "r", By: "ada", Revoke: true},
	} {
		var e *api.Error
		if _, err := c.Allow(ctx, q); !errors.As(err, &e) || !strings.Contains(e.Text, what) || e.Code != api.ExitNo || e.Hint == "" {
			t.Errorf("want %q, got %v", what, err)
		}
	}
	a, err := c.Allow(ctx, api.AllowRequest{ID: id[:4], Reason: "SHOP-12", By: "ada", Until: later})
	if err != nil || a.ID != id || a.Route != shadowed {
		t.Fatalf("%+v, %v", a, err)
	}
	c.says(api.Pass, "8 of 8")
	c.stop()
	c = s.start()
	c.says(api.Pass, "8 of 8")
	if e := c.entries(allowKind); len(e) != 1 || e[0].Actor != "ada" || !strings.Contains(e[0].Text, "SHOP-12") {
		t.Errorf("%+v", e)
	}
	if all, _ = c.Shadows(ctx, "billing"); len(all.Allowances) != 1 || all.Routes[0].Differences[0].Allowance == nil || all.Routes[0].Allowed != 8 {
		t.Errorf("%+v", all)
	}
	if _, err := c.Allow(ctx, api.AllowRequest{ID: id, Reason: "it was no good idea", By: "bob", Revoke: true}); err != nil {
		t.Fatal(err)
	}
	c.says(api.Fail, "0 of 8")
	// By the fingerprint, while one route alone differs so.
	if a, err = c.Allow(ctx, api.AllowRequest{ID: all.Routes[0].Differences[0].Fingerprint, Reason: "for a moment", By: "bob", Until: time.Now().Add(time.Millisecond)}); err != nil || a.ID != id {
		t.Fatal(a, err)
	}
	for c.allowance(id) != nil {
		runtime.Gosched()
	}
	c.says(api.Fail, "0 of 8") // the date has passed
	c.mu.Lock()
	c.allowances["another"] = api.Allowance{ID: "another", Capability: "billing", Route: "GET /others", Fingerprint: a.Fingerprint}
	c.mu.Unlock()
	var e *api.Error
	if _, err := c.Allow(ctx, api.AllowRequest{ID: a.Fingerprint, Reason: "r", By: "ada", Until: later}); !errors.As(err, &e) || !strings.Contains(e.Hint, "another of GET /others") || !strings.Contains(e.Hint, id+" of "+shadowed) {
		t.Errorf("of a fingerprint on two routes: %v", err)
	}
}

func TestComparisonsBeginAnewWhenAPersonSaysWhy(t *testing.T) {
	ctx := context.Background()
	_, c := shadowing(t, false)
	c.compare(1)
	c.says(api.Fail, "0 of 1")
	if err := c.Restart(ctx, "billing", api.RestartRequest{By: "ada"}); err == nil {
		t.Error("no reason is asked for")
	}
	if err := c.Restart(ctx, "billing", api.RestartRequest{Reason: "the data was mended", By: "ada"}); err != nil {
		t.Fatal(err)
	}
	c.says(api.Missing, "begun anew by ada: the data was mended")
	if e := c.entries(restartKind); len(e) != 1 || e[0].Actor != "ada" {
		t.Errorf("%+v", e)
	}
}

func TestACalibrationHoldsForTheMonolithsBuild(t *testing.T) {
	ctx := context.Background()
	s, c := shadowing(t, true)
	s.old.Store("m1")
	s.noise.Store(1)
	c.probes.forget()
	for range 4 {
		c.by()
	}
	for deadline := time.Now().Add(30 * time.Second); !strings.Contains(c.gate().Text, "none of 4 mirrored answers could be compared (4 state-skew)"); {
		if time.Now().After(deadline) {
			t.Fatalf("%+v", c.gate()) // what changes all the time says nothing
		}
	}
	var e *api.Error
	if _, err := c.Calibrate(ctx, "billing", api.CalibrateRequest{For: time.Millisecond, By: "ada"}, func(string) {}); !errors.As(err, &e) || e.Code != api.ExitNotEnough {
		t.Errorf("nobody read, and it was enough: %v", err)
	}
	k := c.calibrateUnderLoad(3 * time.Second)
	if len(k.Learned) != 1 || k.Learned[0].Path != "$.body.n" || k.Learned[0].Matcher != `"match":"integer"` || k.Build != "m1" {
		t.Fatalf("%+v", k)
	}
	c.compareAtLeast(8)
	c.says(api.Pass, "which is enough")
	c.stop()
	c = s.start()
	if st := c.reload(); st.Calibration == nil || st.Calibration.Void != "" || len(st.Calibration.Learned) != 1 {
		t.Errorf("%+v", st.Calibration)
	}
	s.old.Store("m2")
	c.probes.forget()
	if st := c.reload(); st.Calibration == nil || !strings.Contains(st.Calibration.Void, "another build") {
		t.Errorf("%+v", st.Calibration)
	}
	c.gate() // learns that it is another build
	before := c.count()
	c.by()
	for c.count().Incomparable != before.Incomparable+1 {
		runtime.Gosched() // nothing excuses it any more
	}
}

func (s *server) count() shadow.Count {
	n, _ := s.shadow.Count(shadowed, shadow.Forward)
	return n
}

// calibrateUnderLoad calibrates while clients read.
func (s *server) calibrateUnderLoad(d time.Duration) api.Calibration {
	s.t.Helper()
	type result struct {
		k   api.Calibration
		err error
	}
	done := make(chan result, 1)
	go func() {
		k, err := s.Calibrate(context.Background(), "billing", api.CalibrateRequest{For: d, By: "ada"}, func(string) {})
		done <- result{k, err}
	}()
	for {
		select {
		case r := <-done:
			if r.err != nil {
				s.t.Fatal(r.err)
			}
			return r.k
		default:
			s.by()
		}
	}
}

// compareAtLeast lets clients read until so many answers have been compared.
func (s *server) compareAtLeast(n int64) {
	for {
		if now, _ := s.shadow.Count(shadowed, shadow.Forward); now.Compared >= n && s.shadow.Idle() {
			return
		}
		s.by()
	}
}
