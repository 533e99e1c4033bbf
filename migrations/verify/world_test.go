package verify_test

import (
	"context"
	"database/sql"
	"fmt"
	"path/filepath"
	"sync"
	"testing"

	"stranglerfig/migrations/backfill"
	"stranglerfig/migrations/change"
	"stranglerfig/migrations/mapping"
	"stranglerfig/migrations/sqlite"
	"stranglerfig/migrations/verify"
)

// The monolith keeps its amounts as texts and its flags as 0 and 1, so that
// what is equal is often not stored alike.
const (
	monolithSchema = `CREATE TABLE inv (id INTEGER PRIMARY KEY, amount TEXT, st INTEGER NOT NULL, open INTEGER, ref TEXT, note TEXT NOT NULL DEFAULT 'kept');
		CREATE TABLE codes (kind INTEGER NOT NULL, no INTEGER NOT NULL, txt TEXT, PRIMARY KEY (kind, no));`
	serviceSchema = `CREATE TABLE invoices (id INTEGER PRIMARY KEY, cents INTEGER, status TEXT NOT NULL, is_open BOOLEAN, reference INTEGER, version INTEGER NOT NULL, comment TEXT);
		CREATE TABLE labels (kind TEXT NOT NULL, number INTEGER NOT NULL, text TEXT, PRIMARY KEY (kind, number));`
)

// world is two prepared and copied sides and a stream each way, which moves
// only when somebody settles it.
type world struct {
	*testing.T
	plan     *mapping.Plan
	paths    map[change.Side]string
	app      map[change.Side]*sql.DB
	db       map[change.Side]change.Database
	mu       sync.Mutex // settling
	streamed map[change.Side]change.Position
}

func newWorld(t *testing.T, rows int) *world {
	t.Helper()
	two, version := 2, "1"
	plan, problems := mapping.Compile(mapping.Spec{Capability: "billing", Tables: []mapping.TableSpec{
		{To: "invoices", From: "inv", Key: []string{"id"}, Columns: []mapping.ColumnSpec{
			{To: "id", From: "id"}, {To: "cents", From: "amount", Scale: &two}, {To: "status", From: "st", Enum: []mapping.EnumPair{{From: "0", To: "draft"}, {From: "1", To: "issued"}}},
			{To: "is_open", From: "open", Cast: "bool"}, {To: "reference", From: "ref", Cast: "int"}, {To: "version", Constant: &version},
		}},
		{To: "labels", From: "codes", Key: []string{"kind", "number"}, Columns: []mapping.ColumnSpec{
			{To: "kind", From: "kind", Enum: []mapping.EnumPair{{From: "1", To: "one"}, {From: "2", To: "two"}}}, {To: "number", From: "no"}, {To: "text", From: "txt"},
		}},
	}})
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	w := &world{T: t, plan: plan, paths: map[change.Side]string{}, app: map[change.Side]*sql.DB{}, db: map[change.Side]change.Database{}, streamed: map[change.Side]change.Position{}}
	w.side(change.Monolith, monolithSchema)
	w.side(change.Service, serviceSchema)
	for i := 1; i <= rows; i++ {
		w.exec(change.Monolith, "INSERT INTO inv (id, amount, st, open, ref) VALUES (?, ?, ?, ?, ?)", i, fmt.Sprintf("%d.5", i), i%2, i%2, fmt.Sprint(1000+i))
		w.exec(change.Monolith, "INSERT INTO codes VALUES (?, ?, ?)", 1+i%2, i, fmt.Sprint("t", i))
	}
	w.must(w.db[change.Monolith].Prepare(t.Context(), change.Leading))
	w.must(w.db[change.Service].Prepare(t.Context(), change.Following))
	w.must(backfill.Run(t.Context(), backfill.Options{Plan: plan, Source: w.db[change.Monolith], Target: w.db[change.Service]}))
	for side := range w.db {
		w.must(w.begin(side))
	}
	return w
}

