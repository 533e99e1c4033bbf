package upstream

import (
	"testing"
	"time"
)

// PassPause lets the pause of an open breaker be over.
func (b *Backend) PassPause() {
	b.breaker.mu.Lock()
	defer b.breaker.mu.Unlock()
	b.breaker.until = time.Time{}
}

// StayOpen puts the next trial off for as long as a test may last.
func (b *Backend) StayOpen() {
	b.breaker.mu.Lock()
	defer b.breaker.mu.Unlock()
	b.breaker.until = time.Now().Add(time.Hour)
}

const (
	trip          = 5
	pauseForTrial = 500 * time.Millisecond
)

var usual = BreakerOptions{Failures: trip, Pause: pauseForTrial}

// admits reports whether a breaker lets a request pass.
func (k *breaker) admits(now time.Time) bool {
	admitted, _ := k.admit(now)
	return admitted
}

// opened returns a breaker that opened at a moment.
func opened(at time.Time) *breaker {
	k := breaker{o: usual}
	for range trip {
		k.admit(at)
		k.failed(at)
	}
	return &k
}

func TestAnOpenBreakerAdmitsOneTrialAfterAPause(t *testing.T) {
	at := time.Unix(1000, 0)
	k := opened(at)
	if k.admits(at) || k.admits(at.Add(pauseForTrial-1)) {
		t.Error("a request was admitted during the pause")
	}
	if !k.admits(at.Add(pauseForTrial)) {
		t.Error("the trial was not admitted")
	}
	if k.admits(at.Add(pauseForTrial)) || k.admits(at.Add(11*pauseForTrial-1)) {
		t.Error("a second request was admitted while the trial is under way")
	}
}

func TestATrialThatIsNotAnsweredKeepsNobodyWaitingForLong(t *testing.T) {
	at := time.Unix(1000, 0)
	k := opened(at)
	first := at.Add(pauseForTrial)
	k.admit(first)
	second := first.Add(10 * pauseForTrial)
	if admitted, trial := k.admit(second); !admitted || !trial {
		t.Error("after ten pauses no other trial was admitted")
	}
	if k.admits(second) || k.admits(second.Add(10*pauseForTrial-1)) {
		t.Error("the other trial is not the only one")
	}
	if !k.succeeded() || !k.admits(second) {
		t.Error("a trial that went well has not closed the breaker")
	}
}

func TestATrialDecides(t *testing.T) {
	at := time.Unix(1000, 0)
	later := at.Add(pauseForTrial)
	for name, row := range map[string]struct {
		ends            func(k *breaker)
		now, afterPause bool // whether the next requests are admitted
		several         bool // and not only one of them
	}{
		"well":        {func(k *breaker) { k.succeeded() }, true, true, true},
		"badly":       {func(k *breaker) { k.failed(later) }, false, true, false},
		"nobody knew": {(*breaker).undecided, true, false, false},
	} {
		k := opened(at)
		k.admit(later)
		row.ends(k)
		if got := k.admits(later); got != row.now {
			t.Errorf("%s: the next request was admitted: %v", name, got)
		}
		if got := k.admits(later.Add(pauseForTrial)); got != row.afterPause {
			t.Errorf("%s: the one after a pause was admitted: %v", name, got)
		}
		if got := k.admits(later.Add(pauseForTrial)); got != row.several {
			t.Errorf("%s: one more was admitted: %v", name, got)
		}
	}
}

func TestASuccessForgetsEarlierFailures(t *testing.T) {
	at := time.Unix(1000, 0)
	k := breaker{o: usual}
	for range 3 {
		for range trip - 1 {
			k.failed(at)
		}
		k.succeeded()
	}
	if !k.admits(at) {
		t.Error("failures that were not in a row opened the breaker")
	}
}

func TestATrialWhoseAnswerGoesOnKeepsNobodyWaiting(t *testing.T) {
	at := time.Unix(1000, 0)
	k := opened(at)
	first := at.Add(pauseForTrial)
	if admitted, trial := k.admit(first); !admitted || !trial {
		t.Fatal("the trial was not admitted as one")
	}
	k.answering(first)
	if k.admits(first.Add(pauseForTrial - 1)) {
		t.Error("a second trial was admitted without a pause")
	}
	if !k.admits(first.Add(pauseForTrial)) {
		t.Error("a stream that does not end keeps the breaker open")
	}
	k.succeeded()
	if got := k.state(); got != Closed {
		t.Errorf("the breaker is %s after a trial that went well", got)
	}
}
