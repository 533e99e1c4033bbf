package shadow_test

import (
	"math"
	"math/rand/v2"
	"net/http"
	"testing"
	"time"

	"stranglerfig/strangler-proxy/shadow"
)

const margin = 0.5

// usual draws answers of 10 ms that vary as answers do.
func usual(random *rand.Rand) time.Duration {
	return time.Duration(float64(10*time.Millisecond) * math.Exp(0.4*random.NormFloat64()))
}

// slowNowAndThen draws usual answers of which a share takes a second.
func slowNowAndThen(share float64) func(*rand.Rand) time.Duration {
	return func(random *rand.Rand) time.Duration {
		if random.Float64() < share {
			return time.Second
		}
		return usual(random)
	}
}

// timed notes pairs until a judgement is wanted of them.
func timed(random *rand.Rand, n int, service func(*rand.Rand) time.Duration, look func(*shadow.Latency)) shadow.Latency {
	var l shadow.Latency
	for i := range n {
		l.Note(usual(random), service(random), margin)
		if look != nil && i%40 == 0 {
			look(&l)
		}
	}
	return l
}

func TestAServiceThatIsSlowNowAndThenIsSlowerInItsTail(t *testing.T) {
	for _, c := range []struct {
		name    string
		n       int
		service func(*rand.Rand) time.Duration
		want    shadow.Judgement
		at      float64
	}{
		{"too few", 100, usual, shadow.Unsettled, 0.95},
		{"alike", 4_000, usual, shadow.NotSlower, 0.5},
		{"one of ten takes a second", 4_000, slowNowAndThen(0.1), shadow.Slower, 0.95},
		{"one of forty takes a second", 4_000, slowNowAndThen(0.025), shadow.Slower, 0.99},
		{"one of a thousand takes a second", 4_000, slowNowAndThen(0.001), shadow.NotSlower, 0.5},
		{"everything takes four times as long", 4_000, func(r *rand.Rand) time.Duration { return 4 * usual(r) }, shadow.Slower, 0.5},
	} {
		l := timed(rand.New(rand.NewPCG(1, 2)), c.n, c.service, nil)
		if got, at := l.Judge(margin); got != c.want || at != c.at {
			t.Errorf("%s: %s at %v, want %s at %v: %+v", c.name, got, at, c.want, c.at, l.Tail(0.95, margin))
		}
	}
}

// TestATailIsWronglyJudgedInOneOfTwentyRunsAtMost looks every 40 pairs, at sides
// that are exactly as unlike as they may be, or a little more.
func TestATailIsWronglyJudgedInOneOfTwentyRunsAtMost(t *testing.T) {
	const runs, length = 120, 1_000
	asFarAs := func(more float64) func(*rand.Rand) time.Duration {
		return func(r *rand.Rand) time.Duration {
			return time.Duration((1+margin)*more*float64(usual(r))) + 2*time.Millisecond
		}
	}
	for _, c := range []struct {
		name    string
		service func(*rand.Rand) time.Duration
		wrong   shadow.Judgement
	}{
		{"just within the margin", asFarAs(1), shadow.Slower},
		{"just beyond the margin", asFarAs(1.01), shadow.NotSlower},
		{"alike", usual, shadow.Slower},
	} {
		random := rand.New(rand.NewPCG(7, 9))
		wrong := map[float64]int{}
		for range runs {
			seen := map[float64]bool{}
			timed(random, length, c.service, func(l *shadow.Latency) {
				for _, q := range shadow.Tails {
					seen[q] = seen[q] || l.Tail(q, margin).Judgement == c.wrong
				}
			})
			for q, was := range seen {
				if was {
					wrong[q]++
				}
			}
		}
		for q, n := range wrong {
			// Three standard errors above one of twenty.
			if share := float64(n) / runs; share > 0.05+3*math.Sqrt(0.05*0.95/runs) {
				t.Errorf("%s: p%v was called %s in %.3f of the runs", c.name, q*100, c.wrong, share)
			}
		}
	}
}

func TestASpanHoldsItsQuantileAndNarrows(t *testing.T) {
	exact := time.Duration(float64(10*time.Millisecond) * math.Exp(0.4*1.6449)) // of usual
	width := time.Hour
	for _, n := range []int{300, 3_000, 30_000} {
		l := timed(rand.New(rand.NewPCG(3, 4)), n, usual, nil)
		s := l.Tail(0.95, margin).Monolith
		if s.Above >= exact || s.UpTo < exact || s.UpTo-s.Above >= width {
			t.Errorf("after %d pairs: %s to %s, which is no narrower span around %s than %s", n, s.Above, s.UpTo, exact, width)
		}
		width = s.UpTo - s.Above
	}
	var none shadow.Latency
	if s := none.Tail(0.95, margin); s.Monolith != (shadow.Span{}) || s.Judgement != shadow.Unsettled {
		t.Errorf("of nothing: %+v", s)
	}
}

// TestARequestThatTheServiceNeverAnswersIsSlow: left out, a service that hangs
// would have no slow answers.
func TestARequestThatTheServiceNeverAnswersIsSlow(t *testing.T) {
	const patience = 50 * time.Millisecond
	w := newWorld(t, func(o *shadow.Options) { o.Timeout = patience })
	hang := make(chan struct{})
	t.Cleanup(func() { close(hang) })
	answers(&w.service, func(http.ResponseWriter, *http.Request) { <-hang })
	for range 8 {
		w.ask("GET", "/invoices")
		w.idle()
	}
	c := w.until("GET /invoices", func(c shadow.Count) bool { return c.Reasons[shadow.TimedOut] == 8 })
	if c.Compared != 0 || c.Latency.Pairs != 8 || c.Latency.Service.Quantile(0.5) < patience {
		t.Errorf("%d compared, %d timed, p50 %s", c.Compared, c.Latency.Pairs, c.Latency.Service.Quantile(0.5))
	}
	if said, _ := c.Latency.Judge(margin); said != shadow.Slower {
		t.Errorf("the service is %s", said)
	}
}
