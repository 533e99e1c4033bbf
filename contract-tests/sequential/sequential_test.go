package sequential_test

import (
	"encoding/json"
	"math"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"stranglerfig/contract-tests/sequential"
)

var start = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// free has no caps and no span.
func free(r sequential.Rule) sequential.Rule {
	r.PerClient, r.PerShape, r.Span = 1, 1, 0
	return r
}

// compare feeds one comparison.
func compare(t *sequential.Test, r sequential.Rule, match bool, client, shape uint64, at time.Time) {
	w := t.Weigh(r, client, shape, at)
	if match {
		t.Match(w)
	} else {
		t.Mismatch()
	}
}

// clean returns how many comparisons without a mismatch it takes from where a
// test stands, from as many clients with as many shapes.
func clean(t *sequential.Test, r sequential.Rule, clients, shapes uint64) int {
	for n := 0; ; n++ {
		if t.Missing(r) == 0 {
			return n
		}
		compare(t, r, true, uint64(n)%clients, uint64(n)%shapes, start)
	}
}

func TestTheDefaultAsksFor3327CleanComparisonsAnd2557MoreForEachMismatch(t *testing.T) {
	r := sequential.Default()
	if r.Clean() != 3327 || r.PerMismatch() != 2557 {
		t.Errorf("%d clean ones, %d more for each mismatch", r.Clean(), r.PerMismatch())
	}
	r = free(r)
	for mismatches, want := range []int{3327, 5884, 8441, 10998} { // 3,326.8 and 2,557.0 each
		var test sequential.Test
		for range mismatches {
			compare(&test, r, false, 1, 1, start)
		}
		if got := clean(&test, r, 1, 1); got != want {
			t.Errorf("after %d mismatches %d clean comparisons are enough, want %d", mismatches, got, want)
		}
	}
}

func TestLargerSharesAskForLess(t *testing.T) {
	for _, c := range []struct {
		p0, p1, alpha float64
		clean, more   int
	}{
		{0.01, 0.001, 0.05, 332, 254},
		{0.05, 0.001, 0.05, 60, 78},
		{0.5, 0.25, 0.05, 8, 2},
	} {
		r := free(sequential.Rule{P0: c.p0, P1: c.p1, Alpha: c.alpha})
		if r.Clean() != c.clean || r.PerMismatch() != c.more {
			t.Errorf("p0 %v, p1 %v: %d clean ones and %d more, want %d and %d", c.p0, c.p1, r.Clean(), r.PerMismatch(), c.clean, c.more)
		}
	}
}

// Whoever looks after every comparison and stops at the first yes is wrong no
// more often than alpha, however bad the service is beyond p0.
func TestLookingAfterEveryComparisonIsWrongNoMoreOftenThanAlpha(t *testing.T) {
	r := free(sequential.Rule{P0: 0.05, P1: 0.005, Alpha: 0.05})
	const runs, length = 1_500, 600 // 9 times what clean comparisons would need
	for _, rate := range []float64{0.05, 0.08} {
		random := rand.New(rand.NewPCG(7, uint64(rate*1000)))
		wrong := 0
		for range runs {
			var test sequential.Test
			for range length {
				compare(&test, r, random.Float64() >= rate, random.Uint64(), random.Uint64(), start)
				if test.Enough(r) {
					wrong++
					break
				}
			}
		}
		share := float64(wrong) / runs
		t.Logf("a true rate of %v: wrong in %.4f of the runs", rate, share)
		// Three standard errors above alpha would be bad luck of 1 in 700.
		if share > r.Alpha+3*math.Sqrt(r.Alpha*(1-r.Alpha)/runs) {
			t.Errorf("a true rate of %v: wrong in %.4f of the runs, alpha is %v", rate, share, r.Alpha)
		}
		if rate == r.P0 && share < r.Alpha/5 {
			t.Errorf("wrong in %.4f of the runs at p0 itself: the simulation cannot show anything", share)
		}
	}
}

// The caps keep the bound also where one client asks nearly everything and its
// requests differ more often than others'.
func TestWeightsKeepTheBound(t *testing.T) {
	r := sequential.Rule{P0: 0.05, P1: 0.005, Alpha: 0.05, PerClient: 0.25, PerShape: 0.5}
	const runs, length = 1_000, 1_000
	random := rand.New(rand.NewPCG(11, 13))
	wrong := 0
	for range runs {
		var test sequential.Test
		for range length {
			client := uint64(random.IntN(3)) * uint64(random.IntN(40)) // most often 0
			compare(&test, r, random.Float64() >= r.P0, client, client%3, start)
			if test.Enough(r) {
				wrong++
				break
			}
		}
	}
	if share := float64(wrong) / runs; share > r.Alpha+3*math.Sqrt(r.Alpha*(1-r.Alpha)/runs) {
		t.Errorf("wrong in %.4f of the runs, alpha is %v", share, r.Alpha)
	}
}

