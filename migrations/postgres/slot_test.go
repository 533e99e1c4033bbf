package postgres_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"stranglerfig/migrations/change"
	"stranglerfig/migrations/change/changetest"
	"stranglerfig/migrations/mapping"
	"stranglerfig/migrations/postgres"
)

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

// TestATransactionThatIsTooLargeForTheMemoryPausesAndIsNotHeld, and a large one
// is followed.
func TestATransactionThatIsTooLargeForTheMemoryPausesAndIsNotHeld(t *testing.T) {
	const schema = "CREATE TABLE x (id int PRIMARY KEY, v text)"
	leader, follower := prepared(t, change.Leading, schema, twoColumns), prepared(t, change.Following, schema, twoColumns)
	exec(t, leader.app, "INSERT INTO x SELECT i, 'v' FROM generate_series(1, 30000) AS i")
	exec(t, leader.app, "DELETE FROM x WHERE id > 1000")
	follower.follow(leader)
	expectSame(t, leader, follower, "x")
	from := leader.head()
	exec(t, leader.app, "INSERT INTO x SELECT i, repeat('many', 4000000) FROM generate_series(100001, 100020) AS i")
	if _, err := leader.db.Read(t.Context(), from, 10); !errors.Is(err, change.ErrCannotFollow) || !strings.Contains(err.Error(), "more than 500000 rows or 256 MiB of table x") {
		t.Error(err)
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

// TestARefreshedDatabaseMeetsNoBrokenConnection: one that was used a moment ago
// is handed out without a look otherwise.
func TestARefreshedDatabaseMeetsNoBrokenConnection(t *testing.T) {
	s := prepared(t, change.Leading, canonical, changetest.Tables()...)
	attempt, err := s.db.BumpAttempt(t.Context())
	must(t, err)
	must(t, s.db.Unfence(t.Context(), 1))
	const others = "FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend'"
	exec(t, s.app, "SELECT pg_terminate_backend(pid) "+others)
	for s.number("SELECT count(*) "+others) > 0 {
		if t.Context().Err() != nil {
			t.Fatal("the connections stay")
		}
	}
	s.db.Refresh(t.Context())
	next, err := s.db.BumpAttempt(t.Context())
	must(t, err)
	if next != attempt+1 {
		t.Errorf("the attempt rose from %d to %d", attempt, next)
	}
	must(t, s.db.Fence(t.Context(), change.Fence{Epoch: 1, Marker: "m", Wait: 20 * time.Second}))
}
