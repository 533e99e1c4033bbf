package engine_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"stranglerfig/migrations/change"
	"stranglerfig/migrations/engine"
)

// asked notes how many changes it was last asked for.
type asked struct {
	change.Database
	limit *atomic.Int64
}

func (d asked) Read(ctx context.Context, from change.Position, limit int) (change.Batch, error) {
	d.limit.Store(int64(limit))
	return d.Database.Read(ctx, from, limit)
}

// choosy refuses rows unless so many changes were asked for.
type choosy struct {
	change.Database
	limit *atomic.Int64
	least int64
}

func (d choosy) Apply(ctx context.Context, stream, runner string, b change.Batch) error {
	if stream == "forward" && len(b.Changes) > 0 && d.limit.Load() < d.least {
		return errors.New("a unique value is another row's")
	}
	return d.Database.Apply(ctx, stream, runner, b)
}

// TestAFollowerThatRefusesABatchIsOfferedALongerOne: what is missing to make its
// rows fit may be further on in the log.
func TestAFollowerThatRefusesABatchIsOfferedALongerOne(t *testing.T) {
	w := newWorld(t, 5)
	var limit atomic.Int64
	w.restart(engine.Options{Open: func(ctx context.Context, dsn, move string, side change.Side, tables []change.Table) (change.Database, error) {
		db, err := engine.OpenDatabase(ctx, dsn, move, side, tables)
		if err != nil {
			return nil, err
		}
		if side == change.Monolith {
			return asked{db, &limit}, nil
		}
		return choosy{db, &limit, 8_000}, nil
	}})
	w.ready()
	exec(t, w.monolith, "UPDATE inv SET amount = 77.77 WHERE id = 3")
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for w.rows("SELECT amount_cents FROM invoices WHERE id = 3") != 7777 {
		if st, err := w.engine.Status(ctx, "billing"); err != nil {
			t.Fatalf("the row does not arrive: %+v, %v", st, err)
		}
	}
}
