package backfill_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"path/filepath"
	"testing"

	"stranglerfig/migrations/backfill"
	"stranglerfig/migrations/change"
	"stranglerfig/migrations/mapping"
	"stranglerfig/migrations/sqlite"
)

const (
	monolithSchema = `CREATE TABLE inv (id INTEGER PRIMARY KEY, amount DECIMAL(10,2), note TEXT NOT NULL DEFAULT '');
		CREATE TABLE lines (inv INTEGER NOT NULL, pos INTEGER NOT NULL, txt TEXT, PRIMARY KEY (inv, pos));`
	serviceSchema = `CREATE TABLE invoices (id INTEGER PRIMARY KEY, cents INTEGER NOT NULL);
		CREATE TABLE items (invoice INTEGER NOT NULL REFERENCES invoices, position INTEGER NOT NULL, text TEXT, PRIMARY KEY (invoice, position));`
)

// world is a monolith and an empty service, both prepared.
type world struct {
	*testing.T
	dir      string
	plan     *mapping.Plan
	monolith *sql.DB
	source   change.Database
	target   *sqlite.DB
	rows     bool // copy row by row, and not within the database engine
}

// rowByRow hides that a database can push a copy down.
type rowByRow struct{ change.Database }

// onBothRoads runs a test with a copy within the engine and with one row by
// row: both keep the same promises.
func onBothRoads(t *testing.T, rows int, test func(w *world)) {
	for road, byRow := range map[string]bool{"within the engine": false, "row by row": true} {
		t.Run(road, func(t *testing.T) {
			w := newWorld(t, rows)
			if w.rows = byRow; byRow {
				w.source = rowByRow{w.source}
			}
			test(w)
		})
	}
}

func newWorld(t *testing.T, rows int) *world {
	t.Helper()
	two := 2
	plan, problems := mapping.Compile(mapping.Spec{Capability: "billing", Tables: []mapping.TableSpec{
		{To: "invoices", From: "inv", Key: []string{"id"}, Columns: []mapping.ColumnSpec{{To: "id", From: "id"}, {To: "cents", From: "amount", Scale: &two}}},
		{To: "items", From: "lines", Key: []string{"invoice", "position"}, Columns: []mapping.ColumnSpec{{To: "invoice", From: "inv"}, {To: "position", From: "pos"}, {To: "text", From: "txt"}}},
	}})
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	w := &world{T: t, dir: t.TempDir(), plan: plan}
	w.monolith = w.database("monolith.db", monolithSchema)
	w.exec("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?) INSERT INTO inv (id, amount) SELECT 2 * i, i / 100.0 FROM n LIMIT ?", rows, rows)
	w.exec("INSERT INTO lines SELECT id, 1, 'first' FROM inv UNION ALL SELECT id, 2, NULL FROM inv WHERE id % 3 = 0")
	w.database("service.db", serviceSchema)
	w.source = w.open("monolith.db", change.Monolith)
	w.target = w.open("service.db", change.Service)
	w.must(w.source.Prepare(t.Context(), change.Leading))
	w.must(w.target.Prepare(t.Context(), change.Following))
	return w
}

func (w *world) database(name, schema string) *sql.DB {
	db, err := sql.Open("sqlite", filepath.Join(w.dir, name)+"?_pragma=busy_timeout(20000)&_pragma=journal_mode(WAL)&_pragma=synchronous(NORMAL)")
	w.must(err)
	w.Cleanup(func() { db.Close() })
	_, err = db.Exec(schema)
	w.must(err)
	return db
}

func (w *world) open(name string, side change.Side) *sqlite.DB {
	var tables []change.Table
	for _, t := range w.plan.Tables {
		if side == change.Monolith {
			tables = append(tables, change.Table{Name: t.From, Columns: t.SourceColumns(), Key: t.SourceKey()})
		} else {
			tables = append(tables, change.Table{Name: t.To, Columns: t.TargetColumns(), Key: t.TargetKey()})
		}
	}
	db, err := sqlite.Open(w.Context(), filepath.Join(w.dir, name), "billing", side, tables)
	w.must(err)
	w.Cleanup(func() { db.Close() })
	return db
}

