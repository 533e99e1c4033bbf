package postgres_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/url"
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
		b, err := leader.db.Read(s.Context(), cp.Position, 100)
		must(s.T, err)
		if b.To == cp.Position {
			return
		}
		must(s.T, s.db.Apply(s.Context(), "stream", "runner", b))
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

// TestALargeValueThatDidNotChangeArrives, though the log does not repeat it.
func TestALargeValueThatDidNotChangeArrives(t *testing.T) {
	const schema = "CREATE TABLE x (id int PRIMARY KEY, n int, big text); ALTER TABLE x ALTER big SET STORAGE EXTERNAL"
	table := change.Table{Name: "x", Columns: []string{"id", "n", "big"}, Key: []int{0}}
	leader, follower := prepared(t, change.Leading, schema, table), prepared(t, change.Following, schema, table)
	exec(t, leader.app, "INSERT INTO x SELECT i, 1, repeat(i::text, 10000) FROM generate_series(1, 5) AS i")
	from := leader.head()
	exec(t, leader.app, "UPDATE x SET n = 2")
	exec(t, leader.app, "UPDATE x SET id = 10 WHERE id = 1")
	exec(t, leader.app, "DELETE FROM x WHERE id = 2")
	exec(t, leader.app, "BEGIN; INSERT INTO x VALUES (20, 1, repeat('y', 10000)); UPDATE x SET n = 2 WHERE id = 20; UPDATE x SET id = 21 WHERE id = 20; COMMIT")
	b, err := leader.db.Read(t.Context(), from, 100)
	must(t, err)
	for _, c := range b.Changes {
		if c.Kind == change.Put && len(c.Row[2].Text()) != 10000 {
			t.Errorf("key %s has %d letters", change.KeyString(c.Key), len(c.Row[2].Text()))
		}
	}
	follower.follow(leader)
	expectSame(t, leader, follower, "x")
}

// TestWhatCannotBeFollowedStopsTheStreamAndSaysWhatToDo, after everything that
// came before it.
func TestWhatCannotBeFollowedStopsTheStreamAndSaysWhatToDo(t *testing.T) {
	for name, c := range map[string]struct{ query, text string }{
		"a truncated table": {"TRUNCATE items", "items was truncated"},
		"a lost column":     {"ALTER TABLE items RENAME qty TO quantity; INSERT INTO items (id, code, quantity) VALUES (2, 'b', 1)", "column qty"},
		"another type":      {"ALTER TABLE items ALTER qty TYPE text; INSERT INTO items (id, code, qty) VALUES (2, 'b', 1)", "column qty of table items changed its type"},
		"another name":      {"ALTER TABLE items RENAME TO things; INSERT INTO things (id, code, qty) VALUES (2, 'b', 1)", "items was renamed"},
	} {
		t.Run(name, func(t *testing.T) {
			leader := prepared(t, change.Leading, canonical, changetest.Tables()...)
			from := leader.head()
			exec(t, leader.app, "INSERT INTO items (id, code, qty) VALUES (1, 'a', 1)")
			before := leader.head()
			exec(t, leader.app, c.query)
			b, err := leader.db.Read(t.Context(), from, 1)
			must(t, err)
			if b.To != before || len(b.Changes) != 1 {
				t.Errorf("before it, %+v is read", b)
			}
			_, err = leader.db.Read(t.Context(), b.To, 1)
			if !errors.Is(err, change.ErrCannotFollow) || !strings.Contains(err.Error(), c.text) && !strings.Contains(err.Error(), "was renamed from") || !strings.Contains(err.Error(), "resume the move") {
				t.Errorf("it is answered with %v", err)
			}
			if _, all, err := leader.db.Touched(t.Context(), from, 10); err == nil && all {
				t.Error("every touched key is said to be known")
			}
		})
	}
}

