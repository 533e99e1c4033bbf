// Package sequential says when enough has been compared: a test that may be
// looked at after every comparison, as often as one likes, and is still wrong
// no more often than it says.
//
// Start at [Rule]; a [Test] is one test under way. The package does no I/O and
// has no clock.
//
// The hypothesis to be refuted is "at least P0 of the answers differ". The
// evidence against it is an e-value that begins at 1. A comparison that matches
// multiplies it by (1-P1)/(1-P0), one that does not by P1/P0: a likelihood
// ratio of the rate that is hoped for to the rate that is feared. Where the
// hypothesis is true the e-value is a supermartingale, so that by Ville's
// inequality it ever reaches 1/Alpha with a probability of Alpha at most
// (Ville, Étude critique de la notion de collectif, 1939; Wald, Sequential
// tests of statistical hypotheses, 1945; Ramdas et al., Game-theoretic
// statistics and safe anytime-valid inference, 2023).
//
// Requests are correlated: a client that asks the same thing all day proves
// little more each time. A match therefore counts with a weight between 0 and
// 1 that falls once its client, or its shape, has given its share. A weight
// that is fixed before the comparison is made keeps the bound, because the
// w-th power of a factor whose mean is at most 1 has a mean of at most 1
// (Jensen). A mismatch always counts whole, which can only lower the e-value.
package sequential

import (
	"fmt"
	"math"
	"time"
)

// Rule says what has to be shown, and how surely. Its zero value is not usable;
// see [Default] and [Rule.Check].
type Rule struct {
	P0    float64 `json:"p0"`    // the rate of mismatches that must be ruled out
	P1    float64 `json:"p1"`    // the rate that is expected of a good service, below P0
	Alpha float64 `json:"alpha"` // the probability of being wrong, at most
	// PerClient and PerShape are shares of what is asked for, above 0 and up to 1:
	// so much of it one client, or one shape of answers, gives at full weight.
	// Beyond it the weight falls as 1/n. 1 is no cap.
	PerClient float64       `json:"per_client"`
	PerShape  float64       `json:"per_shape"`
	Span      time.Duration `json:"span"` // between the first and the last comparison, at least
}

// Default rules out one mismatch in a thousand at 95 %: 3,327 comparisons
// without a mismatch, and 2,557 more for each one that there is.
func Default() Rule {
	return Rule{P0: 0.001, P1: 0.0001, Alpha: 0.05, PerClient: 0.25, PerShape: 0.5, Span: time.Hour}
}

// Check refuses a rule that no comparison could fulfil, or that says nothing.
func (r Rule) Check() error {
	switch {
	case !(r.P0 > 0 && r.P0 < 1):
		return fmt.Errorf("p0 is %v: accepted is a share above 0 and below 1", r.P0)
	case !(r.P1 > 0 && r.P1 < r.P0):
		return fmt.Errorf("p1 is %v: accepted is a share above 0 and below p0, which is %v", r.P1, r.P0)
	case !(r.Alpha > 0 && r.Alpha < 1):
		return fmt.Errorf("alpha is %v: accepted is a share above 0 and below 1", r.Alpha)
	case !(r.PerClient > 0 && r.PerClient <= 1):
		return fmt.Errorf("per_client is %v: accepted is a share above 0 and up to 1", r.PerClient)
	case !(r.PerShape > 0 && r.PerShape <= 1):
		return fmt.Errorf("per_shape is %v: accepted is a share above 0 and up to 1", r.PerShape)
	case r.Span < 0:
		return fmt.Errorf("span is %v: accepted is 0s or longer", r.Span)
	}
	return nil
}

// gain is what a match of full weight adds to the logarithm of the e-value.
func (r Rule) gain() float64 { return math.Log1p(-r.P1) - math.Log1p(-r.P0) }

// loss is what a mismatch takes from it.
func (r Rule) loss() float64 { return math.Log(r.P0) - math.Log(r.P1) }

// goal is the logarithm of the e-value that is enough.
func (r Rule) goal() float64 { return -math.Log(r.Alpha) }

// Clean is how many comparisons of full weight are enough if none differs.
func (r Rule) Clean() int { return int(math.Ceil(r.goal() / r.gain())) }

// PerMismatch is how many more each mismatch costs.
func (r Rule) PerMismatch() int { return int(math.Round(r.loss() / r.gain())) }

// String is the rule in words.
func (r Rule) String() string {
	return fmt.Sprintf("%d comparisons without a mismatch over %s rule out that %s differ, at %s", r.Clean(), r.Span, percent(r.P0), percent(1-r.Alpha))
}

func percent(share float64) string { return fmt.Sprintf("%.4g %%", share*100) }