func (w *world) must(err error) {
	w.Helper()
	if err != nil {
		w.Fatal(err)
	}
}

func (w *world) exec(query string, args ...any) {
	w.Helper()
	if _, err := w.monolith.Exec(query, args...); err != nil {
		w.Fatalf("%s: %v", query, err)
	}
}

func (w *world) options() backfill.Options {
	return backfill.Options{Plan: w.plan, Source: w.source, Target: w.target}
}

// expectCopied fails unless the target holds what the source maps to.
func (w *world) expectCopied() {
	w.Helper()
	for i, t := range w.plan.Tables {
		rows, err := w.source.Scan(w.Context(), i, nil, 1_000_000)
		w.must(err)
		got, err := w.target.Scan(w.Context(), i, nil, 1_000_000)
		w.must(err)
		if len(rows) != len(got) {
			w.Fatalf("%s has %d rows, %s has %d", t.From, len(rows), t.To, len(got))
		}
		for j, row := range rows {
			want, err := t.Forward(row)
			w.must(err)
			if mapping.EncodeKey(want) != mapping.EncodeKey(got[j]) {
				w.Fatalf("%s has %s, want %s", t.To, mapping.EncodeKey(got[j]), mapping.EncodeKey(want))
			}
		}
	}
}

func (w *world) loaded(table int) change.Loaded {
	w.Helper()
	l, err := w.target.Loaded(w.Context(), table)
	w.must(err)
	return l
}

// recorder notes which chunks are asked for, and may end the copy at one.
type recorder struct {
	change.Database
	asked  []string // "table after limit"
	limits []int
	failAt int // at the chunk of this number, counted from 1
}

var errInterrupted = errors.New("interrupted")

func (r *recorder) note(table int, after change.Key, limit int) error {
	r.asked = append(r.asked, fmt.Sprint(table, " ", change.KeyString(after)))
	r.limits = append(r.limits, limit)
	if len(r.asked) == r.failAt {
		return errInterrupted
	}
	return nil
}

func (r *recorder) ReadChunk(ctx context.Context, table int, after change.Key, limit int) (change.Chunk, error) {
	if err := r.note(table, after, limit); err != nil {
		return change.Chunk{}, err
	}
	return r.Database.ReadChunk(ctx, table, after, limit)
}

// pushing is a recorder of a database that pushes copies down.
type pushing struct{ *recorder }

func (p pushing) PushChunk(ctx context.Context, target change.Database, plan *mapping.Table, table int, after change.Key, limit int) (change.Chunk, int64, bool, error) {
	if err := p.note(table, after, limit); err != nil {
		return change.Chunk{}, 0, false, err
	}
	return p.Database.(change.Pusher).PushChunk(ctx, target, plan, table, after, limit)
}

// record puts a recorder before the source.
func (w *world) record(failAt int) *recorder {
	r := &recorder{Database: w.source, failAt: failAt}
	if w.rows {
		w.source = r
	} else {
		w.source = pushing{r}
	}
	return r
}

// follow applies the log from the copy's beginning.
func (w *world) follow() {
	w.Helper()
	ctx := w.Context()
	cp, err := w.target.TakeStream(ctx, "s", "r", min(w.loaded(0).At, w.loaded(1).At))
	w.must(err)
	batch, err := w.source.Read(ctx, cp.Position, 1_000_000)
	for ; err == nil && batch.To != cp.Position; batch, err = w.source.Read(ctx, cp.Position, 1_000_000) {
		for i, c := range batch.Changes {
			t := w.plan.Tables[c.Table]
			key, err := t.ForwardKey(c.Key)
			w.must(err)
			if batch.Changes[i].Key = key; c.Kind == change.Put {
				batch.Changes[i].Row, err = t.Forward(c.Row)
				w.must(err)
			}
		}
		w.must(w.target.Apply(ctx, "s", "r", batch))
		cp.Position = batch.To
	}
	w.must(err)
}