// TestColumnsThatComeBesideTheMappedOnesAreNoTrouble.
func TestColumnsThatComeBesideTheMappedOnesAreNoTrouble(t *testing.T) {
	leader := prepared(t, change.Leading, canonical, changetest.Tables()...)
	follower := prepared(t, change.Following, canonical, changetest.Tables()...)
	exec(t, leader.app, "INSERT INTO items (id, code, qty) VALUES (1, 'a', 1)")
	exec(t, leader.app, "ALTER TABLE items ADD extra text; ALTER TABLE items DROP note")
	exec(t, leader.app, "INSERT INTO items (id, code, qty, extra) VALUES (2, 'b', 2, 'x')")
	follower.follow(leader)
	expectSame(t, leader, follower, "(SELECT id, code, qty FROM items)")
}

// TestAServerWithAnotherHistoryIsNotFollowed: after a failover or a restore the
// same positions may mean something else, even where a slot of that name exists.
func TestAServerWithAnotherHistoryIsNotFollowed(t *testing.T) {
	s := prepared(t, change.Leading, canonical, changetest.Tables()...)
	at := s.head()
	exec(t, s.app, "UPDATE strangler.move SET history = split_part(history, '/', 1) || '/0'")
	reopened, err := postgres.Open(t.Context(), s.dsn, "move", change.Monolith, changetest.Tables())
	must(t, err)
	defer reopened.Close()
	if _, err := reopened.Read(t.Context(), at, 10); !errors.Is(err, change.ErrForgotten) || !strings.Contains(err.Error(), "failed over or restored") {
		t.Fatal(err)
	}
	again, err := reopened.Recut(t.Context())
	must(t, err)
	exec(t, s.app, "INSERT INTO items (id, code, qty) VALUES (1, 'a', 1)")
	b, err := reopened.Read(t.Context(), again, 10)
	if err != nil || len(b.Changes) != 1 {
		t.Errorf("%+v, %v", b, err)
	}
}

// TestALostSlotIsNeverReplacedSilently: a new one would lack what the old had.
func TestALostSlotIsNeverReplacedSilently(t *testing.T) {
	s := prepared(t, change.Leading, canonical, changetest.Tables()...)
	exec(t, s.app, "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE database = current_database()")
	exec(t, s.app, "INSERT INTO items (id, code, qty) VALUES (1, 'a', 1)")
	for name, call := range map[string]func() error{
		"read":    func() error { _, err := s.db.Read(t.Context(), 0, 10); return err },
		"prepare": func() error { return s.db.Prepare(t.Context(), change.Leading) },
	} {
		if err := call(); !errors.Is(err, change.ErrForgotten) || !strings.Contains(err.Error(), "slot is gone") {
			t.Errorf("%s: %v", name, err)
		}
	}
	must(t, s.db.Unprepare(t.Context(), false))
	must(t, s.db.Prepare(t.Context(), change.Leading))
}

// TestForgottenChangesAreNotPassedOver: who asks for them is told.
func TestForgottenChangesAreNotPassedOver(t *testing.T) {
	s := prepared(t, change.Leading, canonical, changetest.Tables()...)
	exec(t, s.app, "INSERT INTO items (id, code, qty) VALUES (1, 'a', 1)")
	must(t, s.db.Acknowledge(t.Context(), s.head()))
	if b, err := s.db.Read(t.Context(), 0, 10); err == nil {
		t.Errorf("%+v is read", b)
	}
}

// TestAnIdleMoveDoesNotKeepTheLogOfOthers: what is written elsewhere is let go.
func TestAnIdleMoveDoesNotKeepTheLogOfOthers(t *testing.T) {
	s := prepared(t, change.Leading, canonical+"CREATE TABLE other (n int)", changetest.Tables()...)
	const confirmed = "SELECT (confirmed_flush_lsn - '0/0')::bigint FROM pg_replication_slots WHERE database = current_database()"
	before := s.number(confirmed)
	exec(t, s.app, "INSERT INTO other SELECT generate_series(1, 100)")
	if b, err := s.db.Read(t.Context(), 1, 10); err != nil || b.To != 1 {
		t.Fatalf("%+v, %v", b, err)
	}
	must(t, s.db.Acknowledge(t.Context(), 1))
	for s.number(confirmed) == before { // until the server has taken notice
		must(t, t.Context().Err())
	}
	exec(t, s.app, "INSERT INTO items (id, code, qty) VALUES (1, 'a', 1)")
	if b, err := s.db.Read(t.Context(), 1, 10); err != nil || len(b.Changes) != 1 {
		t.Errorf("%+v, %v", b, err)
	}
}

