package crashes

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"sync"

	"stranglerfig/migrations/change"
)

// gate is where clients' writes pass, as they would pass a proxy; it outlives
// every engine. Until an engine has named the owner, nobody passes.
type gate struct {
	mu      sync.Mutex
	held    bool
	owner   change.Side // "" until it is known
	epoch   uint64
	inside  int
	waiting int
	changed chan struct{} // closed and replaced when something above changes
}

func newGate() *gate { return &gate{changed: make(chan struct{})} }

// set changes the gate and wakes everyone who waits for it.
func (g *gate) set(change func()) {
	g.mu.Lock()
	defer g.mu.Unlock()
	change()
	close(g.changed)
	g.changed = make(chan struct{})
}

// await waits until the gate, which is locked meanwhile, satisfies reached.
func (g *gate) await(ctx context.Context, reached func() bool) error {
	for {
		g.mu.Lock()
		ok, changed := reached(), g.changed
		g.mu.Unlock()
		if ok {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// pass waits until writes may pass, and returns where to and what says that
// this one has been answered.
func (g *gate) pass(ctx context.Context) (change.Side, func(), error) {
	g.set(func() { g.waiting++ })
	var owner change.Side
	err := g.await(ctx, func() bool {
		if g.held || g.owner == "" {
			return false
		}
		owner = g.owner
		g.inside++
		return true
	})
	g.set(func() { g.waiting-- })
	return owner, func() { g.set(func() { g.inside-- }) }, err
}

// hold holds new writes and returns once those inside have been answered.
func (g *gate) hold(ctx context.Context) error {
	g.set(func() { g.held = true })
	err := g.await(ctx, func() bool { return g.inside == 0 })
	if err != nil {
		g.release()
	}
	return err
}

func (g *gate) flip(owner change.Side, epoch uint64) (err error) {
	g.set(func() {
		if epoch < g.epoch || (epoch == g.epoch && g.owner != "" && owner != g.owner) {
			err = fmt.Errorf("the gate obeys the %s at epoch %d and cannot follow the %s at epoch %d", g.owner, g.epoch, owner, epoch)
			return
		}
		g.owner, g.epoch = owner, epoch
	})
	return err
}

// leads returns where writes go.
func (g *gate) leads() change.Side {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.owner
}

func (g *gate) release() { g.set(func() { g.held = false }) }

func (g *gate) count() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.waiting
}

// ServeHTTP is the gate as an engine in another process asks it; see routes.
func (g *gate) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var err error
	switch r.URL.Path {
	case "/hold":
		err = g.hold(r.Context())
	case "/flip":
		var epoch uint64
		if epoch, err = strconv.ParseUint(r.FormValue("epoch"), 10, 64); err == nil {
			err = g.flip(change.Side(r.FormValue("owner")), epoch)
		}
	case "/release":
		g.release()
	case "/waiting":
		err = json.NewEncoder(w).Encode(g.count())
	default:
		err = fmt.Errorf("the gate has no %s", r.URL.Path)
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusConflict)
	}
}
