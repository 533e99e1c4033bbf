package engine_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	_ "modernc.org/sqlite"

	"stranglerfig/migrations/change"
	"stranglerfig/migrations/engine"
	"stranglerfig/migrations/ledger"
	"stranglerfig/migrations/mapping"
)

const monolithSchema = `
CREATE TABLE inv (id INTEGER PRIMARY KEY AUTOINCREMENT, no TEXT NOT NULL UNIQUE, amount DECIMAL(10,2) NOT NULL, st INTEGER NOT NULL, created TEXT NOT NULL, note TEXT NOT NULL DEFAULT 'kept');
CREATE TABLE inv_pay (id INTEGER PRIMARY KEY AUTOINCREMENT, inv_id INTEGER NOT NULL REFERENCES inv(id) ON DELETE CASCADE, amount DECIMAL(10,2) NOT NULL, ref TEXT NOT NULL);
CREATE TABLE inv_idem (k TEXT PRIMARY KEY, body TEXT);`

const serviceSchema = `
CREATE TABLE invoices (id INTEGER PRIMARY KEY AUTOINCREMENT, number TEXT NOT NULL UNIQUE, amount_cents INTEGER NOT NULL, status TEXT NOT NULL, issued_at TEXT NOT NULL, currency TEXT NOT NULL);
CREATE TABLE payments (id INTEGER PRIMARY KEY AUTOINCREMENT, invoice_id INTEGER NOT NULL REFERENCES invoices(id) ON DELETE CASCADE, amount_cents INTEGER NOT NULL, reference TEXT NOT NULL);
CREATE TABLE idempotency_keys (key TEXT PRIMARY KEY, body TEXT);`

// billing is the plan of the tests: every kind of transform, a text key, a
// foreign key within the move, and a column on each side that is not mapped.
func billing(t testing.TB) *mapping.Plan {
	t.Helper()
	two, eur := 2, "EUR"
	plan, problems := mapping.Compile(mapping.Spec{Capability: "billing", Tables: []mapping.TableSpec{
		{To: "invoices", From: "inv", Key: []string{"id"}, Columns: []mapping.ColumnSpec{
			{To: "id", From: "id"}, {To: "number", From: "no"}, {To: "amount_cents", From: "amount", Scale: &two},
			{To: "status", From: "st", Enum: []mapping.EnumPair{{From: "0", To: "draft"}, {From: "1", To: "issued"}, {From: "2", To: "paid"}}},
			{To: "issued_at", From: "created", Time: "2006-01-02 15:04:05", Zone: "Europe/Berlin"}, {To: "currency", Constant: &eur},
		}},
		{To: "payments", From: "inv_pay", Key: []string{"id"}, Columns: []mapping.ColumnSpec{
			{To: "id", From: "id"}, {To: "invoice_id", From: "inv_id"}, {To: "amount_cents", From: "amount", Scale: &two}, {To: "reference", From: "ref"},
		}},
		{To: "idempotency_keys", From: "inv_idem", Key: []string{"key"}, Columns: []mapping.ColumnSpec{{To: "key", From: "k"}, {To: "body", From: "body"}}},
	}})
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	return plan
}

// world is two databases, an engine, and clients that write through a gate.
type world struct {
	t        testing.TB
	dir      string
	plan     *mapping.Plan
	monolith *sql.DB
	service  *sql.DB
	ledger   *ledger.Ledger
	engine   *engine.Engine
	gate     *gate
}

func newWorld(t testing.TB, rows int) *world {
	t.Helper()
	w := &world{t: t, dir: t.TempDir(), plan: billing(t), gate: newGate()}
	w.monolith = w.database("monolith.db", monolithSchema)
	w.service = w.database("service.db", serviceSchema)
	tx, err := w.monolith.Begin()
	must(t, err)
	for i := 1; i <= rows; i++ {
		exec(t, tx, "INSERT INTO inv (no, amount, st, created) VALUES (?, ?, ?, ?)", fmt.Sprintf("INV-%06d", i), float64(i%9000)/100, i%3, "2026-03-01 10:00:00")
		exec(t, tx, "INSERT INTO inv_pay (inv_id, amount, ref) VALUES (?, ?, ?)", i, 0.5, fmt.Sprint("seed-", i))
	}
	must(t, tx.Commit())
	w.start()
	t.Cleanup(w.stop)
	return w
}

func (w *world) database(name, schema string) *sql.DB {
	db, err := sql.Open("sqlite", "file:"+filepath.Join(w.dir, name)+"?_txlock=immediate&_pragma=busy_timeout(60000)&_pragma=journal_mode(WAL)&_pragma=foreign_keys(1)")
	must(w.t, err)
	_, err = db.Exec(schema)
	must(w.t, err)
	return db
}

