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

// busy has writers run one transaction after the other, none of which may be turned
// away but by the fence, until they are stopped or the test ends. It returns how
// many were done.
func (s *side) busy(writers int, write func(ctx context.Context, tx pgx.Tx, n int) error) (done *atomic.Int64, stop func()) {
	s.Helper()
	done = new(atomic.Int64)
	ctx := context.WithoutCancel(s.Context()) // what is begun is ended
	var stopped atomic.Bool
	var all sync.WaitGroup
	for n := range writers {
		conn, err := pgx.Connect(ctx, s.dsn)
		must(s.T, err)
		all.Go(func() {
			defer conn.Close(ctx)
			for !stopped.Load() {
				err := pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error { return write(ctx, tx, n) })
				var refusal *pgconn.PgError
				switch {
				case err == nil:
					done.Add(1)
				case !errors.As(err, &refusal):
					s.Error(err)
					return
				case refusal.Code != "25006":
					s.Errorf("a writer was turned away: %v: %s", err, refusal.Detail)
					return
				}
			}
		})
	}
	stop = func() { stopped.Store(true); all.Wait() }
	s.Cleanup(stop)
	return done, stop
}

// TestWritersWhoNeverCeaseAndTakeTablesInAnotherOrderHoldNothingUp prepares,
// fences, opens again and removes while some writers queue for one row, so that
// there is always one that has the second table and waits for the first. None of
// them is turned away but by the fence.
func TestWritersWhoNeverCeaseAndTakeTablesInAnotherOrderHoldNothingUp(t *testing.T) {
	s := fresh(t, canonical, changetest.Tables()...)
	exec(t, s.app, "INSERT INTO items (code, qty) VALUES ('hot', 0)")
	exec(t, s.app, "INSERT INTO tags (item, name) SELECT n, 'cold' FROM generate_series(1, 4) AS n")
	done, stop := s.busy(4, func(ctx context.Context, tx pgx.Tx, n int) error {
		if _, err := tx.Exec(ctx, "UPDATE tags SET weight = 1 WHERE item = $1", n+1); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, "UPDATE items SET qty = qty + 1 WHERE code = 'hot'")
		return err
	})
	must(t, s.db.Prepare(t.Context(), change.Leading))
	must(t, s.db.Fence(t.Context(), change.Fence{Epoch: 1, Marker: "m", Wait: 20 * time.Second}))
	must(t, s.db.Unfence(t.Context(), 1))
	must(t, s.db.Unprepare(t.Context(), false))
	stop()
	if stored := s.number("SELECT qty FROM items WHERE code = 'hot'"); stored != done.Load() || stored == 0 {
		t.Errorf("%d writes are stored, %d were acknowledged", stored, done.Load())
	}
}

// TestMaintenanceIsStoppedAndHoldsNoFenceUp has an automatic VACUUM that would
// take for ever, in a partition. It is gone before any writer has to wait, and
// although one is at work.
func TestMaintenanceIsStoppedAndHoldsNoFenceUp(t *testing.T) {
	unlessShort(t)
	server := ownServer(t, "fsync=off", "autovacuum_max_workers=1", "autovacuum_naptime=1")
	dsn, _, err := server.Database(t.Context(), "maintained") // which goes with its server
	must(t, err)
	app := application(t, dsn, "CREATE TABLE x (id int PRIMARY KEY, v text) PARTITION BY RANGE (id); CREATE TABLE x_all PARTITION OF x DEFAULT WITH (autovacuum_vacuum_cost_delay = 100, autovacuum_vacuum_cost_limit = 1)")
	db := opened(t, dsn, change.Monolith, []change.Table{twoColumns})
	must(t, db.Prepare(t.Context(), change.Leading))
	exec(t, app, "INSERT INTO x SELECT n, repeat('v', 500) FROM generate_series(1, 20000) AS n")
	exec(t, app, "DELETE FROM x WHERE id % 2 = 0")
	s := &side{T: t, dsn: dsn, app: app, db: db}
	const atWork = "SELECT count(*) FROM pg_stat_progress_vacuum WHERE relid = 'x_all'::regclass"
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for s.number(atWork) == 0 {
		must(t, ctx.Err())
	}
	admin := application(t, server.DSN, "ALTER SYSTEM SET autovacuum_naptime = '1d'") // its only worker is not followed by another
	exec(t, admin, "SELECT pg_reload_conf()")

	writer, err := app.BeginTx(t.Context(), nil)
	must(t, err)
	defer writer.Rollback()
	_, err = writer.Exec("UPDATE x SET v = 'w' WHERE id = 1")
	must(t, err)
	must(t, db.StopMaintenance(t.Context()))
	if s.number(atWork) > 0 {
		t.Error("the table is still at its maintenance")
	}
	must(t, writer.Commit())
	must(t, db.Fence(t.Context(), change.Fence{Epoch: 1, Marker: "m", Wait: time.Minute}))
}
