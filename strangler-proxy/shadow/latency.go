package shadow

import (
	"math"
	"time"

	"stranglerfig/contract-tests/sequential"
)

// Latency compares how long both sides took for the same requests. Its zero
// value has seen nothing.
type Latency struct {
	Monolith durations `json:"monolith"`
	Service  durations `json:"service"`
	Slower   int64     `json:"slower"` // pairs in which the service took longer than it may
	Pairs    int64     `json:"pairs"`
}

// pairRule settles, after 8 pairs at the earliest, whether the service is slower
// in less than half of them: which is to say that its median, pair by pair, is
// within the margin.
var pairRule = sequential.Rule{P0: 0.5, P1: 0.25, Alpha: 0.05, PerClient: 1, PerShape: 1}

// grace is how much longer an answer may take whatever the margin says: below
// it a ratio tells of the clock and the scheduler.
const grace = 2 * time.Millisecond

// Note takes one pair; margin is the share by which the service may be slower.
func (l *Latency) Note(monolith, service time.Duration, margin float64) {
	l.Monolith.note(monolith)
	l.Service.note(service)
	l.Pairs++
	if service > grace && float64(service-grace) > float64(monolith)*(1+margin) {
		l.Slower++
	}
}

// Judgement of a comparison of latencies.
type Judgement string

// The judgements.
const (
	NotSlower Judgement = "not slower"
	Slower    Judgement = "slower"
	Unsettled Judgement = "unsettled" // too few pairs, or as often slower as not
)

// Typical says whether the service is slower than the margin allows in half of
// the pairs or more. It may be asked after every pair, and is wrong in one of
// twenty cases at most, either way.
func (l *Latency) Typical() Judgement {
	within := sequential.Test{Weight: float64(l.Pairs - l.Slower), Mismatches: l.Slower}
	beyond := sequential.Test{Weight: float64(l.Slower), Mismatches: l.Pairs - l.Slower}
	switch {
	case within.Missing(pairRule) == 0:
		return NotSlower
	case beyond.Missing(pairRule) == 0:
		return Slower
	}
	return Unsettled
}

// durations counts durations in classes whose bounds grow by an eighth of an
// octave, from 50 µs on; a quantile is right to a tenth of its value.
type durations [durationClasses]int64

const (
	durationClasses = 184 // up to about 7 minutes
	shortest        = 50 * time.Microsecond
)

func (d *durations) note(took time.Duration) {
	class := 0
	if took > shortest {
		class = min(int(math.Ceil(8*math.Log2(float64(took)/float64(shortest)))), durationClasses-1)
	}
	d[class]++
}

// Quantile returns the upper bound of the class that holds a quantile, 0 where
// nothing was noted.
func (d *durations) Quantile(q float64) time.Duration {
	var all int64
	for _, n := range d {
		all += n
	}
	if all == 0 {
		return 0
	}
	rank, seen := int64(math.Ceil(q*float64(all))), int64(0)
	for class, n := range d {
		if seen += n; seen >= rank {
			return upper(class)
		}
	}
	return 0
}
