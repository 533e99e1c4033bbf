package sequential

import "math"

// Rarer is the natural logarithm of an e-value against "something happens in a
// share p of the cases, or more often", after it happened in some of so many
// cases. Commoner is one against "in a share p, or more seldom". p is above 0
// and below 1.
//
// Like a [Test] they may be looked at after every case: where the hypothesis is
// true, each ever reaches 1/alpha with a probability of alpha at most. Each is
// the mean of likelihood ratios to several shares on the other side of p, near
// and far, because nobody knows beforehand how far off the share is (Robbins,
// Statistical methods related to the law of the iterated logarithm, 1970). The
// hypothesis is about each case given those before it; the order of cases, and
// whether others depend on them, does not matter.
//
// Both fall the more the cases speak for the hypothesis, so that bounds of a
// quantile can be read from counts of what lies beyond fixed values: to be wrong
// a bound has to be wrong about the value next to the quantile, and about this
// one it is in alpha of all runs at most (Howard and Ramdas, Sequential
// estimation of quantiles, 2022).
func Rarer(p float64, happened, cases int64) float64 {
	return mixed(p, happened, cases, func(odds, factor float64) float64 { return odds / factor })
}

// Commoner is described at [Rarer].
func Commoner(p float64, happened, cases int64) float64 {
	return mixed(p, happened, cases, func(odds, factor float64) float64 { return odds * factor })
}

// factors are how far the odds of the alternatives are from those of p.
var factors = [...]float64{1.1, 1.25, 1.5, 2, 4, 16}

func mixed(p float64, happened, cases int64, move func(odds, factor float64) float64) float64 {
	var logs [len(factors)]float64
	most := math.Inf(-1)
	for n, factor := range factors {
		odds := move(p/(1-p), factor)
		other := odds / (1 + odds)
		logs[n] = float64(happened)*math.Log(other/p) + float64(cases-happened)*(math.Log1p(-other)-math.Log1p(-p))
		most = max(most, logs[n])
	}
	sum := 0.0
	for _, l := range logs {
		sum += math.Exp(l - most)
	}
	return most + math.Log(sum/float64(len(factors)))
}