// patient bounds are for tests that are not about bounds, on any machine.
var patient = engine.Bounds{Requests: 10_000, Bytes: 1 << 30, Wait: time.Minute}

// start opens the ledger and a new engine, as a process does when it starts.
func (w *world) start() {
	var err error
	w.ledger, err = ledger.Open(filepath.Join(w.dir, "state"), time.Now)
	must(w.t, err)
	w.engine = engine.New(engine.Options{Ledger: w.ledger, Routes: w.gate, Audit: 50 * time.Millisecond, Bounds: patient})
	must(w.t, w.engine.Open(context.Background(), engine.Spec{
		Capability: "billing", Plan: w.plan,
		Monolith: "sqlite:" + filepath.Join(w.dir, "monolith.db"), Service: "sqlite:" + filepath.Join(w.dir, "service.db"),
	}))
}

func (w *world) stop() {
	must(w.t, w.engine.Close())
	must(w.t, w.ledger.Close())
}

// ready brings the move to where a switch may be asked for.
func (w *world) ready() {
	ctx := context.Background()
	must(w.t, w.engine.Prepare(ctx, "billing"))
	must(w.t, w.engine.Copy(ctx, "billing", nil))
	report, err := w.engine.Verify(ctx, "billing", engine.VerifyRequest{}, nil)
	must(w.t, err)
	if !report.Clean {
		w.t.Fatalf("not clean after the copy: %+v", report)
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

type execer interface {
	Exec(query string, args ...any) (sql.Result, error)
}

func exec(t testing.TB, db execer, query string, args ...any) {
	t.Helper()
	if _, err := db.Exec(query, args...); err != nil {
		t.Fatalf("%s: %v", query, err)
	}
}

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

// write lets one client write through the gate, in the owner's schema.
func (w *world) write(key string, r *rand.Rand) error {
	side := w.gate.enter()
	defer w.gate.leave()
	if side == change.Service {
		return w.writeTo(w.service, key, r.IntN(5),
			"INSERT INTO invoices (number, amount_cents, status, issued_at, currency) VALUES (?, 1234, 'issued', '2026-07-01T08:00:00Z', 'EUR')",
			"INSERT INTO payments (invoice_id, amount_cents, reference) SELECT max(id), 50, ? FROM invoices",
			"INSERT INTO idempotency_keys (key, body) VALUES (?, 'b')",
			"UPDATE invoices SET status = 'paid', amount_cents = amount_cents + 1 WHERE id = (SELECT min(id) + abs(random()) % 20 FROM invoices)",
			"DELETE FROM invoices WHERE id = (SELECT min(id) FROM invoices)")
	}
	return w.writeTo(w.monolith, key, r.IntN(5),
		"INSERT INTO inv (no, amount, st, created) VALUES (?, 12.34, 1, '2026-07-01 10:00:00')",
		"INSERT INTO inv_pay (inv_id, amount, ref) SELECT max(id), 0.5, ? FROM inv",
		"INSERT INTO inv_idem (k, body) VALUES (?, 'b')",
		"UPDATE inv SET st = 2, amount = round(amount + 0.01, 2) WHERE id = (SELECT min(id) + abs(random()) % 20 FROM inv)",
		"DELETE FROM inv WHERE id = (SELECT min(id) FROM inv)")
}

// writeTo is one transaction over several tables, and now and then an update
// or a delete that cascades.
func (w *world) writeTo(db *sql.DB, key string, dice int, invoice, payment, idem, update, remove string) error {
	tx, err := db.Begin()
	if err != nil {
		return err
	}
	defer tx.Rollback()
	for _, q := range []string{invoice, payment, idem} {
		if _, err := tx.Exec(q, key); err != nil {
			return err
		}
	}
	if dice == 0 {
		if _, err := tx.Exec(remove); err != nil {
			return err
		}
	}
	if dice > 2 {
		if _, err := tx.Exec(update); err != nil {
			return err
		}
	}
	return tx.Commit()
}

// traffic starts clients and returns what stops them and lists what they were
// promised.
func (w *world) traffic(clients int) (stop func() []string) {
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	var mu sync.Mutex
	var acked []string
	pace := time.NewTicker(2 * time.Millisecond)
	for c := range clients {
		wg.Go(func() {
			r := rand.New(rand.NewPCG(uint64(c), 7))
			for n := 0; ctx.Err() == nil; n++ {
				key := fmt.Sprintf("w%d-%06d-%d", c, n, r.IntN(1e9))
				if err := w.write(key, r); err != nil {
					w.t.Errorf("client %d: %v", c, err)
					return
				}
				mu.Lock()
				acked = append(acked, key)
				mu.Unlock()
				// SQLite's lock is not fair: clients without a pause starve
				// each other where the race detector makes them slow.
				<-pace.C
			}
		})
	}
	return func() []string { cancel(); wg.Wait(); pace.Stop(); return acked }
}

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
