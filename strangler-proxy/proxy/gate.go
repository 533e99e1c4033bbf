package proxy

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"stranglerfig/migrations/change"
	"stranglerfig/migrations/engine"
	"stranglerfig/strangler-proxy/route"
)

// gate is the door that writes of one capability pass. It knows who owns them,
// counts those under way, and holds new ones while a switch lasts.
type gate struct {
	capability string

	mu       sync.Mutex
	known    bool          // somebody has named the owner
	named    chan struct{} // closed when somebody has
	asking   int           // requests waiting for that
	owner    change.Side
	epoch    uint64
	held     bool
	opened   chan struct{} // closed when writes may go on; never nil while they may not
	inside   int
	drained  chan struct{} // closed when the last one inside leaves during a hold
	waiting  int
	bytes    int64
	bounds   engine.Bounds
	overflow chan error
}

// graceAfterHold is how much longer than a hold's bound a write waits: the
// switch is aborted at the bound, and letting everyone go takes a moment.
const graceAfterHold = 2 * time.Second

// errPaused is what a client is told when writes stay paused for too long.
var errPaused = errors.New("the owner is being settled; try again in a moment")

func newGate(capability string, bounds engine.Bounds) *gate {
	return &gate{capability: capability, bounds: bounds, opened: make(chan struct{}), named: make(chan struct{})}
}

// pass lets a write in, after waiting if need be, and says who owns it. Without
// an error, leave must be called when it has been answered.
func (g *gate) pass(ctx context.Context, size int64) (c route.Capability, waited time.Duration, err error) {
	var deadline <-chan time.Time
	var begun time.Time
	for {
		opened, atMost, ok := g.enter(size, deadline == nil)
		if ok {
			if deadline != nil {
				g.unwait(size)
				waited = time.Since(begun)
			}
			return g.now(), waited, nil
		}
		if deadline == nil {
			begun = time.Now()
			timer := time.NewTimer(atMost + graceAfterHold)
			defer timer.Stop()
			deadline = timer.C
		}
		select {
		case <-opened:
		case <-deadline:
			g.unwait(size)
			return route.Capability{}, time.Since(begun), errPaused
		case <-ctx.Done():
			g.unwait(size)
			return route.Capability{}, time.Since(begun), ctx.Err()
		}
	}
}

// awaitOwner waits, for as long as a write would, until somebody has named the
// owner: after a crash in a switch that takes until the databases were asked.
func (g *gate) awaitOwner(ctx context.Context) error {
	g.mu.Lock()
	known, named, full := g.known, g.named, g.asking >= g.bounds.Requests
	if !known && !full {
		g.asking++
	}
	wait := g.bounds.Wait + graceAfterHold
	g.mu.Unlock()
	if known {
		return nil
	}
	if full {
		return errPaused
	}
	defer func() { g.mu.Lock(); g.asking--; g.mu.Unlock() }()
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-named:
		return nil
	case <-timer.C:
		return errPaused
	case <-ctx.Done():
		return ctx.Err()
	}
}

// enter counts a write as inside, or, the first time it has to wait, as
// waiting, at most for as long as atMost. Reaching a bound is reported to the
// switch, which then aborts and
// releases everyone: the write that was one too many waits for that as well.
func (g *gate) enter(size int64, first bool) (opened <-chan struct{}, atMost time.Duration, ok bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.known && !g.held {
		g.inside++
		return nil, 0, true
	}
	if first {
		g.waiting++
		g.bytes += max(size, 0)
		if g.held && (g.waiting > g.bounds.Requests || g.bytes > g.bounds.Bytes) && g.overflow != nil {
			select {
			case g.overflow <- fmt.Errorf("the hold is full: %d writes, %d bytes wait; the bounds are %d and %d", g.waiting, g.bytes, g.bounds.Requests, g.bounds.Bytes):
			default:
			}
		}
	}
	return g.opened, g.bounds.Wait, false
}

func (g *gate) unwait(size int64) {
	g.mu.Lock()
	g.waiting--
	g.bytes -= max(size, 0)
	g.mu.Unlock()
}

func (g *gate) leave() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.inside--
	if g.inside == 0 && g.drained != nil {
		close(g.drained)
		g.drained = nil
	}
}

// now returns the gate's state as a decision needs it.
func (g *gate) now() route.Capability {
	g.mu.Lock()
	defer g.mu.Unlock()
	return route.Capability{Data: true, Known: g.known, Held: g.held, Owner: g.owner, Epoch: g.epoch}
}

// hold makes new writes wait and returns when those inside have left. Where
// that does not happen before ctx ends, nobody is held any more.
func (g *gate) hold(ctx context.Context, b engine.Bounds) (engine.Held, error) {
	g.mu.Lock()
	g.bounds = b
	if !g.held {
		g.held = true
		if g.known {
			g.opened = make(chan struct{})
		}
		g.overflow = make(chan error, 1)
	}
	overflow := g.overflow
	var drained chan struct{}
	if g.inside > 0 {
		if g.drained == nil {
			g.drained = make(chan struct{})
		}
		drained = g.drained
	}
	g.mu.Unlock()
	if drained != nil {
		select {
		case <-drained:
		case <-ctx.Done():
			g.release()
			return engine.Held{}, fmt.Errorf("writes under way did not end: %w", context.Cause(ctx))
		}
	}
	return engine.Held{Waiting: g.queue, Overflow: overflow}, nil
}

func (g *gate) queue() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.waiting
}

// flip names the owner from an epoch on.
func (g *gate) flip(owner change.Side, epoch uint64) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.known && (epoch < g.epoch || epoch == g.epoch && owner != g.owner) {
		return fmt.Errorf("%s: the proxy obeys the %s at epoch %d, so the %s at epoch %d is refused", g.capability, g.owner, g.epoch, owner, epoch)
	}
	wasKnown := g.known
	g.known, g.owner, g.epoch = true, owner, epoch
	if !wasKnown {
		close(g.named)
	}
	if !wasKnown && !g.held {
		close(g.opened)
	}
	return nil
}

// release lets held writes go, if an owner is known.
func (g *gate) release() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.held {
		return
	}
	g.held, g.overflow = false, nil
	if g.known {
		close(g.opened)
	}
}
