package sqlite_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"stranglerfig/migrations/change"
	"stranglerfig/migrations/mapping"
	"stranglerfig/migrations/sqlite"
)

// one opens a database of one table for a move and prepares it to lead.
func one(t *testing.T, schema string, table change.Table) (*sql.DB, *sqlite.DB) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "one.db")
	app := application(t, path, schema)
	db := opened(t, path, change.Monolith, []change.Table{table})
	must(t, db.Prepare(t.Context(), change.Leading))
	return app, db
}

// changed returns the keys of everything logged, sorted.
func changed(t *testing.T, db *sqlite.DB) []string {
	t.Helper()
	batch, err := db.Read(t.Context(), 0, 1000)
	must(t, err)
	var keys []string
	for _, c := range batch.Changes {
		kind := "put"
		if c.Kind == change.Delete {
			kind = "delete"
		}
		keys = append(keys, kind+" "+change.KeyString(c.Key))
	}
	slices.Sort(keys)
	return keys
}

func expect[T any](t *testing.T, got, want T) {
	t.Helper()
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
}

// TestADatabaseThatIsNotThereIsNotCreated: a wrong path is a mistake.
func TestADatabaseThatIsNotThereIsNotCreated(t *testing.T) {
	path := filepath.Join(t.TempDir(), "absent.db")
	if _, err := sqlite.Open(t.Context(), path, "move", change.Monolith, nil); err == nil || !strings.Contains(err.Error(), path) {
		t.Errorf("%v", err)
	}
	if _, err := os.Stat(path); err == nil {
		t.Error("it was created")
	}
}

// TestAPathMayHoldAnything that a URL would take for something else.
func TestAPathMayHoldAnything(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a b%20#1.db")
	application(t, path, canonical)
	db := opened(t, path, change.Monolith, []change.Table{{Name: "items", Columns: []string{"id"}, Key: []int{0}}})
	if n, err := db.Count(t.Context(), 0); err != nil || n != 0 {
		t.Errorf("%d, %v", n, err)
	}
}

// TestReplaceIsCapturedWholly: REPLACE deletes rows without firing their
// triggers, by whatever unique index they stood in the way.
func TestReplaceIsCapturedWholly(t *testing.T) {
	table := change.Table{Name: "r", Columns: []string{"id", "code", "slot"}, Key: []int{0}}
	for name, index := range map[string]string{
		"a unique column":        "CREATE UNIQUE INDEX u ON r (code)",
		"two unique columns":     "CREATE UNIQUE INDEX u ON r (code, slot)",
		"a partial unique index": "CREATE UNIQUE INDEX u ON r (code) WHERE slot > 0",
		"an index ignoring case": "CREATE UNIQUE INDEX u ON r (code COLLATE NOCASE)",
	} {
		t.Run(name, func(t *testing.T) {
			app, db := one(t, "CREATE TABLE r (id INTEGER PRIMARY KEY, code TEXT, slot INTEGER);"+index+
				";INSERT INTO r VALUES (1, 'a', 1), (2, 'b', 1), (3, 'c', 1)", table)
			as := strings.ToLower
			if strings.Contains(index, "NOCASE") {
				as = strings.ToUpper
			}
			exec(t, app, "INSERT OR REPLACE INTO r VALUES (9, ?, 1)", as("a"))
			expect(t, changed(t, db), []string{"delete 1", "put 9"})
			exec(t, app, "UPDATE OR REPLACE r SET code = ? WHERE id = 3", as("b"))
			expect(t, changed(t, db), []string{"delete 1", "delete 2", "put 3", "put 9"})
		})
	}
}

// TestReplaceOfTheSameKeyIsOnePut and so are the other ways to say it.
func TestReplaceOfTheSameKeyIsOnePut(t *testing.T) {
	for _, q := range []string{
		"REPLACE INTO items (id, code, qty) VALUES (1, 'a', 5)",
		"INSERT INTO items (id, code, qty) VALUES (1, 'a', 5) ON CONFLICT (id) DO UPDATE SET qty = excluded.qty",
		"INSERT INTO items (code, qty) VALUES ('a', 5) ON CONFLICT (code) DO UPDATE SET qty = excluded.qty",
	} {
		app, db := one(t, canonical+"INSERT INTO items (id, code, qty) VALUES (1, 'a', 1)", change.Table{Name: "items", Columns: []string{"id", "code", "qty"}, Key: []int{0}})
		exec(t, app, q)
		row, err := db.Lookup(t.Context(), 0, []change.Key{{mapping.Int(1)}})
		must(t, err)
		if got := row[0][2].Int64(); got != 5 {
			t.Errorf("%s: quantity %d", q, got)
		}
		if got := changed(t, db); !slices.Contains(got, "put 1") || slices.ContainsFunc(got, func(s string) bool { return strings.HasPrefix(s, "put") && s != "put 1" }) {
			t.Errorf("%s: %v", q, got)
		}
	}
}