func TestAGoodServicePasses(t *testing.T) {
	r := free(sequential.Rule{P0: 0.01, P1: 0.001, Alpha: 0.05})
	random := rand.New(rand.NewPCG(3, 5))
	const runs = 500
	passed := 0
	for range runs {
		var test sequential.Test
		for range 10 * r.Clean() {
			compare(&test, r, random.Float64() >= r.P1, random.Uint64(), random.Uint64(), start)
			if test.Enough(r) {
				passed++
				break
			}
		}
	}
	if passed < runs*95/100 {
		t.Errorf("only %d of %d services that differ as seldom as expected passed", passed, runs)
	}
}

func TestOneClientAndOneShapeCountWholeUpToTheirShareOnly(t *testing.T) {
	r := sequential.Default()
	r.PerClient, r.PerShape = 0.25, 0.5
	var many, client, shape, half sequential.Test
	if n := clean(&many, r, 100, 100); n != r.Clean() {
		t.Errorf("many clients and shapes: %d", n)
	}
	// A cap of c and a weight of c/n beyond it: c·(1+ln(n/c)) is enough at
	// n = c·exp(1/share-1).
	near := func(what string, got int, share float64) {
		t.Helper()
		want := share * float64(r.Clean()) * math.Exp(1/share-1)
		if math.Abs(float64(got)-want) > 0.01*want {
			t.Errorf("%s: %d comparisons, want about %.0f", what, got, want)
		}
	}
	near("one client", clean(&client, r, 1, 100), 0.25)
	near("one shape", clean(&shape, r, 100, 1), 0.5)
	near("one client, one shape", clean(&half, r, 1, 1), 0.25)
}

func TestAMismatchCountsWholeWhoeverAsked(t *testing.T) {
	r := sequential.Default()
	var test sequential.Test
	for range 10_000 {
		compare(&test, r, true, 1, 1, start)
	}
	before := test.LogE(r)
	compare(&test, r, false, 1, 1, start)
	if got := before - test.LogE(r); math.Abs(got-math.Log(10)) > 1e-9 {
		t.Errorf("a mismatch took %v", got)
	}
}

func TestEnoughTakesItsTime(t *testing.T) {
	r := sequential.Default()
	var test sequential.Test
	for n := range r.Clean() {
		compare(&test, r, true, uint64(n), uint64(n), start.Add(time.Duration(n)*time.Second))
	}
	if test.Missing(r) != 0 || test.Enough(r) || test.Remaining(r) != time.Hour-3326*time.Second {
		t.Errorf("%d missing, %s remaining", test.Missing(r), test.Remaining(r))
	}
	compare(&test, r, true, 1, 1, start.Add(time.Hour))
	if !test.Enough(r) {
		t.Errorf("%d missing, %s remaining", test.Missing(r), test.Remaining(r))
	}
}

func TestNothingComparedIsNotEnough(t *testing.T) {
	r := sequential.Default()
	r.Span = 0
	var test sequential.Test
	if test.Enough(r) || test.Missing(r) != 3327 || test.E(r) != 1 {
		t.Errorf("%d missing, e is %v", test.Missing(r), test.E(r))
	}
}

func TestATestGoesOnWhereItWasStored(t *testing.T) {
	r := sequential.Default()
	var test, again sequential.Test
	for n := range 500 {
		compare(&test, r, n%100 != 0, uint64(n%7), uint64(n%3), start.Add(time.Duration(n)*time.Second))
	}
	raw, err := json.Marshal(test)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(raw, &again); err != nil {
		t.Fatal(err)
	}
	for n := range 500 {
		compare(&test, r, true, uint64(n%7), uint64(n%3), start.Add(time.Hour))
		compare(&again, r, true, uint64(n%7), uint64(n%3), start.Add(time.Hour))
	}
	if test.LogE(r) != again.LogE(r) || test.Missing(r) != again.Missing(r) || again.Remaining(r) != 0 {
		t.Errorf("%v and %v", test.LogE(r), again.LogE(r))
	}
}

func TestWhatIsRememberedIsBounded(t *testing.T) {
	r := sequential.Default()
	var test sequential.Test
	for n := range uint64(100_000) {
		compare(&test, r, true, n*0x9e3779b97f4a7c15, n*0x9e3779b97f4a7c15, start)
	}
	if len(test.Clients) > 1024 || len(test.Shapes) > 256 {
		t.Errorf("%d clients and %d shapes are remembered", len(test.Clients), len(test.Shapes))
	}
}

func TestARuleThatSaysNothingIsRefused(t *testing.T) {
	if err := sequential.Default().Check(); err != nil {
		t.Error(err)
	}
	for want, spoil := range map[string]func(*sequential.Rule){
		"p0 is 0":          func(r *sequential.Rule) { r.P0 = 0 },
		"p0 is 1":          func(r *sequential.Rule) { r.P0 = 1 },
		"p0 is NaN":        func(r *sequential.Rule) { r.P0 = math.NaN() },
		"below p0":         func(r *sequential.Rule) { r.P1 = r.P0 },
		"alpha is 1":       func(r *sequential.Rule) { r.Alpha = 1 },
		"per_client is 0":  func(r *sequential.Rule) { r.PerClient = 0 },
		"per_shape is 1.5": func(r *sequential.Rule) { r.PerShape = 1.5 },
		"span is -1s":      func(r *sequential.Rule) { r.Span = -time.Second },
	} {
		r := sequential.Default()
		spoil(&r)
		if err := r.Check(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("want %q, got %v", want, err)
		}
	}
}
