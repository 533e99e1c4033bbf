package engine_test

import (
	"context"
	"fmt"
	"sync"

	"stranglerfig/migrations/change"
	"stranglerfig/migrations/engine"
)

// gate stands in for the proxy: writes enter it, and a hold waits for those
// inside.
type gate struct {
	mu    sync.Mutex
	cond  *sync.Cond
	held  bool
	known bool
	owner change.Side
	epoch uint64
	in    int
	wait  int
}

func newGate() *gate {
	g := &gate{held: true}
	g.cond = sync.NewCond(&g.mu)
	return g
}

func (g *gate) enter() change.Side {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.wait++
	for g.held || !g.known {
		g.cond.Wait()
	}
	g.wait--
	g.in++
	return g.owner
}

func (g *gate) leave() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.in--
	g.cond.Broadcast()
}

func (g *gate) Hold(context.Context, string, engine.Bounds) (engine.Held, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.held = true
	for g.in > 0 {
		g.cond.Wait()
	}
	return engine.Held{Waiting: func() int { g.mu.Lock(); defer g.mu.Unlock(); return g.wait }}, nil
}

func (g *gate) Flip(_ string, owner change.Side, epoch uint64) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if epoch < g.epoch || (epoch == g.epoch && g.known && owner != g.owner) {
		return fmt.Errorf("epoch %d after %d", epoch, g.epoch)
	}
	if !g.known {
		g.held = false
	}
	g.owner, g.epoch, g.known = owner, epoch, true
	g.cond.Broadcast()
	return nil
}

func (g *gate) Release(string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.held = false
	g.cond.Broadcast()
}
