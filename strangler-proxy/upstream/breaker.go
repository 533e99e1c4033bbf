package upstream

import (
	"fmt"
	"sync"
	"time"
)

// breaker opens after failures in a row and admits one trial after a pause.
type breaker struct {
	o BreakerOptions

	mu       sync.Mutex
	failures int
	until    time.Time // no trial before
	trial    bool      // one is under way
	waited   time.Time // for long enough, by then, for it to be answered
}

// trialPauses is for how many pauses a trial may be without an answer before
// one more is admitted. It may be a request that takes minutes, of a backend
// that is well again.
const trialPauses = 10

// admit reports whether a request may be sent, and whether it is a trial.
func (k *breaker) admit(now time.Time) (admitted, trial bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.failures < k.o.Failures {
		return true, false
	}
	if now.Before(k.until) || k.trial && now.Before(k.waited) {
		return false, false
	}
	k.trial, k.waited = true, now.Add(trialPauses*k.o.Pause)
	return true, true
}

// answering says that a trial's answer has begun: it decides when it has
// ended, and the next trial need wait no longer than for a pause.
func (k *breaker) answering(now time.Time) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.trial {
		k.trial = false
		k.until = now.Add(k.o.Pause)
	}
}

// succeeded reports whether that has closed the breaker.
func (k *breaker) succeeded() (closed bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	closed = k.failures >= k.o.Failures
	k.failures, k.trial = 0, false
	return closed
}

func (k *breaker) undecided() {
	k.mu.Lock()
	k.trial = false
	k.mu.Unlock()
}

// failed reports whether that has opened the breaker.
func (k *breaker) failed(now time.Time) (opened bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.failures++
	k.trial = false
	k.until = now.Add(k.o.Pause)
	return k.failures == k.o.Failures
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
	case k.trial:
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
