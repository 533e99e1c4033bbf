package sequential_test

import (
	"math"
	"math/rand/v2"
	"testing"

	"stranglerfig/contract-tests/sequential"
)

// evidence names both sides.
var evidence = map[string]func(p float64, happened, cases int64) float64{"rarer": sequential.Rarer, "commoner": sequential.Commoner}

// TestEvidenceAboutAShareIsFairAtTheShareItself: the mean of the next e-value is
// the present one, which is what makes it good at any time; and every case
// moves it the way it should.
func TestEvidenceAboutAShareIsFairAtTheShareItself(t *testing.T) {
	for name, e := range evidence {
		for _, p := range []float64{0.01, 0.05, 0.5, 0.95} {
			if begin := e(p, 0, 0); math.Abs(begin) > 1e-12 {
				t.Errorf("%s: it begins with %v", name, begin)
			}
			for n := int64(0); n < 60; n += 7 {
				for x := int64(0); x <= n; x++ {
					now := math.Exp(e(p, x, n))
					next := p*math.Exp(e(p, x+1, n+1)) + (1-p)*math.Exp(e(p, x, n+1))
					if math.Abs(next-now) > 1e-9*now {
						t.Fatalf("%s than %v after %d of %d: %v, then %v on average", name, p, x, n, now, next)
					}
					if falls := e(p, x+1, n+1) < e(p, x, n+1); falls != (name == "rarer") {
						t.Fatalf("%s than %v after %d of %d: one more makes it fall: %v", name, p, x, n, falls)
					}
				}
			}
		}
	}
}

func TestAShareThatIsAsFearedIsTakenForBetterInAlphaOfTheRunsAtMost(t *testing.T) {
	const runs, length, alpha = 2_000, 800, 0.05
	random := rand.New(rand.NewPCG(3, 5))
	for name, e := range evidence {
		wrong := 0
		for range runs {
			x := int64(0)
			for n := int64(1); n <= length; n++ {
				if random.Float64() < 0.05 {
					x++
				}
				if e(0.05, x, n) >= -math.Log(alpha) {
					wrong++
					break
				}
			}
		}
		share := float64(wrong) / runs
		t.Logf("%s: wrong in %.4f of the runs", name, share)
		if share > alpha+3*math.Sqrt(alpha*(1-alpha)/runs) || share < alpha/10 {
			t.Errorf("%s: wrong in %.4f of the runs, alpha is %v", name, share, alpha)
		}
	}
}

func TestAShareThatIsFarFromTheFearedOneIsKnownSoon(t *testing.T) {
	for _, c := range []struct {
		name     string
		happened func(n int64) int64
		at       int64
	}{
		{"rarer", func(int64) int64 { return 0 }, 105},
		{"rarer", func(n int64) int64 { return n / 40 }, 800},
		{"commoner", func(n int64) int64 { return n / 2 }, 12},
		{"commoner", func(n int64) int64 { return n / 10 }, 400},
	} {
		n := int64(1)
		for evidence[c.name](0.05, c.happened(n), n) < -math.Log(0.05) {
			n++
		}
		if n > c.at || n < c.at/2 {
			t.Errorf("%s: known after %d cases, want about %d", c.name, n, c.at)
		}
	}
}
