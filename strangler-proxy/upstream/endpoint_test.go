package upstream

import (
	"fmt"
	"math"
	"slices"
	"testing"
	"time"
)

// several returns a backend with endpoints that nobody asks.
func several(t testing.TB, n int) *Backend {
	t.Helper()
	var urls []string
	for i := range n {
		urls = append(urls, fmt.Sprintf("http://127.0.0.1:%d", i+1))
	}
	b, err := New(Options{Name: "billing", URLs: urls})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	return b
}

// picked counts how often each endpoint is picked at a moment.
func (b *Backend) picked(times int, now time.Time) []int {
	counts := make([]int, len(b.endpoints))
	for range times {
		counts[slices.Index(b.endpoints, b.pick(now))]++
	}
	return counts
}

func TestOfTwoEndpointsTheLessLoadedIsAsked(t *testing.T) {
	b := several(t, 2)
	b.endpoints[0].inFlight.Store(1)
	if got := b.picked(200, time.Unix(1000, 0)); got[0] != 0 {
		t.Errorf("the endpoint that has more to do was asked %d times of 200", got[0])
	}
	b.endpoints[1].inFlight.Store(1)
	if got := b.picked(400, time.Unix(1000, 0)); math.Abs(float64(got[0]-200)) > 30 { // three standard deviations
		t.Errorf("of two that have the same to do the first was asked %d times of 400", got[0])
	}
}

// TestOfManyEndpointsTheMostLoadedIsNeverAsked: whichever two are drawn, another
// one is less loaded.
func TestOfManyEndpointsTheMostLoadedIsNeverAsked(t *testing.T) {
	b := several(t, 5)
	for i, e := range b.endpoints {
		e.inFlight.Store(int64(i))
	}
	got := b.picked(2000, time.Unix(1000, 0))
	if got[4] != 0 {
		t.Errorf("the most loaded was asked %d times of 2000", got[4])
	}
	for i := range 3 {
		if got[i] <= got[i+1] {
			t.Errorf("a more loaded one was asked more often: %v", got)
		}
	}
}

func TestAnEndpointThatFailsIsLeftOutForLongerEachTime(t *testing.T) {
	b, now := several(t, 4), time.Unix(1000, 0)
	bad := b.endpoints[0]
	for times := range 7 {
		for range ejectAfter - 1 {
			b.note(bad, false, now)
		}
		if bad.state(now) != Usable {
			t.Fatalf("left out after %d failures", ejectAfter-1)
		}
		b.note(bad, false, now)
		out := time.Duration(min(times+1, ejectMost)) * ejectFor
		if got := b.picked(200, now.Add(out-1)); got[0] != 0 || bad.state(now.Add(out-1)) != Ejected {
			t.Errorf("time %d: asked %d times of 200 before %s have passed", times+1, got[0], out)
		}
		if now = now.Add(out); b.picked(200, now)[0] == 0 {
			t.Errorf("time %d: not asked after %s", times+1, out)
		}
	}
	if n := bad.stats(now).Ejections; n != 7 {
		t.Errorf("%d ejections are counted", n)
	}
	b.note(bad, true, now)
	for range ejectAfter {
		b.note(bad, false, now)
	}
	if bad.state(now.Add(ejectFor-1)) != Ejected || bad.state(now.Add(ejectFor)) != Usable {
		t.Error("what went well in between did not make it begin anew")
	}
}

func TestFailuresThatAreNotInARowLeaveNobodyOut(t *testing.T) {
	b, now := several(t, 2), time.Unix(1000, 0)
	for n := range 50 {
		b.note(b.endpoints[0], n%ejectAfter == 0, now)
	}
	if b.endpoints[0].state(now) != Usable {
		t.Error("left out")
	}
}

// TestAtMostHalfOfTheEndpointsAreLeftOut breaks all of them.
func TestAtMostHalfOfTheEndpointsAreLeftOut(t *testing.T) {
	for n := 1; n <= 6; n++ {
		b, now := several(t, n), time.Unix(1000, 0)
		for range 3 * ejectAfter {
			for _, e := range b.endpoints {
				b.note(e, false, now)
			}
		}
		out := 0
		for _, e := range b.endpoints {
			if e.state(now) == Ejected {
				out++
			}
		}
		if out != n/2 {
			t.Errorf("of %d, %d are left out", n, out)
		}
	}
}

func TestWhenAllAreSickAllAreAsked(t *testing.T) {
	b, now := several(t, 3), time.Unix(1000, 0)
	for i, e := range b.endpoints {
		e.sick.Store(true)
		got := b.picked(300, now)
		for j, n := range got {
			if asked := n > 0; asked != (i == 2 || j > i) {
				t.Errorf("with %d of 3 sick they are asked %v times", i+1, got)
				break
			}
		}
	}
}

func TestWhatHasJustFailedIsTriedElsewhere(t *testing.T) {
	b, now := several(t, 3), time.Unix(1000, 0)
	b.note(b.endpoints[0], false, now)
	b.note(b.endpoints[2], false, now)
	for range 50 {
		if got := b.pickAgain(now); got != b.endpoints[1] {
			t.Fatalf("tried again at %s, which has just failed", got.url)
		}
	}
}

// TestWhatOneOfSeveralEndpointsDoesWrongIsNotTheBackends: the breaker is for
// when nobody can be asked.
func TestWhatOneOfSeveralEndpointsDoesWrongIsNotTheBackends(t *testing.T) {
	b, now := several(t, 2), time.Unix(1000, 0)
	ends := func(e *endpoint, o Outcome) {
		b.inFlight.Add(1)
		e.inFlight.Add(1)
		Attempt{backend: b, endpoint: e}.End(o, now)
	}
	for range 3 * trip {
		ends(b.endpoints[0], Unreachable)
	}
	if b.Open() || b.endpoints[0].state(now) != Ejected {
		t.Errorf("with one endpoint that is well: %+v", b.Stats())
	}
	for range trip {
		ends(b.endpoints[1], Failed)
	}
	if !b.Open() {
		t.Errorf("with none that is well: %+v", b.Stats())
	}
}