func (w *world) side(side change.Side, schema string) {
	w.Helper()
	path := filepath.Join(w.TempDir(), string(side)+".db")
	app, err := sql.Open("sqlite", path+"?_pragma=busy_timeout(20000)&_pragma=journal_mode(WAL)&_pragma=synchronous(NORMAL)")
	w.must(err)
	w.Cleanup(func() { app.Close() })
	_, err = app.Exec(schema)
	w.must(err)
	var tables []change.Table
	for _, t := range w.plan.Tables {
		if side == change.Monolith {
			tables = append(tables, change.Table{Name: t.From, Columns: t.SourceColumns(), Key: t.SourceKey()})
		} else {
			tables = append(tables, change.Table{Name: t.To, Columns: t.TargetColumns(), Key: t.TargetKey()})
		}
	}
	db, err := sqlite.Open(w.Context(), path, "billing", side, tables)
	w.must(err)
	w.Cleanup(func() { db.Close() })
	w.app[side], w.db[side] = app, db
}

func (w *world) must(err error) {
	w.Helper()
	if err != nil {
		w.Fatal(err)
	}
}

func (w *world) exec(side change.Side, query string, args ...any) {
	w.Helper()
	if _, err := w.app[side].Exec(query, args...); err != nil {
		w.Fatalf("%s: %v", query, err)
	}
}

// behind changes a side behind the toolkit's back: neither captured nor
// refused.
func (w *world) behind(side change.Side, query string, args ...any) {
	w.Helper()
	w.exec(side, "UPDATE strangler_context SET applier = 1")
	w.exec(side, query, args...)
	w.exec(side, "UPDATE strangler_context SET applier = 0")
}

func (w *world) begin(from change.Side) error {
	_, err := w.db[from.Other()].TakeStream(w.Context(), string(from), "test", 0)
	return err
}

// settle applies one side's changes to the other up to a position.
func (w *world) settle(ctx context.Context, from change.Side, p change.Position) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	for w.streamed[from] < p {
		b, err := w.db[from].Read(ctx, w.streamed[from], 1000)
		if err != nil {
			return err
		}
		for i := range b.Changes {
			if b.Changes[i], err = w.mapped(from, b.Changes[i]); err != nil {
				return err
			}
		}
		if err := w.db[from.Other()].Apply(ctx, string(from), "test", b); err != nil {
			return err
		}
		w.streamed[from] = b.To
	}
	return nil
}

func (w *world) mapped(from change.Side, c change.Change) (change.Change, error) {
	t := w.plan.Tables[c.Table]
	mapKey, mapRow := t.ForwardKey, t.Forward
	if from == change.Service {
		mapKey, mapRow = t.InverseKey, t.Inverse
	}
	key, err := mapKey(c.Key)
	if c.Key = key; err == nil && c.Kind == change.Put {
		c.Row, err = mapRow(c.Row)
	}
	return c, err
}

func (w *world) options(owner change.Side) verify.Options {
	return verify.Options{
		Plan: w.plan, Owner: w.db[owner], Follower: w.db[owner.Other()], OwnerSide: owner, Chunk: 7,
		Settle: func(ctx context.Context, p change.Position) error { return w.settle(ctx, owner, p) },
	}
}

func (w *world) run(o verify.Options) verify.Report {
	w.Helper()
	report, err := verify.Run(w.Context(), o)
	w.must(err)
	return report
}

// own hands the writers over to a side, as a switch would.
func (w *world) own(side change.Side) {
	w.Helper()
	for s, fenced := range map[change.Side]int{side: 0, side.Other(): 1} {
		w.exec(s, "UPDATE strangler_move SET fenced = ?", fenced)
	}
}

func (w *world) count(table string) (n int) {
	w.Helper()
	w.must(w.app[change.Monolith].QueryRow("SELECT count(*) FROM " + table).Scan(&n))
	return n
}

func (w *world) head(side change.Side) change.Position {
	w.Helper()
	p, err := w.db[side].Head(w.Context())
	w.must(err)
	return p
}
