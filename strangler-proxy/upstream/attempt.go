package upstream

import (
	"context"
	"errors"
	"time"

	"stranglerfig/strangler-proxy/loop"
)

// Attempt is one request to a backend over a connection of its own. End must
// be called.
type Attempt struct {
	backend  *Backend
	endpoint *endpoint
	trial    trial // of a backend whose breaker is open
}

// Outcome of an attempt.
type Outcome uint8

// The outcomes of attempts.
const (
	Failed      Outcome = iota // the backend did not answer, or not to the end
	Slow                       // it took too long
	Unreachable                // no connection came about
	Well                       // it answered
	Undecided                  // the client broke it off, or there was no connection to be had, which says nothing
	outcomes
)

var outcomeNames = [outcomes]string{"failed", "slow", "unreachable", "well", "undecided"}

// String names an outcome.
func (o Outcome) String() string { return outcomeNames[o] }

// Bad reports whether an outcome speaks against the backend.
func (o Outcome) Bad() bool { return o < Well }

// Unconnected is the outcome of an attempt that got no connection.
func Unconnected(err error) Outcome {
	if errors.Is(err, ErrFull) {
		return Undecided // it has enough to do, which is no fault
	}
	return Unreachable
}

// ErrFull is returned, as a NotSentError, when a backend has as many requests
// or connections as it may have.
var ErrFull = errors.New("the backend has as much to do as it may have")

// Begin admits a request to the backend and chooses the endpoint that gets it.
// The error is a NotSentError. Here and below now is the caller's clock, which
// is read once for much.
func (b *Backend) Begin(now time.Time) (Attempt, error) { return b.begin(now, b.pick) }

// BeginAgain does the same for a request that has just failed: it goes to the
// endpoint that has failed least.
func (b *Backend) BeginAgain(now time.Time) (Attempt, error) { return b.begin(now, b.pickAgain) }

func (b *Backend) begin(now time.Time, pick func(time.Time) *endpoint) (Attempt, error) {
	if b.inFlight.Add(1) > int64(b.o.Limits.Requests) {
		b.inFlight.Add(-1)
		b.refusedRequests.Add(1)
		return Attempt{}, &NotSentError{ErrFull}
	}
	admitted, trial := b.breaker.admit(now)
	if !admitted {
		b.inFlight.Add(-1)
		b.refusedOpen.Add(1)
		return Attempt{}, &NotSentError{ErrOpen}
	}
	b.budget.earn()
	e := pick(now)
	e.inFlight.Add(1)
	return Attempt{b, e, trial}, nil
}

// Begun says that the answer has begun. One that goes on for long, such as a
// stream of events, does not keep others from being tried meanwhile.
func (a Attempt) Begun(now time.Time) {
	if a.trial != 0 {
		a.backend.breaker.answering(a.trial, now)
	}
}

// End says how the attempt went.
func (a Attempt) End(o Outcome, now time.Time) {
	a.endpoint.inFlight.Add(-1)
	a.backend.inFlight.Add(-1)
	a.endpoint.outcomes[o].Add(1)
	switch o {
	case Well:
		if a.backend.breaker.succeeded() {
			a.backend.hasClosed()
		}
	case Undecided:
		a.backend.breaker.undecided(a.trial)
	default:
		switch {
		case a.backend.othersAreWell(a.endpoint, now):
			a.backend.breaker.undecided(a.trial) // it is the endpoint's fault alone
		case a.backend.breaker.failed(a.trial, now):
			a.backend.hasOpened(o)
		}
	}
	if o != Undecided {
		a.backend.note(a.endpoint, o == Well, now)
	}
}

// Retry takes one from the retry budget; false when it is used up.
func (b *Backend) Retry() bool { return b.budget.spend() }

// RetryUnsent does the same for a request of which nothing was sent. Where there
// is another endpoint it is free: that one has not had the request yet.
func (b *Backend) RetryUnsent() bool {
	if len(b.endpoints) > 1 {
		b.budget.used.Add(1)
		return true
	}
	return b.Retry()
}

// Want says what connection is wanted.
type Want struct {
	// Task is whom it is for: it is on the loop that the task is on, if any.
	Task *loop.Task
	// Fresh demands a new one.
	Fresh bool
	// Sure has an idle one on a loop looked at once more, although the loop has
	// heard nothing of it: what is asked on it could not be asked again.
	Sure bool
}

// Conn returns a connection: an idle one that the backend has neither closed
// nor sent anything on unasked, or a new one. The error is a NotSentError. One that
// could not enter the loop of the task that it is for is on none, see [Conn.On].
func (a Attempt) Conn(ctx context.Context, want Want, now time.Time) (*Conn, error) {
	return a.backend.conn(ctx, a.endpoint, want, now, (*Backend).connectOrWait)
}

// opener opens a connection to an endpoint.
type opener func(*Backend, context.Context, *endpoint) (*Conn, error)

// conn returns a connection to an endpoint as it is wanted: an idle one, or one that
// is opened.
func (b *Backend) conn(ctx context.Context, e *endpoint, want Want, now time.Time, open opener) (*Conn, error) {
	if !want.Fresh {
		if c := b.reuse(e, want, now); c != nil {
			c.waited = false
			return c, nil
		}
	}
	return b.another(ctx, e, want.Task, open)
}

// another opens a connection, which may take a while, for a task on a loop or for
// nobody there.
func (b *Backend) another(ctx context.Context, e *endpoint, t *loop.Task, open opener) (c *Conn, err error) {
	t.Apart(func() { c, err = open(b, ctx, e) })
	if err != nil {
		return nil, err
	}
	c.waited = true
	if l := t.Loop(); l != nil {
		c.enter(l)
	}
	return c, nil
}

// connectOrWait is an [opener] that waits where no more connections may be open.
func (b *Backend) connectOrWait(ctx context.Context, e *endpoint) (*Conn, error) {
	if b.takeSlot() {
		return b.connect(ctx, e)
	}
	return b.await(ctx, e)
}