// TestTheLogOfACopyIsNotKept, and everything that is written once it is
// finished is. A side that has been the owner keeps its log in any case.
func TestTheLogOfACopyIsNotKept(t *testing.T) {
	const slots = "SELECT count(*) FROM pg_replication_slots WHERE database = current_database()"
	follower := prepared(t, change.Following, canonical, changetest.Tables()...)
	for range 2 {
		must(t, follower.db.BeginLoad(t.Context()))
		if follower.number(slots) != 0 {
			t.Error("the log of the copy is kept")
		}
	}
	must(t, follower.db.LoadChunk(t.Context(), change.Chunk{Last: change.Key{mapping.Int(1)}, Rows: []change.Row{{mapping.Int(1), mapping.Text("copied"), mapping.Int(1)}}, Done: true}))
	must(t, follower.db.FinishLoad(t.Context()))
	attempt, err := follower.db.BumpAttempt(t.Context())
	must(t, err)
	must(t, follower.db.Claim(t.Context(), change.Claim{Epoch: 2, Attempt: attempt}))
	exec(t, follower.app, "INSERT INTO items (id, code, qty) VALUES (2, 'written', 1)")
	must(t, follower.db.BeginLoad(t.Context()))
	if b, err := follower.db.Read(t.Context(), 0, 10); err != nil || len(b.Changes) != 1 {
		t.Errorf("%+v, %v", b, err)
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

// TestAnEngineTakesTheSlotOverFromOneThatHangs, and the other way round.
func TestAnEngineTakesTheSlotOverFromOneThatHangs(t *testing.T) {
	s := prepared(t, change.Leading, canonical, changetest.Tables()...)
	other := opened(t, s.dsn, change.Monolith, changetest.Tables())
	for i, db := range []*postgres.DB{s.db, other, s.db, other} {
		exec(t, s.app, fmt.Sprintf("INSERT INTO items (id, code, qty) VALUES (%d, 'c%[1]d', 1)", i))
		if b, err := db.Read(t.Context(), 0, 10); err != nil || len(b.Changes) != i+1 {
			t.Errorf("reader %d: %+v, %v", i, b, err)
		}
	}
}

// TestARoleWithoutTheServersPrivilegesCanMove: it owns its tables and may
// replicate, nothing else.
func TestARoleWithoutTheServersPrivilegesCanMove(t *testing.T) {
	needServer(t)
	dsn, ctx := database(t), t.Context()
	admin := application(t, dsn, "")
	role := strings.ReplaceAll(strings.ToLower("strangler_"+t.Name()), "/", "_")[:40]
	exec(t, admin, fmt.Sprintf("DROP ROLE IF EXISTS %[1]s; CREATE ROLE %[1]s LOGIN REPLICATION PASSWORD 'test'; GRANT CREATE ON SCHEMA public TO %[1]s", role))
	exec(t, admin, "DO $$BEGIN EXECUTE format('GRANT CREATE ON DATABASE %I TO "+role+"', current_database()); END$$")
	t.Cleanup(func() { exec(t, admin, "DROP OWNED BY "+role+" CASCADE; DROP ROLE "+role) })
	u, err := url.Parse(dsn)
	must(t, err)
	u.User = url.UserPassword(role, "test")
	app := application(t, u.String(), canonical)
	db := opened(t, u.String(), change.Monolith, changetest.Tables())
	t.Cleanup(func() { must(t, db.Unprepare(context.Background(), false)) })
	found, err := db.Preflight(ctx, change.Leading)
	must(t, err)
	if slices.ContainsFunc(found, func(p change.Problem) bool { return p.Fatal }) {
		t.Fatal(found)
	}
	must(t, db.Prepare(ctx, change.Leading))
	exec(t, app, "INSERT INTO items (id, code, qty) VALUES (1, 'a', 1)")
	c, err := db.ReadChunk(ctx, 0, nil, 10)
	must(t, err)
	if len(c.Rows) != 1 {
		t.Errorf("%+v", c)
	}
	must(t, db.Fence(ctx, change.Fence{Epoch: 1, Marker: "m", Wait: 20 * time.Second}))
	must(t, db.Repair(ctx, change.Change{Kind: change.Put, Key: change.Key{mapping.Int(2)}, Row: change.Row{mapping.Int(2), mapping.Text("b"), mapping.Int(1)}}))
	if _, err := app.Exec("DELETE FROM items"); err == nil || !strings.Contains(err.Error(), "strangler:") {
		t.Error(err)
	}
	if b, err := db.Read(ctx, 0, 10); err != nil || len(b.Changes) != 1 || b.Marker != "m" {
		t.Errorf("%+v, %v", b, err)
	}
	exec(t, app, "CREATE TABLE child (id int PRIMARY KEY, item bigint REFERENCES items)")
	found, err = db.Preflight(ctx, change.Leading)
	must(t, err)
	if !slices.ContainsFunc(found, func(p change.Problem) bool { return p.Fatal && strings.Contains(p.Text, "foreign key") }) {
		t.Errorf("foreign keys it cannot switch off are not fatal: %v", found)
	}
}

// TestPreflightNamesWhatCannotBeMoved beyond what every database must find.
func TestPreflightNamesWhatCannotBeMoved(t *testing.T) {
	for name, c := range map[string]struct {
		schema, subject, text string
		role                  change.Role
		warning               bool
	}{
		"a view":                 {"CREATE VIEW x AS SELECT 1 AS id, 2 AS v", "x", "is not a table", change.Leading, false},
		"an unlogged table":      {"CREATE UNLOGGED TABLE x (id int PRIMARY KEY, v int)", "x", "is unlogged", change.Leading, false},
		"a generated column":     {"CREATE TABLE x (id int PRIMARY KEY, v int GENERATED ALWAYS AS (id + 1) STORED)", "x.v", "is generated", change.Leading, false},
		"an identity elsewhere":  {"CREATE TABLE x (id int PRIMARY KEY, v int GENERATED ALWAYS AS IDENTITY)", "x.v", "outside the key", change.Leading, false},
		"money":                  {"CREATE TABLE x (id int PRIMARY KEY, v money)", "x.v", "is of type money, which cannot be moved", change.Leading, false},
		"an object identifier":   {"CREATE TABLE x (id int PRIMARY KEY, v oid)", "x.v", "is of type oid", change.Leading, false},
		"a name of the catalog":  {"CREATE TABLE x (id int PRIMARY KEY, v regclass)", "x.v", "is of type regclass", change.Leading, false},
		"money in a row":         {"CREATE TYPE p AS (a int, b money[]); CREATE DOMAIN d AS p; CREATE TABLE x (id int PRIMARY KEY, v d)", "x.v", "of type p, which is made of money", change.Leading, false},
		"a key of an array":      {"CREATE TABLE x (id int[] PRIMARY KEY, v int)", "x.id", "of type integer[], by which rows are not looked up", change.Leading, false},
		"a foreign table":        {"CREATE FOREIGN DATA WRAPPER w; CREATE SERVER s FOREIGN DATA WRAPPER w; CREATE FOREIGN TABLE x (id int, v int) SERVER s", "x", "is a foreign table", change.Leading, false},
		"a foreign partition":    {"CREATE FOREIGN DATA WRAPPER w; CREATE SERVER s FOREIGN DATA WRAPPER w; CREATE TABLE x (id int, v int) PARTITION BY LIST (id); ALTER TABLE x REPLICA IDENTITY FULL; CREATE FOREIGN TABLE y PARTITION OF x FOR VALUES IN (1) SERVER s", "x", "has the partition y, which is a foreign table", change.Leading, false},
		"an unlogged partition":  {"CREATE TABLE x (id int PRIMARY KEY, v int) PARTITION BY LIST (id); CREATE UNLOGGED TABLE y PARTITION OF x FOR VALUES IN (1)", "x", "has the partition y, which is unlogged", change.Leading, false},
		"a table with heirs":     {"CREATE TABLE x (id int PRIMARY KEY, v int); CREATE TABLE y () INHERITS (x)", "x", "is inherited by y", change.Leading, false},
		"an heir":                {"CREATE TABLE y (id int, v int); CREATE TABLE x (PRIMARY KEY (id)) INHERITS (y)", "x", "inherits from y", change.Leading, false},
		"a partition":            {"CREATE TABLE y (id int PRIMARY KEY, v int) PARTITION BY LIST (id); CREATE TABLE x PARTITION OF y FOR VALUES IN (1)", "x", "is a partition of y", change.Leading, false},
		"a rule":                 {"CREATE TABLE x (id int PRIMARY KEY, v int); CREATE RULE r AS ON UPDATE TO x DO INSTEAD NOTHING", "x", "rule r rewrites", change.Following, false},
		"jsonb":                  {"CREATE TABLE x (id int PRIMARY KEY, v jsonb)", "x.v", "a spelling of its own", change.Leading, true},
		"a key that may be NULL": {"CREATE TABLE x (id int UNIQUE, v int); ALTER TABLE x REPLICA IDENTITY FULL", "x.id", "may be NULL", change.Leading, false},
		"no replica identity":    {"CREATE TABLE x (id int NOT NULL UNIQUE, v int)", "x", "does not name the key (id)", change.Leading, false},
		"another primary key":    {"CREATE TABLE x (id int NOT NULL UNIQUE, v int PRIMARY KEY)", "x", "does not name the key (id)", change.Leading, false},
		"a column left out":      {"CREATE TABLE x (id int PRIMARY KEY, v int, w int NOT NULL)", "x.w", "NOT NULL without a default", change.Following, false},
		"an insistent trigger":   {trigger + "ALTER TABLE x ENABLE ALWAYS TRIGGER tr", "x", "trigger tr also fires", change.Following, false},
		"one on the other side":  {trigger + "ALTER TABLE x ENABLE ALWAYS TRIGGER tr", "x", "trigger tr also fires", change.Leading, true},
		"a reference out of it":  {"CREATE TABLE y (id int PRIMARY KEY); CREATE TABLE x (id int PRIMARY KEY, v int REFERENCES y)", "x", "refers to y", change.Leading, true},
		"a reference into it":    {"CREATE TABLE x (id int PRIMARY KEY, v int); CREATE TABLE y (id int PRIMARY KEY, x int REFERENCES x)", "x", "is referred to by y", change.Leading, true},
		"an odd unique index":    {"CREATE TABLE x (id int PRIMARY KEY, v int); CREATE UNIQUE INDEX u ON x (v) WHERE v > 0", "x", "unique index u is not only", change.Leading, true},
	} {
		t.Run(name, func(t *testing.T) {
			s := fresh(t, c.schema, change.Table{Name: "x", Columns: []string{"id", "v"}, Key: []int{0}})
			found, err := s.db.Preflight(t.Context(), c.role)
			must(t, err)
			found = slices.DeleteFunc(found, func(p change.Problem) bool { return p.Subject == "max_slot_wal_keep_size" })
			if len(found) != 1 || found[0].Subject != c.subject || !strings.Contains(found[0].Text, c.text) || found[0].Fatal == c.warning || found[0].Hint == "" {
				t.Errorf("found %+v, want of %s: %s", found, c.subject, c.text)
			}
		})
	}
}

const trigger = `CREATE TABLE x (id int PRIMARY KEY, v int);
	CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
	CREATE TRIGGER tr BEFORE INSERT ON x FOR EACH ROW EXECUTE FUNCTION f();`

// TestATableThatCannotBePublishedIsNot: without a replica identity its updates
// would fail from then on.
func TestATableThatCannotBePublishedIsNot(t *testing.T) {
	s := fresh(t, "CREATE TABLE x (id int NOT NULL UNIQUE, v int); INSERT INTO x VALUES (1, 1)", change.Table{Name: "x", Columns: []string{"id", "v"}, Key: []int{0}})
	if err := s.db.Prepare(t.Context(), change.Leading); err == nil || !strings.Contains(err.Error(), "REPLICA IDENTITY") {
		t.Error(err)
	}
	exec(t, s.app, "UPDATE x SET v = 2")
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
