package engine_test

import (
	"context"
	"database/sql"
	"errors"
	"strings"
	"testing"

	"stranglerfig/migrations/change"
	"stranglerfig/migrations/engine"
)

// TestASwitchThereAndBackUnderLoadKeepsEveryAcknowledgedWrite runs the whole
// life of a move while clients write, switching back and forth.
func TestASwitchThereAndBackUnderLoadKeepsEveryAcknowledgedWrite(t *testing.T) {
	w := newWorld(t, 3000)
	ctx := context.Background()
	stop := w.traffic(4)
	w.ready()
	rehearsed, err := w.engine.Rehearse(ctx, "billing", nil)
	if err != nil {
		t.Fatalf("rehearse: %v", err)
	}
	if p := rehearsed.Predicted; p == nil || p.MS <= 0 || p.Claim <= 0 {
		t.Errorf("predicted %v of %v", p, rehearsed.Steps)
	}
	for i := range 6 {
		to := change.Service
		if i%2 == 1 {
			to = change.Monolith
		}
		result, err := w.engine.Switch(ctx, "billing", to, "test", nil)
		if err != nil {
			t.Fatalf("switch %d to the %s: %v (%+v)", i, to, err, result)
		}
		t.Logf("%s: pause %.1f ms, %d held, %d touched, %v", result.Kind, result.PauseMS, result.Held, result.Touched, result.Steps)
	}
	acked := stop()
	if len(acked) < 50 {
		t.Fatalf("only %d writes were acknowledged", len(acked))
	}
	report, err := w.engine.Verify(ctx, "billing", engine.VerifyRequest{}, nil)
	must(t, err)
	if !report.Clean {
		t.Fatalf("the sides differ: %+v", report.Differences)
	}
	for _, side := range []struct {
		db    *sql.DB
		query string
	}{{w.monolith, "SELECT count(*) FROM inv_idem WHERE k = ?"}, {w.service, "SELECT count(*) FROM idempotency_keys WHERE key = ?"}} {
		for _, key := range acked {
			var n int
			must(t, side.db.QueryRow(side.query, key).Scan(&n))
			if n != 1 {
				t.Errorf("%s: %s is there %d times", side.query, key, n)
			}
		}
	}
	if _, err := w.ledger.VerifyChain(ctx); err != nil {
		t.Error(err)
	}
}

// TestTheLosingSideRefusesItsOwnWriters: the fence is the database's, whoever
// writes and however they came there.
func TestTheLosingSideRefusesItsOwnWriters(t *testing.T) {
	w := newWorld(t, 10)
	w.ready()
	insertService := "INSERT INTO invoices (number, amount_cents, status, issued_at, currency) VALUES (?, 1, 'issued', '2026-07-01T08:00:00Z', 'EUR')"
	insertMonolith := "INSERT INTO inv (no, amount, st, created) VALUES (?, 1, 1, '2026-07-01 10:00:00')"
	if _, err := w.service.Exec(insertService, "early"); err == nil || !strings.Contains(err.Error(), "strangler:") {
		t.Errorf("before the cutover the service's database took a write (%v)", err)
	}
	_, err := w.engine.Switch(context.Background(), "billing", change.Service, "", nil)
	must(t, err)
	for _, q := range []string{insertMonolith, "INSERT OR REPLACE INTO inv (no, amount, st, created) VALUES (?, 1, 1, 'x')", "UPDATE inv SET note = ?", "DELETE FROM inv WHERE no <> ?"} {
		if _, err := w.monolith.Exec(q, "late"); err == nil || !strings.Contains(err.Error(), "strangler:") {
			t.Errorf("after the cutover the monolith's database took %q (%v)", q, err)
		}
	}
	exec(t, w.service, insertService, "on time")
	_, err = w.engine.Switch(context.Background(), "billing", change.Monolith, "", nil)
	must(t, err)
	exec(t, w.monolith, insertMonolith, "home again")
	var kept int
	must(t, w.monolith.QueryRow("SELECT count(*) FROM inv WHERE no = 'on time' AND note = 'kept'").Scan(&kept))
	if kept != 1 {
		t.Error("the write that the service took is not in the monolith's database after the rollback")
	}
}

