package crashes

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"

	"github.com/jackc/pgx/v5"

	"stranglerfig/migrations/change"
)

// watch looks at both fences, all the time: at no moment may both sides accept
// writers.
type watch struct {
	t     testing.TB
	conns conns
	looks atomic.Int64
}

// keepWatch watches until the returned function is called.
func keepWatch(t testing.TB, dsns map[change.Side]string) (*watch, func()) {
	w := &watch{t: t, conns: conns{dsns: dsns}}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer w.conns.close()
		for ctx.Err() == nil && w.look() {
			w.looks.Add(1)
			if pace(ctx) != nil {
				return
			}
		}
	}()
	return w, func() { cancel(); <-done }
}

// look reports whether it may go on. The monolith's side is looked at twice:
// only if it was open at the same epoch before and after was it open in between.
func (w *watch) look() bool {
	before, epoch := w.open(change.Monolith)
	between, _ := w.open(change.Service)
	after, still := w.open(change.Monolith)
	if before && between && after && epoch == still {
		w.t.Errorf("both databases accept writers at epoch %d", epoch)
		return false
	}
	return true
}

// open reports whether a side has a fence that is open. One that is down, or
// has nothing installed, has none.
func (w *watch) open(side change.Side) (open bool, epoch int64) {
	ctx := context.Background()
	conn, err := w.conns.to(ctx, side)
	if err != nil {
		return false, 0
	}
	var installed bool
	if err := conn.QueryRow(ctx, "SELECT to_regclass('strangler.move') IS NOT NULL").Scan(&installed); err != nil || !installed {
		return false, 0
	}
	err = conn.QueryRow(ctx, "SELECT NOT fenced, epoch FROM strangler.move").Scan(&open, &epoch)
	if err != nil && !errors.Is(err, pgx.ErrNoRows) {
		return false, 0
	}
	return open, epoch
}

// pass waits for a few more looks: a while that is as long as the machine is slow.
func (w *watch) pass(ctx context.Context, looks int64) {
	for until := w.looks.Load() + looks; w.looks.Load() < until; {
		if pace(ctx) != nil {
			return
		}
	}
}
