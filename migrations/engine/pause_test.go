package engine_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"stranglerfig/migrations/change"
	"stranglerfig/migrations/cutover"
	"stranglerfig/migrations/engine"
)

// awaitState waits until the move is in a state, and returns its status.
func (w *world) awaitState(state string) engine.Status {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	for {
		st, err := w.engine.Status(ctx, "billing")
		must(w.t, err)
		if st.State == state {
			return st
		}
		select {
		case <-ctx.Done():
			w.t.Fatalf("the move is %+v, not %s", st, state)
		case <-time.After(time.Millisecond):
		}
	}
}

// mended verifies, mends what a pause has missed, and expects something to be
// mended; the move is ready for a switch after it.
func (w *world) mended() {
	w.t.Helper()
	report, err := w.engine.Verify(context.Background(), "billing", engine.VerifyRequest{}, nil)
	must(w.t, err)
	if report.Clean {
		w.t.Error("nothing was missed during the pause")
	}
	st, err := w.engine.Status(context.Background(), "billing")
	must(w.t, err)
	if !w.engine.Synced("billing", st.Owner).IsZero() {
		w.t.Error("a follower that lacks changes may be read")
	}
	report, err = w.engine.Verify(context.Background(), "billing", engine.VerifyRequest{Repair: true}, nil)
	must(w.t, err)
	if !report.Clean {
		w.t.Fatalf("not mended: %+v", report)
	}
	if w.engine.Synced("billing", st.Owner).IsZero() {
		w.t.Error("a follower that was mended may not be read")
	}
}

// TestALogThatLostChangesPausesTheMoveUntilItIsResumed forgets a part of the log
// behind the engine's back, as a restore would, and writes more meanwhile.
func TestALogThatLostChangesPausesTheMoveUntilItIsResumed(t *testing.T) {
	for owner, c := range map[change.Side]struct{ insert, forget, count string }{
		change.Monolith: {"INSERT INTO inv (no, amount, st, created) VALUES ('missed', 1, 1, '2026-03-01 10:00:00')", "forward", "SELECT count(*) FROM invoices WHERE number = 'missed'"},
		change.Service:  {"INSERT INTO invoices (number, amount_cents, status, issued_at, currency) VALUES ('missed', 1, 'issued', '2026-07-01T08:00:00Z', 'EUR')", "reverse", "SELECT count(*) FROM inv WHERE no = 'missed'"},
	} {
		t.Run(string(owner), func(t *testing.T) {
			w := newWorld(t, 50)
			ctx := context.Background()
			w.ready()
			leader, follower := w.monolith, w.service
			if owner == change.Service {
				_, err := w.engine.Switch(ctx, "billing", owner, "", nil)
				must(t, err)
				leader, follower = w.service, w.monolith
			}
			w.stop()
			exec(t, leader, c.insert)
			exec(t, leader, "UPDATE strangler_move SET acked = (SELECT max(seq) FROM strangler_log)")
			exec(t, leader, "DELETE FROM strangler_log")
			w.gate = newGate()
			w.start()
			st := w.awaitState("paused")
			if !strings.Contains(st.Paused, "changes were missed") || st.Owner != owner {
				t.Errorf("%+v", st)
			}
			w.restart(engine.Options{})
			w.awaitState("paused")
			var refused *cutover.Refused
			if _, err := w.engine.Switch(ctx, "billing", owner.Other(), "", nil); !errors.As(err, &refused) || !strings.Contains(refused.Hint, "resume") {
				t.Errorf("a switch of a paused move: %v", err)
			}
			must(t, w.engine.Resume(context.Background(), "billing", nil))
			w.mended()
			var n int
			must(t, follower.QueryRow(c.count).Scan(&n))
			if n != 1 {
				t.Error("the missed row was not mended")
			}
			_, err := w.engine.Switch(ctx, "billing", owner.Other(), "", nil)
			must(t, err)
		})
	}
}

// TestAValueThatTheMappingRefusesPausesTheMove instead of trying it for ever:
// once it is corrected the move goes on.
func TestAValueThatTheMappingRefusesPausesTheMove(t *testing.T) {
	w := newWorld(t, 50)
	w.ready()
	exec(t, w.monolith, "INSERT INTO inv (no, amount, st, created) VALUES ('bad', 1, 9, '2026-03-01 10:00:00')")
	st := w.awaitState("paused")
	if !strings.Contains(st.Paused, "column st") {
		t.Errorf("the pause names no column: %s", st.Paused)
	}
	exec(t, w.monolith, "UPDATE inv SET st = 1 WHERE no = 'bad'")
	must(t, w.engine.Resume(context.Background(), "billing", nil))
	w.mended()
}

