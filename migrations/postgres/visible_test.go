package postgres_test

import (
	"context"
	"database/sql"
	"errors"
	"testing"
	"time"

	"stranglerfig/contract-tests/harness"
	"stranglerfig/contract-tests/harness/require"
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
	app := application(t, dsn, "CREATE TABLE item (id bigint PRIMARY KEY, text text); CREATE TABLE other (id bigint)")
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
	probed, committed := make(chan error, 1), make(chan error, 1)
	untilACommitWaits(t, app, admin, probed)
	go func() {
		_, err := app.ExecContext(t.Context(), "INSERT INTO item VALUES (1, 'x')")
		committed <- err
	}()

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
	must(t, <-probed)
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
	if errors.Is(err, harness.ErrNoPostgres) {
		require.Missing(t, "postgres", err)
	}
	must(t, err)
	t.Cleanup(server.Stop)
	return server
}

// untilACommitWaits commits until a commit waits for a standby, and tells when that
// one has returned: a server that has read that it is to wait does so only when its
// checkpointer has read it too.
func untilACommitWaits(t *testing.T, app, admin *sql.DB, returned chan<- error) {
	t.Helper()
	for {
		done := make(chan error, 1)
		go func() {
			_, err := app.ExecContext(t.Context(), "INSERT INTO other VALUES (1)")
			done <- err
		}()
		for waits, ended := false, false; !ended; {
			must(t, admin.QueryRowContext(t.Context(), "SELECT EXISTS (SELECT 1 FROM pg_stat_activity WHERE wait_event = 'SyncRep')").Scan(&waits))
			if waits {
				go func() { returned <- <-done }()
				return
			}
			select {
			case err := <-done:
				must(t, err)
				ended = true
			default:
			}
		}
	}
}
