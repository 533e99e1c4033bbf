package postgres_test

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"stranglerfig/migrations/change"
	"stranglerfig/migrations/change/changetest"
)

// TestWritersWhoNeverCeaseAndTakeTablesInAnotherOrderHoldNothingUp prepares,
// fences, opens again and removes while some writers queue for one row, so that
// there is always one that has the second table and waits for the first. None of
// them is turned away but by the fence.
func TestWritersWhoNeverCeaseAndTakeTablesInAnotherOrderHoldNothingUp(t *testing.T) {
	s := fresh(t, canonical, changetest.Tables()...)
	exec(t, s.app, "INSERT INTO items (code, qty) VALUES ('hot', 0)")
	exec(t, s.app, "INSERT INTO tags (item, name) SELECT n, 'cold' FROM generate_series(1, 4) AS n")
	ctx, stop := context.WithCancel(context.Background())
	var writers sync.WaitGroup
	defer func() { stop(); writers.Wait() }()
	var done atomic.Int64
	for n := range 4 {
		writers.Go(func() {
			conn, err := pgx.Connect(ctx, s.dsn)
			if err != nil {
				t.Error(err)
				return
			}
			defer conn.Close(context.Background())
			for ctx.Err() == nil {
				err := pgx.BeginFunc(context.Background(), conn, func(tx pgx.Tx) error {
					if _, err := tx.Exec(context.Background(), "UPDATE tags SET weight = 1 WHERE item = $1", n+1); err != nil {
						return err
					}
					_, err := tx.Exec(context.Background(), "UPDATE items SET qty = qty + 1 WHERE code = 'hot'")
					return err
				})
				var refusal *pgconn.PgError
				if err != nil && !(errors.As(err, &refusal) && refusal.Code == "25006") {
					t.Errorf("a writer was turned away: %v", err)
					return
				}
				if err == nil {
					done.Add(1)
				}
			}
		})
	}
	must(t, s.db.Prepare(ctx, change.Leading))
	must(t, s.db.Fence(ctx, change.Fence{Epoch: 1, Marker: "m", Wait: 20 * time.Second}))
	must(t, s.db.Unfence(ctx, 1))
	must(t, s.db.Unprepare(ctx, false))
	stop()
	writers.Wait()
	if stored := s.number("SELECT qty FROM items WHERE code = 'hot'"); stored != done.Load() || stored == 0 {
		t.Errorf("%d writes are stored, %d were acknowledged", stored, done.Load())
	}
}
