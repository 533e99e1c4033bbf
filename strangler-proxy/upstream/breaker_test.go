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
		k.failed(0, at)
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
	if admitted, trial := k.admit(second); !admitted || trial == 0 {
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
		"badly":       {func(k *breaker) { k.failed(k.trial, later) }, false, true, false},
		"nobody knew": {func(k *breaker) { k.undecided(k.trial) }, true, false, false},
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
			k.failed(0, at)
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
	admitted, trial := k.admit(first)
	if !admitted || trial == 0 {
		t.Fatal("the trial was not admitted as one")
	}
	k.answering(trial, first)
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

// TestWhatBecomesOfOtherRequestsEndsNoTrial because requests that were sent before
// the breaker opened end while one is under way.
func TestWhatBecomesOfOtherRequestsEndsNoTrial(t *testing.T) {
	at := time.Unix(1000, 0)
	later := at.Add(pauseForTrial)
	muchLater := later.Add(trialPauses * pauseForTrial)
	for name, ends := range map[string]func(k *breaker, of trial){
		"broken off by its client": func(k *breaker, of trial) { k.undecided(of) },
		"failed":                   func(k *breaker, of trial) { k.failed(of, later) },
		"answering":                func(k *breaker, of trial) { k.answering(of, later) },
	} {
		k := opened(at)
		_, first := k.admit(later)
		ends(k, 0)
		if k.state() != HalfOpen || k.admits(later) || k.admits(later.Add(pauseForTrial)) {
			t.Errorf("%s: a request of before has ended the trial", name)
		}
		_, second := k.admit(muchLater)
		if second == 0 || second == first {
			t.Fatalf("%s: trials %d and %d", name, first, second)
		}
		ends(k, first)
		if k.state() != HalfOpen || k.admits(muchLater.Add(pauseForTrial)) {
			t.Errorf("%s: the first trial, which nobody waits for any more, has ended the second one", name)
		}
	}
}

// TestWhatFailsLatePutsNoTrialOff however many requests were sent before the
// breaker opened: the backend may be well by now.
func TestWhatFailsLatePutsNoTrialOff(t *testing.T) {
	at := time.Unix(1000, 0)
	k := opened(at)
	for i := range 100 {
		if k.failed(0, at.Add(time.Duration(i)*pauseForTrial/100)) {
			t.Error("it opened twice")
		}
	}
	if !k.admits(at.Add(pauseForTrial)) {
		t.Error("the trial was put off")
	}
}