// TestSequencesAreHandedOver: no id that either side ever gave out is given
// out again, even if its row is gone.
func TestSequencesAreHandedOver(t *testing.T) {
	w := newWorld(t, 5)
	exec(t, w.monolith, "INSERT INTO inv (id, no, amount, st, created) VALUES (900, 'gone', 1, 1, '2026-07-01 10:00:00')")
	exec(t, w.monolith, "DELETE FROM inv WHERE id = 900")
	w.ready()
	_, err := w.engine.Switch(context.Background(), "billing", change.Service, "", nil)
	must(t, err)
	exec(t, w.service, "INSERT INTO invoices (number, amount_cents, status, issued_at, currency) VALUES ('n', 1, 'issued', '2026-07-01T08:00:00Z', 'EUR')")
	var id int
	must(t, w.service.QueryRow("SELECT max(id) FROM invoices").Scan(&id))
	if id != 901 {
		t.Errorf("the first invoice of the service has id %d, want 901", id)
	}
}

// TestAnotherEngineGoesOnWhereTheFirstStopped: copy state, streams and owner
// survive, and the streams catch up on what was written meanwhile.
func TestAnotherEngineGoesOnWhereTheFirstStopped(t *testing.T) {
	w := newWorld(t, 100)
	w.ready()
	_, err := w.engine.Switch(context.Background(), "billing", change.Service, "", nil)
	must(t, err)
	w.stop()
	exec(t, w.service, "INSERT INTO idempotency_keys VALUES ('while it was away', 'b')")
	w.gate = newGate()
	w.start()
	if w.gate.owner != change.Service || w.gate.epoch != 2 {
		t.Fatalf("the routes were told %s at %d", w.gate.owner, w.gate.epoch)
	}
	report, err := w.engine.Verify(context.Background(), "billing", engine.VerifyRequest{}, nil)
	must(t, err)
	if !report.Clean || report.Rows != 201 {
		t.Errorf("report %+v", report)
	}
}

// TestVerifyFindsAndRepairsEveryKindOfDifference corrupts the follower behind
// the toolkit's back.
func TestVerifyFindsAndRepairsEveryKindOfDifference(t *testing.T) {
	w := newWorld(t, 50)
	w.ready()
	exec(t, w.service, "UPDATE strangler_context SET applier = 1")
	exec(t, w.service, "UPDATE invoices SET amount_cents = amount_cents + 1 WHERE id = 7")
	exec(t, w.service, "DELETE FROM payments WHERE id = 8")
	exec(t, w.service, "INSERT INTO idempotency_keys VALUES ('stray', 'b')")
	exec(t, w.service, "UPDATE strangler_context SET applier = 0")
	report, err := w.engine.Verify(context.Background(), "billing", engine.VerifyRequest{}, nil)
	must(t, err)
	var kinds []string
	for _, d := range report.Differences {
		kinds = append(kinds, d.Table+" "+d.Key+" "+d.Kind+" "+d.Column)
	}
	want := "invoices 7 different amount_cents;payments 8 missing ;idempotency_keys stray extra "
	if got := strings.Join(kinds, ";"); got != want || report.Clean {
		t.Errorf("differences %q, want %q", got, want)
	}
	if _, err := w.engine.Switch(context.Background(), "billing", change.Service, "", nil); err == nil {
		t.Error("a switch was made although the sides differ")
	}
	report, err = w.engine.Verify(context.Background(), "billing", engine.VerifyRequest{Repair: true}, nil)
	must(t, err)
	if !report.Clean || report.Repaired != 3 {
		t.Errorf("after the repair: %+v", report)
	}
}

