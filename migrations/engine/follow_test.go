package engine_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"stranglerfig/migrations/change"
	"stranglerfig/migrations/engine"
	"stranglerfig/migrations/mapping"
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

// leavesOut is a database whose log has no second column of a row, and which has no
// rows that could keep it.
type leavesOut struct {
	change.Database
	completed *atomic.Int64
}

func (d leavesOut) ReadSparse(ctx context.Context, from change.Position, limit int) (change.Batch, error) {
	b, err := d.Read(ctx, from, limit)
	for i, c := range b.Changes {
		if c.Kind == change.Put {
			c.Row[1], b.Changes[i].Absent = mapping.Value{}, []int{1}
		}
	}
	return b, err
}

func (d leavesOut) Complete(ctx context.Context, b change.Batch) (change.Batch, error) {
	d.completed.Add(1)
	whole, err := d.Read(ctx, b.From, len(b.Changes))
	b.Changes = whole.Changes
	return b, err
}

func (d leavesOut) Apply(ctx context.Context, stream, runner string, b change.Batch) error {
	for _, c := range b.Changes {
		if len(c.Absent) > 0 {
			return change.ErrIncomplete
		}
	}
	return d.Database.Apply(ctx, stream, runner, b)
}

// TestWhatTheFollowerCannotKeepIsReadFromTheOwner, without a failure of the stream.
func TestWhatTheFollowerCannotKeepIsReadFromTheOwner(t *testing.T) {
	w := newWorld(t, 5)
	var completed atomic.Int64
	w.restart(engine.Options{Open: func(ctx context.Context, dsn, move string, side change.Side, tables []change.Table) (change.Database, error) {
		db, err := engine.OpenDatabase(ctx, dsn, move, side, tables)
		return leavesOut{db, &completed}, err
	}})
	w.ready()
	exec(t, w.monolith, "UPDATE inv SET no = 'changed' WHERE id = 3")
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for w.rows("SELECT count(*) FROM invoices WHERE number = 'changed'") == 0 {
		if st, err := w.engine.Status(ctx, "billing"); err != nil || st.Forward.Problem != "" {
			t.Fatalf("%+v, %v", st, err)
		}
	}
	if completed.Load() == 0 {
		t.Error("the owner was not asked")
	}
}