// TestRowsDeletedByACascadeAreCaptured like those deleted by name.
func TestRowsDeletedByACascadeAreCaptured(t *testing.T) {
	app, db := one(t, `CREATE TABLE parent (id INTEGER PRIMARY KEY);
		CREATE TABLE child (id INTEGER PRIMARY KEY, parent INTEGER REFERENCES parent ON DELETE CASCADE);
		INSERT INTO parent VALUES (1); INSERT INTO child VALUES (10, 1), (11, 1);`,
		change.Table{Name: "child", Columns: []string{"id", "parent"}, Key: []int{0}})
	exec(t, app, "DELETE FROM parent")
	expect(t, changed(t, db), []string{"delete 10", "delete 11"})
}

// TestEveryKeyThatCanBeStoredIsCapturedAsItself: what the trigger writes is
// read back as the same value.
func TestEveryKeyThatCanBeStoredIsCapturedAsItself(t *testing.T) {
	app, db := one(t, "CREATE TABLE k (k PRIMARY KEY NOT NULL, v)", change.Table{Name: "k", Columns: []string{"k", "v"}, Key: []int{0}})
	keys := []any{int64(0), int64(math.MaxInt64), int64(math.MinInt64), "", "a", "1", "null", `"`, `\`, "\n\t\x01", "ü𝄞\u2028<>&", "[1]", 1.5, -0.1, 0.1 + 0.2, 1e300, 5e-324, 123456789.123456789}
	for _, k := range keys {
		exec(t, app, "INSERT INTO k VALUES (?, 'x')", k)
	}
	batch, err := db.Read(t.Context(), 0, 1000)
	must(t, err)
	if len(batch.Changes) != len(keys) {
		t.Fatalf("%d changes, want %d", len(batch.Changes), len(keys))
	}
	for i, c := range batch.Changes {
		if c.Kind != change.Put {
			t.Errorf("%#v was logged as %s, under which there is no row", keys[i], mapping.EncodeKey(c.Key))
		}
	}
}

// TestAKeyThatIsNotTextIsAnErrorAndNoOtherKey: bytes that are not UTF-8 cannot
// be written into the log, and must not be taken for a key that they are not.
func TestAKeyThatIsNotTextIsAnErrorAndNoOtherKey(t *testing.T) {
	app, db := one(t, "CREATE TABLE k (k TEXT PRIMARY KEY NOT NULL)", change.Table{Name: "k", Columns: []string{"k"}, Key: []int{0}})
	exec(t, app, "INSERT INTO k VALUES (CAST(x'6bf66c6e' AS TEXT))")
	if batch, err := db.Read(t.Context(), 0, 10); err == nil {
		t.Errorf("read %+v", batch.Changes)
	}
}

// TestPreflightNamesWhatCannotBeMoved beyond what every database must find.
func TestPreflightNamesWhatCannotBeMoved(t *testing.T) {
	for name, c := range map[string]struct {
		schema, subject, text string
		role                  change.Role
		warning               bool
	}{
		"a view":                {"CREATE VIEW x AS SELECT 1 AS id, 2 AS v", "x", "is a view", change.Leading, false},
		"a generated column":    {"CREATE TABLE x (id INTEGER PRIMARY KEY, v GENERATED ALWAYS AS (id + 1))", "x.v", "is generated", change.Leading, false},
		"a key of bytes":        {"CREATE TABLE x (id BLOB PRIMARY KEY, v)", "x.id", "BLOB in the key", change.Leading, false},
		"a partly unique key":   {"CREATE TABLE x (id INTEGER, v); CREATE UNIQUE INDEX u ON x (id) WHERE v > 0", "x", "nothing makes the key (id) unique", change.Leading, false},
		"a NULL in the key":     {"CREATE TABLE x (id TEXT PRIMARY KEY, v); INSERT INTO x VALUES (NULL, 1)", "x.id", "is NULL in some rows", change.Leading, false},
		"a column left out":     {"CREATE TABLE x (id INTEGER PRIMARY KEY, v, w TEXT NOT NULL)", "x.w", "NOT NULL without a default", change.Following, false},
		"a trigger there":       {"CREATE TABLE x (id INTEGER PRIMARY KEY, v); CREATE TRIGGER tr AFTER INSERT ON x BEGIN SELECT 1; END", "x", "trigger tr also fires", change.Following, false},
		"a trigger here":        {"CREATE TABLE x (id INTEGER PRIMARY KEY, v); CREATE TRIGGER tr AFTER INSERT ON x BEGIN SELECT 1; END", "x", "trigger tr also fires", change.Leading, true},
		"a reference out of it": {"CREATE TABLE y (id INTEGER PRIMARY KEY); CREATE TABLE x (id INTEGER PRIMARY KEY, v REFERENCES y)", "x", "refers to y", change.Leading, true},
		"an odd unique index":   {"CREATE TABLE x (id INTEGER PRIMARY KEY, v); CREATE UNIQUE INDEX u ON x (lower(v))", "x", "u is on an expression", change.Leading, true},
		"another journal mode":  {"CREATE TABLE x (id INTEGER PRIMARY KEY, v); PRAGMA journal_mode = DELETE", "journal_mode", "is delete", change.Leading, true},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "p.db")
			application(t, path, c.schema)
			db := opened(t, path, change.Monolith, []change.Table{{Name: "x", Columns: []string{"id", "v"}, Key: []int{0}}})
			found, err := db.Preflight(t.Context(), c.role)
			must(t, err)
			if len(found) != 1 || found[0].Subject != c.subject || !strings.Contains(found[0].Text, c.text) || found[0].Fatal == c.warning {
				t.Errorf("found %+v, want of %s: %s", found, c.subject, c.text)
			}
		})
	}
}

// TestTwoMovesInOneDatabaseDoNotMindEachOther: each has its own log, owner and
// fence, and the last one to go takes the control tables along.
func TestTwoMovesInOneDatabaseDoNotMindEachOther(t *testing.T) {
	path, ctx := filepath.Join(t.TempDir(), "two.db"), t.Context()
	app := application(t, path, canonical)
	before := objects(t, app)
	a := openedFor(t, "a", path, change.Monolith, []change.Table{{Name: "items", Columns: []string{"id", "code", "qty"}, Key: []int{0}}})
	b := openedFor(t, "b", path, change.Monolith, []change.Table{{Name: "tags", Columns: []string{"item", "name"}, Key: []int{0, 1}}})
	must(t, a.Prepare(ctx, change.Leading))
	must(t, b.Prepare(ctx, change.Leading))
	exec(t, app, "INSERT INTO items (id, code, qty) VALUES (1, 'x', 1)")
	must(t, a.Fence(ctx, change.Fence{Epoch: 1, Marker: "m", Wait: 1e9}))
	exec(t, app, "INSERT INTO tags (item, name) VALUES (1, 'y')")
	if _, err := app.Exec("DELETE FROM items"); err == nil {
		t.Error("the fence of the one move does not stand")
	}
	expect(t, changed(t, a), []string{"put 1"})
	expect(t, changed(t, b), []string{"put 1,y"})
	must(t, a.Unprepare(ctx, false))
	exec(t, app, "INSERT INTO tags (item, name) VALUES (2, 'z')")
	expect(t, changed(t, b), []string{"put 1,y", "put 2,z"})
	must(t, b.Unprepare(ctx, false))
	expect(t, objects(t, app), before)
}

// TestWritersOfOtherPoolsAreCapturedBesideTheToolkit in every journal mode:
// connections that share nothing but the file, as other processes have them,
// write while chunks are read, batches applied and the log is pruned.
func TestWritersOfOtherPoolsAreCapturedBesideTheToolkit(t *testing.T) {
	for _, mode := range []string{"wal", "delete"} {
		t.Run(mode, func(t *testing.T) {
			path, ctx := filepath.Join(t.TempDir(), "shared.db"), t.Context()
			first := applicationIn(t, mode, path, canonical)
			tables := []change.Table{{Name: "items", Columns: []string{"id", "code", "qty"}, Key: []int{0}}}
			db := opened(t, path, change.Monolith, tables)
			pools := []*sql.DB{first, applicationIn(t, mode, path, ""), applicationIn(t, mode, path, "")}
			for _, p := range pools {
				p.SetMaxOpenConns(1)
			}
			must(t, db.Prepare(ctx, change.Leading))
			const writes = 40
			var writers sync.WaitGroup
			for i, pool := range pools {
				writers.Go(func() {
					for n := range writes {
						if _, err := pool.Exec("INSERT INTO items (code, qty) VALUES (?, 1)", fmt.Sprint(i, "-", n)); err != nil {
							t.Errorf("writer %d: %v", i, err)
							return
						}
					}
				})
			}
			got, from := map[string]bool{}, change.Position(0)
			follow := func() {
				batch, err := db.Read(ctx, from, 100)
				must(t, err)
				for _, c := range batch.Changes {
					got[c.Row[1].Text()] = true
				}
				from = batch.To
				must(t, db.Acknowledge(ctx, from))
			}
			ended := make(chan struct{})
			go func() { writers.Wait(); close(ended) }()
			for running := true; running; {
				select {
				case <-ended:
					running = false
				default:
				}
				follow()
				_, err := db.ReadChunk(ctx, 0, nil, 10)
				must(t, err)
			}
			follow()
			if len(got) != writes*len(pools) {
				t.Errorf("%d writes were captured, want %d", len(got), writes*len(pools))
			}
		})
	}
}

// pushed compiles a mapping of one table with every transform that is pushed
// down.
func pushed(t testing.TB, digits int, layout, zone string) *mapping.Plan {
	t.Helper()
	eur := "it's €"
	plan, problems := mapping.Compile(mapping.Spec{Capability: "c", Tables: []mapping.TableSpec{{To: "t", From: "f", Key: []string{"id"}, Columns: []mapping.ColumnSpec{
		{To: "id", From: "id"}, {To: "plain", From: "plain"}, {To: "cents", From: "amount", Scale: &digits},
		{To: "status", From: "st", Enum: []mapping.EnumPair{{From: "0", To: "draft"}, {From: "1", To: "it's issued"}, {From: "-2", To: "void"}}},
		{To: "grade", From: "grade", Enum: []mapping.EnumPair{{From: "a", To: "first"}, {From: "1", To: "one"}, {From: "1-2", To: "between"}}},
		{To: "at", From: "at", Time: layout, Zone: zone}, {To: "currency", Constant: &eur},
	}}}})
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	return plan
}

// two opens a source with a column's declared type, and a target.
func two(t *testing.T, plan *mapping.Plan, declared, amount string) (app *sql.DB, source, target *sqlite.DB) {
	t.Helper()
	dir, table := t.TempDir(), plan.Tables[0]
	app = application(t, filepath.Join(dir, "f.db"), fmt.Sprintf("CREATE TABLE f (id INTEGER PRIMARY KEY, plain %[1]s, amount %[2]s, st %[1]s, grade %[1]s, at %[1]s)", declared, amount))
	application(t, filepath.Join(dir, "t.db"), "CREATE TABLE t (id INTEGER PRIMARY KEY, plain, cents, status, grade, at, currency)")
	source = opened(t, filepath.Join(dir, "f.db"), change.Monolith, []change.Table{{Name: "f", Columns: table.SourceColumns(), Key: table.SourceKey()}})
	target = opened(t, filepath.Join(dir, "t.db"), change.Service, []change.Table{{Name: "t", Columns: table.TargetColumns(), Key: table.TargetKey()}})
	must(t, source.Prepare(t.Context(), change.Leading))
	must(t, target.Prepare(t.Context(), change.Following))
	return app, source, target
}

// randomValue is a value that is often good and sometimes odd.
func randomValue(r *rand.Rand, column, layout string) any {
	odd := []any{nil, nil, "", "x", int64(r.Uint64()), r.NormFloat64() * math.Pow(10, float64(r.IntN(40)-20)), []byte("1"), "1", "01", "1.0", 1.0, 0.5, "A", "1-2", "NULL", math.Inf(1),
		int64(math.MaxInt64), int64(math.MinInt64), "0000-00-00 00:00:00", "9999-12-31 23:59:59", "2026-02-30 02:00:00", "2026-03-29 02:30:00", 1e15 + 0.5, 92233720368547758.07, "-0.00", "1e3", "+5"}
	if r.IntN(4) == 0 {
		return odd[r.IntN(len(odd))]
	}
	switch column {
	case "amount":
		switch r.IntN(3) {
		case 0:
			return int64(r.IntN(2_000_000) - 1_000_000)
		case 1:
			return float64(r.Int64N(8e15)-4e15) / 100
		}
		return float64(r.IntN(20_000_000)-10_000_000) / math.Pow(10, float64(r.IntN(4)))
	case "st":
		return int64(r.IntN(4) - 2)
	case "grade":
		return []any{"a", "1", int64(1), "1-2", int64(-1)}[r.IntN(5)]
	case "at":
		day := []string{"2026-10-25", "2026-03-29", "2024-02-29", "1999-12-31", "2027-04-04"}[r.IntN(5)]
		return wall(layout, fmt.Sprintf("%s %02d:%02d:%02d.%03d", day, r.IntN(5), r.IntN(60), r.IntN(60), r.IntN(1000)))
	}
	return fmt.Sprint("p", r.IntN(1000))
}

// wall writes a local time in another layout.
func wall(layout, text string) string {
	t, err := time.Parse("2006-01-02 15:04:05", text)
	if err != nil {
		panic(err) // the tests' own texts are in that layout
	}
	return t.Format(layout)
}

// TestPushdownAgreesWithTheMapping on random values, one row at a time: where
// the database copies a row, it stores what the mapping says, and where the
// mapping refuses a value, the database does not store the row.
func TestPushdownAgreesWithTheMapping(t *testing.T) {
	for name, c := range map[string]struct {
		declared, amount, layout, zone string
		digits                         int
	}{
		"untyped columns":  {"", "", "2006-01-02 15:04:05", "Europe/Berlin", 2},
		"text columns":     {"TEXT", "NUMERIC", "2006-01-02 15:04:05", "America/New_York", 3},
		"decimal columns":  {"DECIMAL(10,2)", "DECIMAL(10,2)", "2006-01-02 15:04:05", "Australia/Lord_Howe", 2},
		"real amounts":     {"", "REAL", "02.01.2006 15:04:05.000", "UTC", 9},
		"caseless columns": {"TEXT COLLATE NOCASE", "", "2006-01-02 15:04:05", "Asia/Kathmandu", 0},
		"whole numbers":    {"INTEGER", "INTEGER", "2006-01-02 15:04:05", "Africa/Monrovia", 4},
	} {
		t.Run(name, func(t *testing.T) {
			r := rand.New(rand.NewPCG(1, uint64(len(c.declared))))
			plan := pushed(t, c.digits, c.layout, c.zone)
			app, source, target := two(t, plan, c.declared, c.amount)
			ctx := t.Context()
			columns := []string{"plain", "amount", "st", "grade", "at"}
			const rows = 120
			tx, err := app.Begin()
			must(t, err)
			for id := 1; id <= rows; id++ {
				// At most one column is odd, so that each one's oddness decides.
				args := []any{id, "p", int64(1), int64(1), "a", wall(c.layout, "2026-07-01 10:00:00")}
				i := id % len(columns)
				args[i+1] = randomValue(r, columns[i], c.layout)
				_, err := tx.Exec("INSERT INTO f VALUES (?, ?, ?, ?, ?, ?)", args...)
				must(t, err)
			}
			must(t, tx.Commit())
			stored, copied := pushEach(t, ctx, source, target, plan)
			if copied < rows/4 || copied == rows {
				t.Errorf("%d of %d rows were pushed down, which proves little", copied, rows)
			}
			disagreements(t, source, target, plan, stored)
		})
	}
}

// pushEach pushes each row as a chunk of its own and tells which were stored.
func pushEach(t *testing.T, ctx context.Context, source, target *sqlite.DB, plan *mapping.Plan) (stored map[int64]bool, copied int) {
	t.Helper()
	rows, err := source.Scan(ctx, 0, nil, 100_000)
	must(t, err)
	stored = map[int64]bool{}
	var after change.Key
	for _, row := range rows {
		c, n, ok, err := source.PushChunk(ctx, target, plan.Tables[0], 0, after, 1)
		must(t, err)
		if ok {
			if n != 1 || change.KeyString(c.Last) != row[0].String() {
				t.Fatalf("after %v: %d rows to %v", after, n, c.Last)
			}
			stored[row[0].Int64()] = true
			copied++
		} else { // left out, so that the copy goes on after it
			must(t, target.LoadChunk(ctx, change.Chunk{After: after, Last: change.Key{row[0]}}))
		}
		after = change.Key{row[0]}
	}
	return stored, copied
}

func disagreements(t *testing.T, source, target *sqlite.DB, plan *mapping.Plan, stored map[int64]bool) {
	t.Helper()
	rows, err := source.Scan(t.Context(), 0, nil, 100_000)
	must(t, err)
	for _, row := range rows {
		got, err := target.Lookup(t.Context(), 0, []change.Key{{row[0]}})
		must(t, err)
		want, err := plan.Tables[0].Forward(row)
		switch {
		case !stored[row[0].Int64()]:
			if got[0] != nil {
				t.Errorf("row %s was refused and stored", mapping.EncodeKey(row))
			}
		case err != nil:
			t.Errorf("row %s was pushed down although %v", mapping.EncodeKey(row), err)
		case mapping.EncodeKey(got[0]) != mapping.EncodeKey(want):
			t.Errorf("row %s was pushed down as\n%s, want\n%s", mapping.EncodeKey(row), mapping.EncodeKey(got[0]), mapping.EncodeKey(want))
		}
	}
}

// TestAPushedCopyIsRecordedLikeAnyOther: chunks meet without gaps and the copy
// can be resumed on either road.
func TestAPushedCopyIsRecordedLikeAnyOther(t *testing.T) {
	plan := pushed(t, 2, "2006-01-02 15:04:05", "UTC")
	app, source, target := two(t, plan, "", "")
	ctx := t.Context()
	for id := 1; id <= 25; id++ {
		exec(t, app, "INSERT INTO f VALUES (?, 'p', 1.25, 1, 'a', '2026-07-01 10:00:00')", id*3)
	}
	head, err := source.Head(ctx)
	must(t, err)
	var total int64
	chunks := 0
	for last, done := (change.Key)(nil), false; !done; chunks++ {
		c, n, ok, err := source.PushChunk(ctx, target, plan.Tables[0], 0, last, 10)
		if err != nil || !ok {
			t.Fatalf("chunk %d: %t, %v", chunks, ok, err)
		}
		if c.At != head {
			t.Errorf("chunk %d was cut at %d, want %d", chunks, c.At, head)
		}
		total, last, done = total+n, c.Last, c.Done
		l, err := target.Loaded(ctx, 0)
		must(t, err)
		if l.Rows != total || l.Done != done || change.KeyString(l.Last) != change.KeyString(last) || l.At != head {
			t.Errorf("chunk %d is recorded as %+v", chunks, l)
		}
	}
	n, err := target.Count(ctx, 0)
	must(t, err)
	if total != 25 || n != 25 || chunks != 3 {
		t.Errorf("%d rows copied, %d there, %d chunks", total, n, chunks)
	}
}

// TestAPositionThatTheLogDoesNotHoldIsAnError asks for what was forgotten, and
// for what has not been: one of the two databases was restored.
func TestAPositionThatTheLogDoesNotHoldIsAnError(t *testing.T) {
	app, db := one(t, "CREATE TABLE a (id INTEGER PRIMARY KEY, v TEXT)", change.Table{Name: "a", Columns: []string{"id", "v"}, Key: []int{0}})
	for i := range 10 {
		if _, err := app.Exec("INSERT INTO a VALUES (?, 'x')", i); err != nil {
			t.Fatal(err)
		}
	}
	must(t, db.Acknowledge(t.Context(), 8))
	for _, from := range []change.Position{3, 50} {
		if b, err := db.Read(t.Context(), from, 100); !errors.Is(err, change.ErrForgotten) {
			t.Errorf("from %d: %d changes, %v", from, len(b.Changes), err)
		}
	}
	if b, err := db.Read(t.Context(), 8, 100); err != nil || len(b.Changes) != 2 {
		t.Errorf("from 8: %d changes, %v", len(b.Changes), err)
	}
}
