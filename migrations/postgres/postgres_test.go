package postgres_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5/pgconn"

	"stranglerfig/migrations/change"
	"stranglerfig/migrations/change/changetest"
	"stranglerfig/migrations/mapping"
	"stranglerfig/migrations/postgres"
)

// side is one database of a test, as the application and as the toolkit see it.
type side struct {
	*testing.T
	dsn string
	app *sql.DB
	db  *postgres.DB
}

// prepared makes a database with a schema and prepares it for a role.
func prepared(t *testing.T, role change.Role, schema string, tables ...change.Table) *side {
	t.Helper()
	s := fresh(t, schema, tables...)
	must(t, s.db.Prepare(t.Context(), role))
	return s
}

// fresh makes a database with a schema.
func fresh(t *testing.T, schema string, tables ...change.Table) *side {
	t.Helper()
	needServer(t)
	s := &side{T: t, dsn: database(t)}
	s.app = application(t, s.dsn, schema)
	s.db = opened(t, s.dsn, change.Monolith, tables)
	return s
}

// head returns the end of the log.
func (s *side) head() change.Position {
	s.Helper()
	p, err := s.db.Head(s.Context())
	must(s.T, err)
	return p
}

// follow applies everything that a leader has logged.
func (s *side) follow(leader *side) {
	s.Helper()
	cp, err := s.db.TakeStream(s.Context(), "stream", "runner", 0)
	must(s.T, err)
	for {
		b, err := leader.db.ReadSparse(s.Context(), cp.Position, 100)
		must(s.T, err)
		if b.To == cp.Position {
			return
		}
		if err = s.db.Apply(s.Context(), "stream", "runner", b); errors.Is(err, change.ErrIncomplete) {
			b, err = leader.db.Complete(s.Context(), b)
			must(s.T, err)
			err = s.db.Apply(s.Context(), "stream", "runner", b)
		}
		must(s.T, err)
		must(s.T, leader.db.Acknowledge(s.Context(), b.To))
		cp.Position = b.To
	}
}

// rows renders everything a table holds.
func (s *side) rows(table string) []string {
	s.Helper()
	rows, err := s.app.Query("SELECT t::text FROM " + table + " AS t ORDER BY 1")
	must(s.T, err)
	defer rows.Close()
	var all []string
	for rows.Next() {
		var row string
		must(s.T, rows.Scan(&row))
		all = append(all, row)
	}
	must(s.T, rows.Err())
	return all
}

// expectSame fails unless two sides hold the same in their tables.
func expectSame(t *testing.T, a, b *side, tables ...string) {
	t.Helper()
	for _, table := range tables {
		if d := cmp.Diff(a.rows(table), b.rows(table)); d != "" {
			t.Fatalf("%s differs (-leader +follower):\n%s", table, d)
		}
	}
}

// number asks one database for one number.
func (s *side) number(query string, args ...any) (n int64) {
	s.Helper()
	if err := s.app.QueryRow(query, args...).Scan(&n); err != nil {
		s.Fatalf("%s: %v", query, err)
	}
	return n
}

