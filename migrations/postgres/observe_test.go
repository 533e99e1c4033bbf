package postgres_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"stranglerfig/migrations/change"
	"stranglerfig/migrations/change/changetest"
	"stranglerfig/migrations/mapping"
)

// session runs statements in a session of an application.
func (s *side) session(application string, statements ...string) {
	s.Helper()
	conn, err := pgx.Connect(s.Context(), s.dsn+"&application_name="+application)
	must(s.T, err)
	defer conn.Close(context.Background())
	for _, q := range statements {
		_, err := conn.Exec(s.Context(), q)
		must(s.T, err)
	}
}

// TestWhoeverWritesIsSeen once a session, by name and statement, and our own
// appliers are not.
func TestWhoeverWritesIsSeen(t *testing.T) {
	s := fresh(t, canonical, changetest.Tables()...)
	before := objects(t, s.app)
	if _, err := s.db.Sightings(t.Context()); !errors.Is(err, change.ErrNotObserved) {
		t.Errorf("before the observation: %v", err)
	}
	must(t, s.db.Observe(t.Context(), true))
	must(t, s.db.Observe(t.Context(), true))
	s.session("shop", "INSERT INTO items (id, code, qty) VALUES (1, 'a', 1)", "INSERT INTO items (id, code, qty) VALUES (2, 'b', 1)", "SELECT * FROM items")
	s.session("nightly-job", "UPDATE items SET qty = 7", "BEGIN; DELETE FROM tags; ROLLBACK")
	s.session("shop", "INSERT INTO items (id, code, qty) VALUES (3, 'c', 1)")
	must(t, s.db.Prepare(t.Context(), change.Leading))
	must(t, s.db.Repair(t.Context(), change.Change{Kind: change.Put, Key: change.Key{mapping.Int(9)}, Row: change.Row{mapping.Int(9), mapping.Text("z"), mapping.Int(1)}}))
	seen, err := s.db.Sightings(t.Context())
	must(t, err)
	if len(seen) != 2 {
		t.Fatalf("%+v", seen)
	}
	shop, job := seen[0], seen[1]
	if shop.Application != "shop" || shop.Operation != "insert" || shop.Table != "items" || shop.Sessions != 2 || !strings.Contains(shop.Statement, "'c'") || shop.Role == "" || shop.Client == "" {
		t.Errorf("%+v", shop)
	}
	if job.Application != "nightly-job" || job.Operation != "update" || job.Sessions != 1 || job.First.IsZero() {
		t.Errorf("%+v", job)
	}
	must(t, s.db.Unprepare(t.Context(), false))
	if after := objects(t, s.app); strings.Join(before, "\n") != strings.Join(after, "\n") {
		t.Errorf("before %v\nafter %v", before, after)
	}
	must(t, s.db.Observe(t.Context(), true))
	must(t, s.db.Observe(t.Context(), false))
	must(t, s.db.Observe(t.Context(), false))
	if after := objects(t, s.app); strings.Join(before, "\n") != strings.Join(after, "\n") {
		t.Errorf("before %v\nafter %v", before, after)
	}
}

// TestAnObservationNeverMakesAWriterFail, even where its notes cannot be kept,
// or the writer may not see them.
func TestAnObservationNeverMakesAWriterFail(t *testing.T) {
	s := fresh(t, canonical, changetest.Tables()...)
	must(t, s.db.Observe(t.Context(), true))
	exec(t, s.app, "DO $$DECLARE name text; BEGIN SELECT nspname INTO name FROM pg_namespace WHERE nspname LIKE '%\\_seen'; EXECUTE format('ALTER TABLE %I.sighting ADD CHECK (false)', name); END$$")
	s.session("shop", "INSERT INTO items (id, code, qty) VALUES (1, 'a', 1)", "TRUNCATE tags")
	if n := s.number("SELECT count(*) FROM items"); n != 1 {
		t.Errorf("%d rows", n)
	}
	seen, err := s.db.Sightings(t.Context())
	if err != nil || len(seen) > 0 {
		t.Errorf("%+v, %v", seen, err)
	}
}
