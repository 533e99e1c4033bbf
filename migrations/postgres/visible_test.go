package postgres_test

import (
	"context"
	"database/sql"
	"errors"
	"testing"
	"time"

	"stranglerfig/contract-tests/harness"
	"stranglerfig/migrations/change"
)

// TestWhatTheLogHasToldOfIsSeenWhenItsRowIsLookedUp has a commit that is in the
// log and that others cannot see yet, because it waits for a standby that is not
// there. A row that is looked up then is waited for: told as missing, a quick
// follower would be taken to hold what its owner does not have.
func TestWhatTheLogHasToldOfIsSeenWhenItsRowIsLookedUp(t *testing.T) {
	server := ownServer(t, "fsync=off")
	dsn, _, err := server.Database(t.Context(), "visible") // which goes with its server
	must(t, err)
	app := application(t, dsn, "CREATE TABLE item (id bigint PRIMARY KEY, text text)")
	db := opened(t, dsn, change.Monolith, []change.Table{{Name: "item", Key: []int{0}, Columns: []string{"id", "text"}}})
	must(t, db.Prepare(t.Context(), change.Leading))
	before, err := db.Head(t.Context())
	must(t, err)

	admin := application(t, server.DSN, "SELECT 1")
	waitForStandby := func(names string) {
		exec(t, admin, "ALTER SYSTEM SET synchronous_standby_names = '"+names+"'")
		exec(t, admin, "SELECT pg_reload_conf()")
	}
	waitForStandby("nobody")
	t.Cleanup(func() { waitForStandby("") })
	committed := make(chan error, 1)
	conn, err := app.Conn(t.Context())
	must(t, err)
	go func() { committed <- insertUnderSync(t.Context(), conn) }()

	var touched []change.Change
	for len(touched) == 0 {
		touched, _, err = db.Touched(t.Context(), before, 10)
		must(t, err)
	}
	brief, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if rows, err := db.Lookup(brief, 0, []change.Key{touched[0].Key}); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("a row that nobody can see yet was told as %v, %v", rows, err)
	}
	waitForStandby("")
	must(t, <-committed)
	rows, err := db.Lookup(t.Context(), 0, []change.Key{touched[0].Key})
	must(t, err)
	if rows[0] == nil {
		t.Error("the row is missing although its commit has returned")
	}
}

// ownServer starts a server with settings that others would not want.
func ownServer(t *testing.T, settings ...string) *harness.Cluster {
	t.Helper()
	needServer(t)
	server, err := harness.NewCluster(t.Context(), settings...)
	if errors.Is(err, harness.ErrNoPostgres) && !harness.Required("postgres") {
		t.Skip(err)
	}
	must(t, err)
	t.Cleanup(server.Stop)
	return server
}

// insertUnderSync inserts a row in a session whose commits wait for a standby
// whatever the server's default has become by then.
func insertUnderSync(ctx context.Context, conn *sql.Conn) error {
	defer conn.Close()
	for {
		var names string
		if err := conn.QueryRowContext(ctx, "SHOW synchronous_standby_names").Scan(&names); err != nil {
			return err
		}
		if names == "nobody" {
			break
		}
	}
	_, err := conn.ExecContext(ctx, "INSERT INTO item VALUES (1, 'x')")
	return err
}
