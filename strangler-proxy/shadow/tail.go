package shadow

import (
	"math"
	"time"

	"stranglerfig/contract-tests/sequential"
)

// Tail is what is known of how the slowest answers of both sides compare.
type Tail struct {
	Quantile          float64
	Monolith, Service Span
	Judgement         Judgement
}

// Span is between what a quantile lies.
type Span struct {
	Above time.Duration
	UpTo  time.Duration // 0 where no bound is known yet
}

// Tails are the quantiles that are judged beside the median. The first one has
// to be settled for a service to be called not slower; the second takes several
// thousand pairs, and only speaks against it.
var Tails = [...]float64{0.95, 0.99}

// tailAlpha is the probability with which a span misses its quantile on one
// side. A judgement needs a bound of each side, so that it is wrong in one of
// twenty cases at most.
const tailAlpha = 0.025

// Tail judges a quantile of all answers, each side's own: the slowest answers of
// one side need not be the other's. A service that hangs now and then is fast in
// nearly every pair, and slow here.
func (l *Latency) Tail(q, margin float64) Tail {
	t := Tail{Quantile: q, Monolith: l.Monolith.span(q), Service: l.Service.span(q), Judgement: Unsettled}
	allowed := func(d time.Duration) time.Duration { return time.Duration(float64(d)*(1+margin)) + grace }
	switch {
	case t.Service.UpTo > 0 && t.Service.UpTo <= allowed(t.Monolith.Above):
		t.Judgement = NotSlower
	case t.Monolith.UpTo > 0 && t.Service.Above > allowed(t.Monolith.UpTo):
		t.Judgement = Slower
	}
	return t
}

// Judge says whether the service is slower than the margin allows, in half of
// the pairs or more or in one of its tails, and at which quantile that shows. It
// may be asked after every pair.
func (l *Latency) Judge(margin float64) (said Judgement, at float64) {
	said, at = l.Typical(), 0.5
	for n, q := range Tails {
		switch judgement := l.Tail(q, margin).Judgement; {
		case said == Slower:
		case judgement == Slower, judgement == Unsettled && n == 0 && said == NotSlower:
			said, at = judgement, q
		}
	}
	return said, at
}

// span bounds a quantile by the classes' bounds, which are fixed before anything
// is seen: it is up to the shortest one that is proven to be exceeded more
// seldom than the quantile may be, and above the longest one that is proven to
// be exceeded more often (see [sequential.Rarer]). Both hold at any time.
func (d *durations) span(q float64) Span {
	var all, beyond int64
	for _, n := range d {
		all += n
	}
	var s Span
	enough := -math.Log(tailAlpha)
	beyond = all
	for class := range durationClasses - 1 { // nothing bounds the last one
		beyond -= d[class]
		switch {
		case sequential.Commoner(1-q, beyond, all) >= enough:
			s.Above = upper(class)
		case sequential.Rarer(1-q, beyond, all) >= enough:
			s.UpTo = upper(class)
			return s
		}
	}
	return s
}

// upper is the longest duration of a class.
func upper(class int) time.Duration {
	return time.Duration(float64(shortest) * math.Exp2(float64(class)/8))
}
