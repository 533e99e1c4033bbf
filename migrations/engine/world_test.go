package engine_test

import (
	"context"
	"database/sql"
	"fmt"
	"math/rand/v2"
	"path/filepath"
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
