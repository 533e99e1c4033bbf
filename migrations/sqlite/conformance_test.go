package sqlite_test

import (
	"database/sql"
	"net/url"
	"path/filepath"
	"testing"

	"stranglerfig/migrations/change"
	"stranglerfig/migrations/change/changetest"
	"stranglerfig/migrations/sqlite"
)

const canonical = `
CREATE TABLE items (id INTEGER PRIMARY KEY AUTOINCREMENT, code TEXT NOT NULL UNIQUE, qty INTEGER NOT NULL, note TEXT NOT NULL DEFAULT 'kept');
CREATE TABLE tags (item INTEGER NOT NULL, name TEXT NOT NULL, weight INTEGER, PRIMARY KEY (item, name));`

// TestSQLiteKeepsEveryPromiseOfADatabase runs the conformance suite.
func TestSQLiteKeepsEveryPromiseOfADatabase(t *testing.T) {
	changetest.Run(t, func(t *testing.T) changetest.Fixture {
		path := filepath.Join(t.TempDir(), "side.db")
		writer := application(t, path, canonical)
		return changetest.Fixture{
			Writer: writer,
			Open: func(t *testing.T, side change.Side, tables []change.Table) change.Database {
				return opened(t, path, side, tables)
			},
			Objects: func(t *testing.T) []string { return objects(t, writer) },
		}
	})
}

// application opens a database as the application does, which may be another
// process: nothing is shared with the toolkit's connections but the file.
func application(t testing.TB, path, schema string) *sql.DB {
	t.Helper()
	return applicationIn(t, "wal", path, schema)
}

func applicationIn(t testing.TB, journal, path, schema string) *sql.DB {
	t.Helper()
	db, err := sql.Open("sqlite", "file:"+(&url.URL{Path: path}).EscapedPath()+"?_pragma=busy_timeout(20000)&_pragma=journal_mode("+journal+")&_pragma=synchronous(NORMAL)&_pragma=foreign_keys(1)")
	must(t, err)
	t.Cleanup(func() { db.Close() })
	exec(t, db, schema)
	return db
}

func opened(t testing.TB, path string, side change.Side, tables []change.Table) *sqlite.DB {
	t.Helper()
	return openedFor(t, "move", path, side, tables)
}

func openedFor(t testing.TB, move, path string, side change.Side, tables []change.Table) *sqlite.DB {
	t.Helper()
	db, err := sqlite.Open(t.Context(), path, move, side, tables)
	must(t, err)
	t.Cleanup(func() { db.Close() })
	return db
}

// objects describes the schema.
func objects(t testing.TB, db *sql.DB) []string {
	t.Helper()
	rows, err := db.Query("SELECT type || ' ' || name || ': ' || coalesce(sql, '') FROM sqlite_schema ORDER BY type, name")
	must(t, err)
	defer rows.Close()
	var all []string
	for rows.Next() {
		var s string
		must(t, rows.Scan(&s))
		all = append(all, s)
	}
	must(t, rows.Err())
	return all
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func exec(t testing.TB, db *sql.DB, query string, args ...any) {
	t.Helper()
	if _, err := db.Exec(query, args...); err != nil {
		t.Fatalf("%s: %v", query, err)
	}
}
