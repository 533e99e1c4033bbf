package upstream

import (
	"context"
	"errors"
	"time"
)

// Attempt is one request to a backend over a connection of its own. End must
// be called.
type Attempt struct {
	backend  *Backend
	endpoint *endpoint
}

// Outcome of an attempt.
type Outcome uint8

// The outcomes of attempts.
const (
	Failed    Outcome = iota // the backend did not answer, or not to the end
	Slow                     // it took too long
	Well                     // it answered
	Undecided                // the client broke it off, which says nothing
)

// ErrFull is returned, as a NotSentError, when a backend has as many requests
// or connections as it may have.
var ErrFull = errors.New("the backend has as much to do as it may have")

// Begin admits a request to the backend and chooses the endpoint that gets it.
// The error is a NotSentError.
func (b *Backend) Begin() (Attempt, error) {
	now := time.Now()
	if b.inFlight.Add(1) > int64(b.o.Limits.Requests) {
		b.inFlight.Add(-1)
		b.refused.Add(1)
		return Attempt{}, &NotSentError{ErrFull}
	}
	if !b.breaker.admit(now) {
		b.inFlight.Add(-1)
		return Attempt{}, &NotSentError{ErrOpen}
	}
	b.budget.earn()
	e := b.pick(now)
	e.inFlight.Add(1)
	return Attempt{b, e}, nil
}

// End says how the attempt went.
func (a Attempt) End(o Outcome) {
	now := time.Now()
	a.endpoint.inFlight.Add(-1)
	a.backend.inFlight.Add(-1)
	switch o {
	case Well:
		a.backend.breaker.succeeded()
	case Undecided:
		a.backend.breaker.undecided()
	default:
		a.backend.breaker.failed(now)
	}
	if o != Undecided {
		a.backend.note(a.endpoint, o == Well, now)
	}
}

// Retry takes one from the retry budget; false when it is used up.
func (b *Backend) Retry() bool { return b.budget.spend() }

// Conn returns a connection: an idle one that the backend has neither closed
// nor sent anything on unasked, or a new one; fresh demands a new one. The
// error is a NotSentError.
func (a Attempt) Conn(ctx context.Context, fresh bool) (*Conn, error) {
	b, e := a.backend, a.endpoint
	if !fresh {
		if c := b.reuse(e); c != nil {
			return c, nil
		}
	}
	if b.takeSlot() {
		return b.connect(ctx, e)
	}
	return b.await(ctx, e)
}
