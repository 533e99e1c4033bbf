package engine_test

import (
	"context"
	"sync/atomic"
	"testing"

	"stranglerfig/migrations/change"
	"stranglerfig/migrations/engine"
)

// maintained is a database that works on its tables until it is stopped.
type maintained struct {
	change.Database
	stopped *atomic.Int64
}

func (d maintained) StopMaintenance(context.Context) error {
	d.stopped.Add(1)
	return nil
}

// TestNoClientWaitsForMaintenance: that of both sides is stopped before anybody is
// held.
func TestNoClientWaitsForMaintenance(t *testing.T) {
	w := newWorld(t, 5)
	var stopped, before atomic.Int64
	w.restart(engine.Options{
		Open: func(ctx context.Context, dsn, move string, side change.Side, tables []change.Table) (change.Database, error) {
			db, err := engine.OpenDatabase(ctx, dsn, move, side, tables)
			return maintained{db, &stopped}, err
		},
		At: func(point string) {
			if point == "cutover.intent" {
				before.Store(stopped.Load())
			}
		},
	})
	w.ready()
	_, err := w.engine.Switch(t.Context(), "billing", change.Service, "", nil)
	must(t, err)
	if before.Load() != 2 {
		t.Errorf("the maintenance of %d sides was stopped before the hold", before.Load())
	}
}