// TestALogPastItsBudgetIsLetGoAndTheMovePaused has a follower that takes nothing.
func TestALogPastItsBudgetIsLetGoAndTheMovePaused(t *testing.T) {
	w := newWorld(t, 50)
	ctx := context.Background()
	w.ready()
	w.restart(engine.Options{Guard: time.Millisecond})
	exec(t, w.service, "CREATE TRIGGER stuck BEFORE INSERT ON invoices BEGIN SELECT RAISE(ABORT, 'no room'); END")
	for range 4 {
		exec(t, w.monolith, "INSERT INTO inv (no, amount, st, created) SELECT 'more-' || hex(randomblob(8)), 1, 1, '2026-03-01 10:00:00' FROM inv LIMIT 50")
	}
	spec := w.spec()
	spec.LogBudget = 8 << 10
	must(t, w.engine.Open(ctx, spec))
	st := w.awaitState("paused")
	if !strings.Contains(st.Paused, "monolith's database kept") || !strings.Contains(st.Paused, "8.0 KiB") {
		t.Errorf("%s", st.Paused)
	}
	exec(t, w.service, "DROP TRIGGER stuck")
	must(t, w.engine.Resume(context.Background(), "billing", nil))
	if n := w.logged(); n != 0 {
		t.Errorf("%d entries of the log are still there", n)
	}
	w.mended()
	if n := w.rows("SELECT count(*) FROM invoices"); n != 250 {
		t.Errorf("%d invoices arrived", n)
	}
}

func (w *world) logged() (n int) {
	w.t.Helper()
	must(w.t, w.monolith.QueryRow("SELECT count(*) FROM strangler_log").Scan(&n))
	return n
}

// TestAMoveThatWasPausedBeforeItsCopyIsCopiedWhenItResumes: a log is kept from
// the preparation on, and may grow past its budget before anyone copies.
func TestAMoveThatWasPausedBeforeItsCopyIsCopiedWhenItResumes(t *testing.T) {
	w := newWorld(t, 50)
	ctx := context.Background()
	must(t, w.engine.Prepare(ctx, "billing"))
	w.restart(engine.Options{Guard: time.Millisecond})
	exec(t, w.monolith, "UPDATE inv SET st = 1")
	spec := w.spec()
	spec.LogBudget = 100
	must(t, w.engine.Open(ctx, spec))
	w.awaitState("paused")
	spec.LogBudget = engine.DefaultLogBudget
	must(t, w.engine.Open(ctx, spec))
	must(t, w.engine.Resume(context.Background(), "billing", nil))
	report, err := w.engine.Verify(ctx, "billing", engine.VerifyRequest{}, nil)
	must(t, err)
	if !report.Clean || report.Rows < 50 {
		t.Errorf("%+v", report)
	}
}

// reshaped is a monolith's database of which a part is gone, while that is so.
type reshaped struct {
	change.Database
	gone *atomic.Bool
}

func (r reshaped) Attend(context.Context) error {
	if r.gone.Load() {
		return fmt.Errorf("part p was dropped and %w: resume the move", change.ErrCannotFollow)
	}
	return nil
}

// TestRowsThatWentPastTheLogKeepASwitchFromBeginningAndPauseTheMove.
func TestRowsThatWentPastTheLogKeepASwitchFromBeginningAndPauseTheMove(t *testing.T) {
	w := newWorld(t, 50)
	w.ready()
	var gone atomic.Bool
	open := func(ctx context.Context, dsn, move string, side change.Side, tables []change.Table) (change.Database, error) {
		db, err := engine.OpenDatabase(ctx, dsn, move, side, tables)
		if side == change.Monolith {
			db = reshaped{db, &gone}
		}
		return db, err
	}
	gone.Store(true)
	w.restart(engine.Options{Guard: time.Hour, Open: open, Bounds: patient})
	if _, err := w.engine.Switch(t.Context(), "billing", change.Service, "", nil); err == nil || !strings.Contains(err.Error(), "part p was dropped") || errors.Is(err, engine.ErrSwitchAborted) {
		t.Errorf("a switch begins although rows are missing: %v", err)
	}
	w.restart(engine.Options{Guard: time.Millisecond, Open: open, Bounds: patient})
	if st := w.awaitState("paused"); !strings.Contains(st.Paused, "part p was dropped") {
		t.Errorf("the pause does not say why: %s", st.Paused)
	}
	gone.Store(false)
	must(t, w.engine.Resume(t.Context(), "billing", nil))
	report, err := w.engine.Verify(t.Context(), "billing", engine.VerifyRequest{Repair: true}, nil)
	must(t, err)
	if !report.Clean {
		t.Fatalf("%+v", report)
	}
	_, err = w.engine.Switch(t.Context(), "billing", change.Service, "", nil)
	must(t, err)
}
