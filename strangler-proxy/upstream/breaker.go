package upstream

import (
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

// breaker opens after failures in a row and admits one trial after a pause.
type breaker struct {
	o BreakerOptions
	// calm: nothing has failed since something succeeded. It is looked at first,
	// because processors that lock the same lock for each request wait for each
	// other.
	calm atomic.Bool

	mu       sync.Mutex
	failures int
	until    time.Time // no trial before
	trial    trial     // the one under way
	trials   trial     // that there were
	waited   time.Time // for long enough, by then, for it to be answered
}

// trial names a request that is sent although the breaker is open; 0: it is none.
// What becomes of any other request says nothing of whether one is under way.
type trial uint64

// trialPauses is for how many pauses a trial may be without an answer before
// one more is admitted. It may be a request that takes minutes, of a backend
// that is well again.
const trialPauses = 10

// admit reports whether a request may be sent, and as which trial.
func (k *breaker) admit(now time.Time) (admitted bool, as trial) {
	if k.calm.Load() {
		return true, 0
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.failures < k.o.Failures {
		return true, 0
	}
	if now.Before(k.until) || k.trial != 0 && now.Before(k.waited) {
		return false, 0
	}
	k.trials++
	k.trial, k.waited = k.trials, now.Add(trialPauses*k.o.Pause)
	return true, k.trial
}

// answering says that a trial's answer has begun: it decides when it has
// ended, and the next trial need wait no longer than for a pause.
func (k *breaker) answering(of trial, now time.Time) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.ends(of) {
		k.until = now.Add(k.o.Pause)
	}
}

// ends notes that a trial is under way no more, and reports whether it was the
// one that is waited for. k.mu is held.
func (k *breaker) ends(of trial) bool {
	if of == 0 || of != k.trial {
		return false
	}
	k.trial = 0
	return true
}

// succeeded reports whether that has closed the breaker.
func (k *breaker) succeeded() (closed bool) {
	if k.calm.Load() {
		return false
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	closed = k.failures >= k.o.Failures
	k.failures, k.trial = 0, 0
	k.calm.Store(true)
	return closed
}

func (k *breaker) undecided(of trial) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.ends(of)
}

// failed reports whether that has opened the breaker. What was sent before it
// opened, and fails only now, does not put off the next trial.
func (k *breaker) failed(of trial, now time.Time) (opened bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.calm.Store(false)
	k.failures++
	k.ends(of)
	if opened = k.failures == k.o.Failures; opened || of != 0 {
		k.until = now.Add(k.o.Pause)
	}
	return opened
}

// State of a breaker.
type State string

// The states of a breaker.
const (
	Closed   State = "closed"    // requests pass
	Opened   State = "open"      // none is tried
	HalfOpen State = "half-open" // one is tried
)

func (k *breaker) state() State {
	k.mu.Lock()
	defer k.mu.Unlock()
	switch {
	case k.failures < k.o.Failures:
		return Closed
	case k.trial != 0:
		return HalfOpen
	}
	return Opened
}

// hasOpened notes that the backend is not tried any more.
func (b *Backend) hasOpened(last Outcome) {
	b.opened.Add(1)
	b.o.Log.Warn("a backend is not tried for a moment", "backend", b.Name, "because", fmt.Sprintf("%d requests in a row failed", b.o.Breaker.Failures), "last", last.String())
}

// hasClosed notes that it is tried again.
func (b *Backend) hasClosed() {
	b.closed.Add(1)
	b.o.Log.Info("a backend is asked again", "backend", b.Name)
}
