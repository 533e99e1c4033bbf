package sequential

import (
	"math"
	"time"
)

const (
	// clients and shapes bound what a test remembers of who asked and of what
	// came. Those that share a place share their weight, which can only make the
	// test more careful.
	clients = 1024
	shapes  = 256
)

// Test is a sequential test under way. Its zero value has seen nothing. It can
// be stored as JSON and goes on from there.
type Test struct {
	Weight     float64   `json:"weight"`     // of the matches
	Matches    int64     `json:"matches"`    // counted, whatever they weighed
	Mismatches int64     `json:"mismatches"` // each at full weight
	First      time.Time `json:"first,omitzero"`
	Last       time.Time `json:"last,omitzero"`
	Clients    Places    `json:"clients,omitempty"` // comparisons by client's place
	Shapes     Places    `json:"shapes,omitempty"`
}

// Weigh notes one comparison of a client's request whose answer has a shape,
// both given as hashes, and returns the weight with which it counts as a match.
// It must be called once for each comparison, whatever its outcome: the weight
// depends on what was compared before, never on the outcome.
func (t *Test) Weigh(r Rule, client, shape uint64, at time.Time) float64 {
	if t.First.IsZero() {
		t.First = at
	}
	if len(t.Clients) != clients || len(t.Shapes) != shapes {
		t.Clients, t.Shapes = make(Places, clients), make(Places, shapes)
	}
	if at.After(t.Last) {
		t.Last = at
	}
	asked := float64(r.Clean())
	return min(
		weight(note(t.Clients, client), r.PerClient, asked),
		weight(note(t.Shapes, shape), r.PerShape, asked),
	)
}

// note counts one more at a place and returns how many there are.
func note(counts Places, hash uint64) float64 {
	place := &counts[hash%uint64(len(counts))]
	if *place < math.MaxUint32 {
		*place++
	}
	return float64(*place)
}

// weight is 1 up to a share of what is asked for, and falls as 1/n from there
// on. A share of 1 is no cap.
func weight(n, share, asked float64) float64 {
	if share >= 1 {
		return 1
	}
	return min(1, max(share*asked, 1)/n)
}

// Match counts a comparison whose sides agreed, with the weight that Weigh gave
// it.
func (t *Test) Match(weight float64) {
	t.Matches++
	t.Weight += weight
}

// Mismatch counts a comparison whose sides differed.
func (t *Test) Mismatch() { t.Mismatches++ }

// LogE is the natural logarithm of the e-value.
func (t *Test) LogE(r Rule) float64 {
	return t.Weight*r.gain() - float64(t.Mismatches)*r.loss()
}

// E is the e-value; it may be infinite.
func (t *Test) E(r Rule) float64 { return math.Exp(t.LogE(r)) }

// Missing is how many more comparisons of full weight are asked for, provided
// that none differs.
func (t *Test) Missing(r Rule) int {
	// The slack keeps the sum of many weights from missing the goal by a rounding.
	const slack = 1e-9
	short := (r.goal() - t.LogE(r)) / r.gain()
	return max(0, int(math.Ceil(short-slack*float64(r.Clean()))))
}

// Remaining is how much of the time span is still to pass between the first and
// the last comparison.
func (t *Test) Remaining(r Rule) time.Duration {
	return max(0, r.Span-t.Last.Sub(t.First))
}

// Enough reports whether the rule is fulfilled.
func (t *Test) Enough(r Rule) bool { return t.Missing(r) == 0 && t.Remaining(r) == 0 }
