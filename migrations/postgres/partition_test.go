package postgres_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"stranglerfig/migrations/change"
)

const partitioned = `CREATE TABLE p (id int PRIMARY KEY, n int) PARTITION BY RANGE (id);
	CREATE TABLE p_low PARTITION OF p FOR VALUES FROM (0) TO (100);
	CREATE TABLE p_high PARTITION OF p FOR VALUES FROM (100) TO (200) PARTITION BY RANGE (id);
	CREATE TABLE p_higher PARTITION OF p_high FOR VALUES FROM (150) TO (200);`

var partitionedTable = change.Table{Name: "p", Columns: []string{"id", "n"}, Key: []int{0}}

// TestPartitionsThatComeEmptyAreTakenIn: their rows are in the log, whatever
// transaction wrote them.
func TestPartitionsThatComeEmptyAreTakenIn(t *testing.T) {
	for name, query := range map[string]string{
		"created":                         "CREATE TABLE p_new PARTITION OF p FOR VALUES FROM (200) TO (300)",
		"created and filled at once":      "BEGIN; CREATE TABLE p_new PARTITION OF p FOR VALUES FROM (200) TO (300); INSERT INTO p SELECT i, 1 FROM generate_series(210, 220) AS i; COMMIT",
		"created and attached at once":    "BEGIN; CREATE TABLE p_new (LIKE p INCLUDING ALL); ALTER TABLE p ATTACH PARTITION p_new FOR VALUES FROM (200) TO (300); INSERT INTO p VALUES (210, 1); COMMIT",
		"attached empty and then written": "CREATE TABLE p_new (LIKE p INCLUDING ALL); ALTER TABLE p ATTACH PARTITION p_new FOR VALUES FROM (200) TO (300); INSERT INTO p_new VALUES (210, 1)",
		"a part of a part":                "CREATE TABLE p_new PARTITION OF p_high FOR VALUES FROM (100) TO (150); INSERT INTO p VALUES (110, 1)",
		"a part that has parts":           "CREATE TABLE p_news (LIKE p INCLUDING ALL) PARTITION BY LIST (id); CREATE TABLE p_new PARTITION OF p_news DEFAULT; ALTER TABLE p ATTACH PARTITION p_news FOR VALUES FROM (200) TO (300); INSERT INTO p VALUES (210, 1)",
	} {
		t.Run(name, func(t *testing.T) {
			leader := prepared(t, change.Leading, partitioned, partitionedTable)
			follower := prepared(t, change.Following, "CREATE TABLE p (id int PRIMARY KEY, n int)", partitionedTable)
			exec(t, leader.app, query)
			for range 2 {
				must(t, leader.db.Attend(t.Context()))
			}
			follower.follow(leader)
			expectSame(t, leader, follower, "p")
			before := leader.head()
			exec(t, leader.app, "TRUNCATE p_new")
			if _, err := leader.db.Read(t.Context(), before, 10); !errors.Is(err, change.ErrCannotFollow) || !strings.Contains(err.Error(), "partition p_new was truncated") {
				t.Errorf("it is truncated, and %v", err)
			}
		})
	}
}

// TestRowsThatComeOrGoWithAPartitionStopTheMove: the log does not tell of them.
func TestRowsThatComeOrGoWithAPartitionStopTheMove(t *testing.T) {
	const attach = "ALTER TABLE p ATTACH PARTITION p_new FOR VALUES FROM (200) TO (300)"
	for name, c := range map[string]struct{ query, text string }{
		"attached":                     {"CREATE TABLE p_new (LIKE p INCLUDING ALL); INSERT INTO p_new VALUES (210, 1); " + attach, "partition p_new of table p was attached with rows"},
		"filled and attached at once":  {"BEGIN; CREATE TABLE p_new (LIKE p INCLUDING ALL); INSERT INTO p_new VALUES (210, 1); " + attach + "; COMMIT", "p_new of table p was attached with rows"},
		"attached with parts":          {"CREATE TABLE p_new (LIKE p INCLUDING ALL) PARTITION BY LIST (id); CREATE TABLE p_news PARTITION OF p_new DEFAULT; INSERT INTO p_new VALUES (210, 1); " + attach, "p_news of table p was attached with rows"},
		"detached":                     {"ALTER TABLE p DETACH PARTITION p_low", "p_low of table p was detached or dropped"},
		"dropped":                      {"DROP TABLE p_higher", "p_higher of table p was detached or dropped"},
		"detached, and attached again": {"ALTER TABLE p DETACH PARTITION p_low; ALTER TABLE p ATTACH PARTITION p_low FOR VALUES FROM (0) TO (100)", "p_low of table p was detached or dropped"},
	} {
		t.Run(name, func(t *testing.T) {
			leader := prepared(t, change.Leading, partitioned, partitionedTable)
			exec(t, leader.app, "INSERT INTO p VALUES (1, 1), (160, 1)")
			must(t, leader.db.Attend(t.Context()))
			exec(t, leader.app, c.query)
			if err := leader.db.Attend(t.Context()); !errors.Is(err, change.ErrCannotFollow) || !strings.Contains(err.Error(), c.text) || !strings.Contains(err.Error(), "resume the move") {
				t.Errorf("%v", err)
			}
			err := leader.db.Fence(t.Context(), change.Fence{Epoch: 1, Marker: "m", Wait: 20 * time.Second})
			if !errors.Is(err, change.ErrCannotFollow) {
				t.Errorf("a switch would lose them: %v", err)
			}
			exec(t, leader.app, "UPDATE p SET n = 2")
			// Once the log begins anew, a verification finds them.
			_, err = leader.db.Recut(t.Context())
			must(t, err)
			must(t, leader.db.Attend(t.Context()))
			must(t, leader.db.Fence(t.Context(), change.Fence{Epoch: 1, Marker: "m", Wait: 20 * time.Second}))
		})
	}
}

// TestAPartitionThatComesToAFencedSideIsFencedToo.
func TestAPartitionThatComesToAFencedSideIsFencedToo(t *testing.T) {
	follower := prepared(t, change.Following, partitioned, partitionedTable)
	exec(t, follower.app, "CREATE TABLE p_new PARTITION OF p FOR VALUES FROM (200) TO (300)")
	must(t, follower.db.Attend(t.Context()))
	if _, err := follower.app.Exec("INSERT INTO p_new VALUES (210, 1)"); err == nil || !strings.Contains(err.Error(), "strangler:") {
		t.Errorf("past the table's own fence: %v", err)
	}
	must(t, follower.db.Claim(t.Context(), change.Claim{Epoch: 2}))
	exec(t, follower.app, "INSERT INTO p_new VALUES (210, 1)")
	before := objects(t, follower.app)
	must(t, follower.db.Unprepare(t.Context(), false))
	for _, o := range objects(t, follower.app) {
		if strings.Contains(o, "strangler") {
			t.Errorf("%s is left of %d", o, len(before))
		}
	}
}