// TestCancelLeavesNothingBehind: the monolith's database is as it was.
func TestCancelLeavesNothingBehind(t *testing.T) {
	w := newWorld(t, 20)
	w.ready()
	must(t, w.engine.Cancel(context.Background(), "billing"))
	for name, db := range map[string]*sql.DB{"monolith": w.monolith, "service": w.service} {
		var n int
		must(t, db.QueryRow("SELECT count(*) FROM sqlite_schema WHERE name LIKE 'strangler%'").Scan(&n))
		if n != 0 {
			t.Errorf("%s: %d objects left", name, n)
		}
	}
	var rows int
	must(t, w.service.QueryRow("SELECT count(*) FROM invoices").Scan(&rows))
	if rows != 0 {
		t.Errorf("%d rows left in the service", rows)
	}
	must(t, w.monolith.QueryRow("SELECT count(*) FROM inv").Scan(&rows))
	if rows != 20 {
		t.Errorf("the monolith has %d rows, want 20", rows)
	}
	w.ready()
}

// TestCompleteIsRefusedWithoutItsConfirmation and retires the tables with it.
func TestCompleteIsRefusedWithoutItsConfirmation(t *testing.T) {
	w := newWorld(t, 5)
	w.ready()
	ctx := context.Background()
	if err := w.engine.Complete(ctx, "billing", "billing"); err == nil {
		t.Error("completed although the monolith owns")
	}
	_, err := w.engine.Switch(ctx, "billing", change.Service, "", nil)
	must(t, err)
	if err := w.engine.Complete(ctx, "billing", "yes"); !errors.Is(err, engine.ErrUnconfirmed) {
		t.Errorf("completed with a wrong confirmation (%v)", err)
	}
	must(t, w.engine.Complete(ctx, "billing", "billing"))
	var rows int
	must(t, w.monolith.QueryRow("SELECT count(*) FROM inv_strangled_2").Scan(&rows))
	if rows != 5 {
		t.Errorf("%d rows in the retired table, want 5", rows)
	}
	exec(t, w.service, "UPDATE invoices SET status = 'paid'")
}

// TestPreflightRefusesAWorldThatCannotWork and changes nothing.
func TestPreflightRefusesAWorldThatCannotWork(t *testing.T) {
	for name, c := range map[string]struct{ side, ddl, want string }{
		"target not empty":      {"service", "INSERT INTO idempotency_keys VALUES ('x', 'y')", "idempotency_keys: is not empty"},
		"missing column":        {"monolith", "ALTER TABLE inv_pay DROP COLUMN ref", "inv_pay.ref: there is no such column"},
		"unmapped not null":     {"service", "ALTER TABLE payments RENAME TO p2; CREATE TABLE payments (id INTEGER PRIMARY KEY, invoice_id INT, amount_cents INT, reference TEXT, who TEXT NOT NULL)", "payments.who: is NOT NULL without a default"},
		"missing table":         {"service", "DROP TABLE payments", "payments: there is no such table"},
		"trigger on the target": {"service", "CREATE TRIGGER audit AFTER INSERT ON payments BEGIN SELECT 1; END", "trigger audit also fires"},
		"key not unique":        {"service", "ALTER TABLE idempotency_keys RENAME TO i2; CREATE TABLE idempotency_keys (key TEXT, body TEXT)", "nothing makes the key (key) unique"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, 3)
			db := w.service
			if c.side == "monolith" {
				db = w.monolith
			}
			exec(t, db, c.ddl)
			err := w.engine.Prepare(context.Background(), "billing")
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Fatalf("prepare: %v, want %q", err, c.want)
			}
			var n int
			must(t, w.monolith.QueryRow("SELECT count(*) FROM sqlite_schema WHERE name LIKE 'strangler%'").Scan(&n))
			if n != 0 {
				t.Errorf("%d objects were installed all the same", n)
			}
		})
	}
}

// TestAfterARestartASwitchNeedsNoNewVerification lets the background audit get
// on and the log be forgotten behind it; the next engine must know how far the
// sides are equal.
func TestAfterARestartASwitchNeedsNoNewVerification(t *testing.T) {
	w := newWorld(t, 200)
	ctx := context.Background()
	w.ready()
	stop := w.traffic(2)
	for forgotten := 0; forgotten == 0; {
		must(t, w.monolith.QueryRow("SELECT acked FROM strangler_move").Scan(&forgotten))
	}
	stop()
	w.stop()
	w.start()
	if _, err := w.engine.Switch(ctx, "billing", change.Service, "test", nil); err != nil {
		t.Fatal(err)
	}
}