// TestAFollowerOfRandomWritersEndsEqual: writers insert, update, delete and
// renumber rows of both tables, several statements to a transaction, while the
// follower is at it and the connection breaks now and then.
func TestAFollowerOfRandomWritersEndsEqual(t *testing.T) {
	leader := prepared(t, change.Leading, canonical, changetest.Tables()...)
	follower := prepared(t, change.Following, canonical, changetest.Tables()...)
	var writers sync.WaitGroup
	for w := range uint64(3) {
		writers.Go(func() {
			random := rand.New(rand.NewPCG(w, 7))
			for range 150 {
				if err := randomTransaction(t.Context(), leader.app, random, int64(w)); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	written := make(chan struct{})
	go func() { writers.Wait(); close(written) }()
	for busy, n := true, 0; busy; n++ {
		select {
		case <-written:
			busy = false
		default:
		}
		if n%20 == 10 {
			exec(t, leader.app, "SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots WHERE database = current_database() AND active_pid IS NOT NULL")
		}
		follower.follow(leader)
	}
	follower.follow(leader)
	expectSame(t, leader, follower, "(SELECT id, code, qty FROM items)", "tags")
	if n := follower.number("SELECT count(*) FROM items"); n == 0 {
		t.Error("nothing was written")
	}
}

// randomTransaction runs a few random statements on keys that all writers
// share. A statement that another row forbids is rolled back alone.
func randomTransaction(ctx context.Context, app *sql.DB, random *rand.Rand, writer int64) error {
	tx, err := app.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback()
	for range 1 + random.IntN(4) {
		// Each writer has its own keys, so that none waits for another in a
		// circle, but codes are shared.
		id, other := 10*random.Int64N(20)+writer, 10*random.Int64N(20)+writer
		query := []string{
			"INSERT INTO items (id, code, qty) VALUES ($1, 'c' || $1, $2) ON CONFLICT DO NOTHING",
			"UPDATE items SET qty = qty + $2 WHERE id = $1",
			"UPDATE items SET id = $2 WHERE id = $1 AND NOT EXISTS (SELECT 1 FROM items WHERE id = $2)",
			"UPDATE items SET code = 'x' || $1 || '-' || qty WHERE id IN ($1, $2)",
			"DELETE FROM items WHERE id = $1 OR (id = $2 AND qty > 300)",
			"INSERT INTO tags (item, name, weight) VALUES ($1, 'n', $2) ON CONFLICT (item, name) DO UPDATE SET weight = NULL",
			"UPDATE tags SET item = $2 WHERE item = $1 AND NOT EXISTS (SELECT 1 FROM tags WHERE item = $2)",
			"DELETE FROM tags WHERE item IN ($1, $2)",
		}[random.IntN(8)]
		if strings.Count(query, "$2") > 0 {
			query = strings.NewReplacer("$1", fmt.Sprint(id), "$2", fmt.Sprint(other)).Replace(query)
		}
		if _, err := tx.ExecContext(ctx, query); err != nil {
			var e *pgconn.PgError
			if errors.As(err, &e) && e.Code == "23505" {
				return nil
			}
			return fmt.Errorf("%s: %w", query, err)
		}
	}
	if random.IntN(10) == 0 {
		return tx.Rollback()
	}
	return tx.Commit()
}

// TestTwoSidesThatFollowEachOtherComeToRest, though each checkpoint is written
// into the log of the other's source.
func TestTwoSidesThatFollowEachOtherComeToRest(t *testing.T) {
	a := prepared(t, change.Leading, canonical, changetest.Tables()...)
	b := prepared(t, change.Following, canonical, changetest.Tables()...)
	exec(t, a.app, "INSERT INTO items (id, code, qty) VALUES (1, 'a', 1)")
	b.follow(a)
	heads := []change.Position{a.head(), b.head()}
	for range 3 {
		b.follow(a)
		a.follow(b)
	}
	if got := []change.Position{a.head(), b.head()}; !slices.Equal(got, heads) {
		t.Errorf("the logs ended at %v and end at %v, though nobody wrote", heads, got)
	}
	expectSame(t, a, b, "items")
}

// TestATransactionInFlightHoldsNoReaderUp, even while only a part of what it
// wrote is on disk.
func TestATransactionInFlightHoldsNoReaderUp(t *testing.T) {
	s := prepared(t, change.Leading, canonical, changetest.Tables()...)
	const flushed = "SELECT (pg_current_wal_flush_lsn() - '0/0')::bigint"
	before := s.number(flushed)
	tx, err := s.app.BeginTx(t.Context(), nil)
	must(t, err)
	defer tx.Rollback()
	_, err = tx.Exec("INSERT INTO items (id, code, qty) SELECT i, i::text, 1 FROM generate_series(1, 20000) AS i")
	must(t, err)
	for s.number(flushed) < before+1<<20 {
		b, err := s.db.Read(t.Context(), 0, 10)
		must(t, err)
		if len(b.Changes) > 0 {
			t.Fatalf("%d changes are read before their commit", len(b.Changes))
		}
	}
	must(t, tx.Commit())
	if b, err := s.db.Read(t.Context(), 0, 10); err != nil || len(b.Changes) != 20000 {
		t.Errorf("%d changes, %v", len(b.Changes), err)
	}
}

// TestAReaderThatIsFarBehindGetsToWhatItWasToldIsTheEnd, even where nothing
// that matters stands there.
func TestAReaderThatIsFarBehindGetsToWhatItWasToldIsTheEnd(t *testing.T) {
	s := prepared(t, change.Leading, canonical+"CREATE TABLE other (n int)", changetest.Tables()...)
	exec(t, s.app, "INSERT INTO items (id, code, qty) SELECT i, i::text, 1 FROM generate_series(1, 60000) AS i")
	exec(t, s.app, "INSERT INTO other SELECT generate_series(1, 1000)")
	end, read := s.head(), 0
	for at := change.Position(0); at < end; {
		b, err := s.db.Read(t.Context(), at, 1000)
		must(t, err)
		if b.To == at {
			t.Fatalf("the log ends at %d, but %d was promised", at, end)
		}
		at, read = b.To, read+len(b.Changes)
	}
	if read != 60000 {
		t.Errorf("%d changes were read", read)
	}
	if got := s.head(); got > end {
		t.Errorf("the log ended at %d and ends at %d, though nobody wrote", end, got)
	}
}

const everyType = `
CREATE TYPE mood AS ENUM ('sad', 'it''s "ok"');
CREATE TABLE v (id uuid PRIMARY KEY, a smallint, b int, c bigint, d numeric(20,4), e real, f double precision,
	g text, h varchar(20), i char(5), j boolean, k date, l time, m timestamp, n timestamptz, o json, p jsonb, q bytea, r mood)`

func everyColumn() change.Table {
	t := change.Table{Name: "v", Columns: []string{"id"}, Key: []int{0}}
	for c := 'a'; c <= 'r'; c++ {
		t.Columns = append(t.Columns, string(c))
	}
	return t
}

// TestEveryTypeArrivesAsItWas by the copy and by the log.
func TestEveryTypeArrivesAsItWas(t *testing.T) {
	leader := prepared(t, change.Leading, everyType, everyColumn())
	follower := prepared(t, change.Following, everyType, everyColumn())
	fill := func(id int) {
		for i, values := range []string{
			`-32768, 2147483647, -9223372036854775808, 1234567890123456.7891, 1.1, 0.1::float8 + 0.2, '{"a\\b",NULL} ''ü𝄞', 'NULL', 'ab', true, '2024-02-29', '23:59:59.999999', '2024-02-29 01:02:03.5', '2024-02-29 01:02:03.000004+05', '{"b": 1,  "a":"\""}', '{"b": 1,  "a":2}', '\x00ff5c22', 'it''s "ok"'`,
			`0, 0, 0, 0, 'Infinity', '-Infinity', '', '', '', false, 'infinity', '00:00', '0044-03-15 BC', '-infinity', 'null', '[]', '', 'sad'`,
			`NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL`,
		} {
			exec(t, leader.app, fmt.Sprintf("INSERT INTO v VALUES ('00000000-0000-0000-0000-%012d', %s)", 10*id+i, values))
		}
	}
	fill(1)
	c, err := leader.db.ReadChunk(t.Context(), 0, nil, 100)
	must(t, err)
	must(t, follower.db.LoadChunk(t.Context(), c))
	expectSame(t, leader, follower, "v")
	fill(2)
	follower.follow(leader)
	expectSame(t, leader, follower, "v")
	for i, row := range c.Rows {
		found, err := follower.db.Lookup(t.Context(), 0, []change.Key{{row[0]}})
		must(t, err)
		if mapping.EncodeKey(found[0]) != mapping.EncodeKey(row) {
			t.Errorf("row %d was %s and is %s", i, mapping.EncodeKey(row), mapping.EncodeKey(found[0]))
		}
	}
}

// TestValuesOfAnotherDatabaseAreTakenAsTheColumnsType: a boolean as a number, a
// whole number as a floating one.
func TestValuesOfAnotherDatabaseAreTakenAsTheColumnsType(t *testing.T) {
	s := prepared(t, change.Following, "CREATE TABLE x (id int PRIMARY KEY, b boolean, n int, d date, z timestamptz)",
		change.Table{Name: "x", Columns: []string{"id", "b", "n", "d", "z"}, Key: []int{0}})
	for id, row := range []change.Row{
		{mapping.Int(0), mapping.Int(1), mapping.Float(12), mapping.Text("2024-02-29"), mapping.Text("2024-02-29T01:02:03Z")},
		{mapping.Int(1), mapping.Bool(true), mapping.Bool(true), mapping.Text("2024-02-29"), mapping.Time(time.Date(2024, 2, 29, 1, 2, 3, 0, time.UTC))},
	} {
		must(t, s.db.Repair(t.Context(), change.Change{Kind: change.Put, Key: change.Key{row[0]}, Row: row}))
		rows, err := s.db.Lookup(t.Context(), 0, []change.Key{{mapping.Int(int64(id))}})
		must(t, err)
		for i, v := range rows[0] {
			if !v.Equal(row[i]) && row[i].Kind() != mapping.KindTime {
				t.Errorf("%v is stored as %v", row[i], v)
			}
		}
	}
}

// TestPartitionsAreFollowedAndFencedOneByOne, those too that came later.
func TestPartitionsAreFollowedAndFencedOneByOne(t *testing.T) {
	const schema = `CREATE TABLE p (id int PRIMARY KEY, n int) PARTITION BY RANGE (id);
		CREATE TABLE p_low PARTITION OF p FOR VALUES FROM (0) TO (100);
		CREATE TABLE p_high PARTITION OF p FOR VALUES FROM (100) TO (200);`
	table := change.Table{Name: "p", Columns: []string{"id", "n"}, Key: []int{0}}
	leader, follower := prepared(t, change.Leading, schema, table), prepared(t, change.Following, schema, table)
	exec(t, leader.app, "INSERT INTO p VALUES (1, 1), (150, 1)")
	exec(t, leader.app, "INSERT INTO p_low VALUES (2, 1)")
	exec(t, leader.app, "UPDATE p SET id = 160 WHERE id = 1")
	follower.follow(leader)
	expectSame(t, leader, follower, "p")
	exec(t, leader.app, "CREATE TABLE p_late PARTITION OF p FOR VALUES FROM (200) TO (300)")
	must(t, leader.db.Fence(t.Context(), change.Fence{Epoch: 1, Marker: "m", Wait: 20 * time.Second}))
	for _, q := range []string{"DELETE FROM p", "DELETE FROM p_high", "INSERT INTO p_late VALUES (250, 1)", "TRUNCATE p_low", "COPY p_low FROM PROGRAM 'echo 9 9'"} {
		if _, err := leader.app.Exec(q); err == nil || !strings.Contains(err.Error(), "strangler:") {
			t.Errorf("%s: %v", q, err)
		}
	}
	must(t, leader.db.Unfence(t.Context(), 1))
	exec(t, leader.app, "INSERT INTO p_late VALUES (250, 1)")
}

// TestAFenceTurnsNobodyAwayWhoHoldsTablesInAnotherOrder: the writer is let
// through to its commit, not chosen to end a deadlock.
func TestAFenceTurnsNobodyAwayWhoHoldsTablesInAnotherOrder(t *testing.T) {
	s := prepared(t, change.Leading, canonical, changetest.Tables()...)
	tx, err := s.app.BeginTx(t.Context(), nil)
	must(t, err)
	defer tx.Rollback()
	_, err = tx.Exec("INSERT INTO tags (item, name) VALUES (1, 'held')")
	must(t, err)
	fenced := make(chan error, 1)
	go func() {
		fenced <- s.db.Fence(t.Context(), change.Fence{Epoch: 1, Marker: "m", Wait: 20 * time.Second})
	}()
	for s.number("SELECT count(*) FROM pg_locks WHERE relation = 'tags'::regclass AND mode = 'ShareRowExclusiveLock' AND NOT granted") == 0 {
		if t.Context().Err() != nil {
			t.Fatal("the fence never waited")
		}
	}
	_, err = tx.Exec("INSERT INTO items (id, code, qty) VALUES (1, 'a', 1)")
	must(t, err)
	must(t, tx.Commit())
	must(t, <-fenced)
}

// TestTwoMovesInOneDatabaseDoNotMindEachOther: each has its own log, owner and
// fence, and the last one to go takes the control tables along.
func TestTwoMovesInOneDatabaseDoNotMindEachOther(t *testing.T) {
	s := fresh(t, canonical, changetest.Tables()[0])
	ctx, before := t.Context(), objects(t, s.app)
	one := openedFor(t, "one", s.dsn, change.Monolith, changetest.Tables()[:1])
	two := openedFor(t, "two", s.dsn, change.Monolith, changetest.Tables()[1:])
	must(t, one.Prepare(ctx, change.Leading))
	must(t, two.Prepare(ctx, change.Leading))
	must(t, one.Fence(ctx, change.Fence{Epoch: 1, Marker: "m", Wait: 20 * time.Second}))
	exec(t, s.app, "INSERT INTO tags (item, name) VALUES (1, 'free')")
	if b, err := two.Read(ctx, 0, 10); err != nil || len(b.Changes) != 1 || b.Marker != "" {
		t.Errorf("%+v, %v", b, err)
	}
	if b, err := one.Read(ctx, 0, 10); err != nil || len(b.Changes) != 0 || b.Marker != "m" {
		t.Errorf("%+v, %v", b, err)
	}
	must(t, one.Unprepare(ctx, false))
	exec(t, s.app, "INSERT INTO items (code, qty) VALUES ('a', 1)")
	if o, err := two.Owner(ctx); err != nil || o.Epoch != 1 {
		t.Errorf("%+v, %v", o, err)
	}
	must(t, two.Unprepare(ctx, false))
	if d := cmp.Diff(before, objects(t, s.app)); d != "" {
		t.Errorf("left behind:\n%s", d)
	}
}

// TestARowThatCannotBeStoredIsNamedByItsKey, however many come with it.
func TestARowThatCannotBeStoredIsNamedByItsKey(t *testing.T) {
	s := prepared(t, change.Following, canonical, changetest.Tables()...)
	rows := []change.Row{}
	for id := range int64(20) {
		rows = append(rows, change.Row{mapping.Int(id), mapping.Text(fmt.Sprint(id)), mapping.Int(1)})
	}
	rows[13][2] = mapping.Text("thirteen")
	err := s.db.LoadChunk(t.Context(), change.Chunk{Last: change.Key{mapping.Int(20)}, Rows: rows})
	if err == nil || !strings.Contains(err.Error(), "key 13:") {
		t.Error(err)
	}
}

// TestATableInAnotherSchemaMayBeNamedWithIt.
func TestATableInAnotherSchemaMayBeNamedWithIt(t *testing.T) {
	const schema = `CREATE SCHEMA "Shop"; CREATE TABLE "Shop"."Order" ("Id" int PRIMARY KEY, "select" text)`
	table := change.Table{Name: "Shop.Order", Columns: []string{"Id", "select"}, Key: []int{0}}
	leader, follower := prepared(t, change.Leading, schema, table), prepared(t, change.Following, schema, table)
	exec(t, leader.app, `INSERT INTO "Shop"."Order" VALUES (1, 'x')`)
	follower.follow(leader)
	expectSame(t, leader, follower, `"Shop"."Order"`)
	must(t, leader.db.Retire(t.Context(), "old"))
	if n := leader.number(`SELECT count(*) FROM "Shop"."Order_old"`); n != 1 {
		t.Error(n)
	}
}
