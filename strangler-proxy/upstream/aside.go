package upstream

import (
	"context"
	"errors"
	"net/http"
	"time"
)

// ErrBusy is returned, as a NotSentError, where a request that nobody waits for
// would take what clients' requests may need.
var ErrBusy = errors.New("the backend has more than half as much to do as it may have, so nobody else asks it")

// Aside sends a request that no client waits for, such as a mirrored one. It
// takes what clients' requests leave over: with a NotSentError it refuses while
// half of the backend's requests or connections are in use, and while the
// backend is not being tried. What becomes of it opens no breaker, takes no
// endpoint out and is in nobody's statistics, so that a mirrored request that
// the backend cannot bear harms nobody but itself.
func (b *Backend) Aside(r *http.Request) (*http.Response, error) {
	if err := b.spare(); err != nil {
		return nil, err
	}
	e := b.pick(time.Now())
	r.URL.Scheme, r.URL.Host = e.url.Scheme, e.url.Host
	return b.transport.Load().RoundTrip(r)
}

// AsideConn does what Aside does, over a connection of the caller's own, where
// the backend speaks HTTP/1.1, see [Backend.Raw] and [Attempt.Conn].
func (b *Backend) AsideConn(ctx context.Context, want Want, now time.Time) (*Conn, error) {
	if err := b.spare(); err != nil {
		return nil, err
	}
	return b.conn(ctx, b.pick(now), want, now, (*Backend).connectOrEvict)
}

// connectOrEvict is an [opener] for whom what is idle where it cannot be used gives
// way.
func (b *Backend) connectOrEvict(ctx context.Context, e *endpoint) (*Conn, error) {
	for !b.takeSlot() {
		if !b.evict() {
			return nil, &NotSentError{ErrBusy}
		}
	}
	return b.connect(ctx, e)
}

// spare says why the backend has nothing left over for those whom nobody waits
// for.
func (b *Backend) spare() error {
	switch {
	case 2*b.inFlight.Load() > int64(b.o.Limits.Requests), b.halfConnected():
		return &NotSentError{ErrBusy}
	case b.Open():
		return &NotSentError{ErrOpen}
	}
	return nil
}

// halfConnected reports whether half of the connections that may be are in use.
func (b *Backend) halfConnected() bool {
	open, half := b.connections.Load(), int64(b.o.Limits.Connections)/2
	return open > half && open-b.idle() > half
}

// idle is how many connections are open and not in use, of those that are not
// net/http's.
func (b *Backend) idle() (n int64) {
	for _, e := range b.endpoints {
		e.mu.Lock()
		n += int64(len(e.idle))
		e.mu.Unlock()
	}
	return n
}
