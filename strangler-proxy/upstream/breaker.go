package upstream

import (
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
}

// admit reports whether a request may be sent, and whether it is a trial.
func (k *breaker) admit(now time.Time) (admitted, trial bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.failures < k.o.Failures {
		return true, false
	}
	if k.trial || now.Before(k.until) {
		return false, false
	}
	k.trial = true
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

func (k *breaker) succeeded() {
	k.mu.Lock()
	k.failures, k.trial = 0, false
	k.mu.Unlock()
}

func (k *breaker) undecided() {
	k.mu.Lock()
	k.trial = false
	k.mu.Unlock()
}

func (k *breaker) failed(now time.Time) {
	k.mu.Lock()
	k.failures++
	k.trial = false
	k.until = now.Add(k.o.Pause)
	k.mu.Unlock()
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
