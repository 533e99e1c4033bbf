package postgres_test

import (
	"errors"
	"testing"

	"stranglerfig/migrations/change"
)

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

// withLargeValues is a leader and a follower of so many rows, each with a unique
// code and with a value that is too large to be stored in it.
func withLargeValues(t *testing.T, rows int) (leader, follower *side) {
	t.Helper()
	const schema = "CREATE TABLE x (id int PRIMARY KEY, code text NOT NULL UNIQUE, n int, big text); ALTER TABLE x ALTER big SET STORAGE EXTERNAL"
	table := change.Table{Name: "x", Columns: []string{"id", "code", "n", "big"}, Key: []int{0}}
	leader, follower = prepared(t, change.Leading, schema, table), prepared(t, change.Following, schema, table)
	exec(t, leader.app, "INSERT INTO x SELECT i, 'code ' || i, 1, repeat(i::text, 10000) FROM generate_series(1, $1::int) AS i", rows)
	follower.follow(leader)
	return leader, follower
}

// TestABatchHoldsWhatItsRowsWereAtItsEnd, apart from large values that the log
// does not repeat: two rows have exchanged a unique value in a transaction that
// is too late for the batch, and one of them has a large value.
func TestABatchHoldsWhatItsRowsWereAtItsEnd(t *testing.T) {
	leader, follower := withLargeValues(t, 3)
	exec(t, leader.app, "BEGIN; UPDATE x SET n = 2 WHERE id = 1; UPDATE x SET n = 2, big = NULL WHERE id = 2; UPDATE x SET big = repeat('y', 10000) WHERE id = 3; UPDATE x SET n = 2 WHERE id = 3; COMMIT")
	exec(t, leader.app, "INSERT INTO x SELECT i, 'code ' || i, 1, NULL FROM generate_series(10, 5000) AS i") // more than is read at once
	exec(t, leader.app, "UPDATE x SET code = 'aside' WHERE id = 1; UPDATE x SET code = 'code 1' WHERE id = 2; UPDATE x SET code = 'code 2' WHERE id = 1")
	exec(t, leader.app, "UPDATE x SET big = 'small' WHERE id = 3")
	cp, err := follower.db.TakeStream(t.Context(), "stream", "runner", 0)
	must(t, err)
	b, err := leader.db.Read(t.Context(), cp.Position, 100)
	must(t, err)
	if len(b.Changes) != 3 {
		t.Fatalf("the batch has %d changes, and should have the first transaction's alone", len(b.Changes))
	}
	for i, want := range []string{"code 1", "code 2", "code 3"} {
		if code := b.Changes[i].Row[1].Text(); code != want {
			t.Errorf("row %d has %s at the end of the batch, should have %s", i+1, code, want)
		}
	}
	if big := b.Changes[2].Row[3].Text(); len(big) != 10000 {
		t.Errorf("a value that the batch has itself is %q", big)
	}
	must(t, follower.db.Apply(t.Context(), "stream", "runner", b))
	follower.follow(leader)
	expectSame(t, leader, follower, "x")
}

// TestLargeRowsAreReadAFewAtATime, however many changes were asked for.
func TestLargeRowsAreReadAFewAtATime(t *testing.T) {
	const schema = "CREATE TABLE x (id int PRIMARY KEY, v text)"
	leader, follower := prepared(t, change.Leading, schema, twoColumns), prepared(t, change.Following, schema, twoColumns)
	for i := range 100 {
		exec(t, leader.app, "INSERT INTO x VALUES ($1, repeat('m', 1000000))", i)
	}
	b, err := leader.db.Read(t.Context(), 0, 1000)
	must(t, err)
	if n := len(b.Changes); n < 10 || n > 34 {
		t.Errorf("%d rows of a megabyte were read at once", n)
	}
	follower.follow(leader)
	expectSame(t, leader, follower, "x")
}

// TestALargeValueThatDidNotChangeDoesNotTravel: the follower keeps its own, except
// where the row came from another key.
func TestALargeValueThatDidNotChangeDoesNotTravel(t *testing.T) {
	leader, follower := withLargeValues(t, 6)
	cp, err := follower.db.TakeStream(t.Context(), "stream", "runner", 0)
	must(t, err)
	exec(t, leader.app, "UPDATE x SET n = 2 WHERE id = 1")
	exec(t, leader.app, "UPDATE x SET n = 2, big = big || 'longer' WHERE id = 2; UPDATE x SET n = 3 WHERE id = 2")
	exec(t, leader.app, "UPDATE x SET id = 33 WHERE id = 3; UPDATE x SET n = 4 WHERE id = 33")
	b, err := leader.db.ReadSparse(t.Context(), cp.Position, 100)
	must(t, err)
	for id, lacks := range map[string]bool{"1": true, "2": false, "33": false} {
		for _, c := range b.Changes {
			if change.KeyString(c.Key) == id && c.Kind == change.Put && (len(c.Absent) > 0 != lacks || len(c.Row[3].Text()) > 9000 == lacks) {
				t.Errorf("key %s lacks %v and has %d letters", id, c.Absent, len(c.Row[3].Text()))
			}
		}
	}
	follower.follow(leader)
	expectSame(t, leader, follower, "x")

	// An exchange of a unique value needs more care, and a row that is not there the
	// leader's.
	exec(t, leader.app, "UPDATE x SET code = 'aside' WHERE id = 4; UPDATE x SET code = 'code 4' WHERE id = 5; UPDATE x SET code = 'code 5' WHERE id = 4; UPDATE x SET id = id WHERE id = 6")
	follower.follow(leader)
	expectSame(t, leader, follower, "x")
	must(t, follower.db.Repair(t.Context(), change.Change{Kind: change.Delete, Key: b.Changes[0].Key}))
	exec(t, leader.app, "UPDATE x SET n = 5 WHERE id IN (1, 6)")
	cp, err = follower.db.TakeStream(t.Context(), "stream", "runner", 0)
	must(t, err)
	b, err = leader.db.ReadSparse(t.Context(), cp.Position, 100)
	must(t, err)
	if err := follower.db.Apply(t.Context(), "stream", "runner", b); !errors.Is(err, change.ErrIncomplete) || follower.number("SELECT count(*) FROM x WHERE n = 5") > 0 {
		t.Errorf("%v", err)
	}
	follower.follow(leader)
	expectSame(t, leader, follower, "x")
}
