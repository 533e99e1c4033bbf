package postgres_test

import (
	"database/sql"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"stranglerfig/migrations/backfill"
	"stranglerfig/migrations/change"
	"stranglerfig/migrations/mapping"
	"stranglerfig/migrations/sqlite"
)

// sqliteType declares what a column of a type becomes on SQLite: a number or
// bytes where it has such, and a text for everything else.
func sqliteType(of string) string {
	switch strings.Split(of, "(")[0] {
	case "smallint", "int", "bigint", "bool", "positive", "small":
		return "INTEGER"
	case "real", "double precision":
		return "REAL"
	case "bytea":
		return "BLOB"
	}
	return "TEXT"
}

// TestEveryTypeGoesToSQLiteAndBack: by the copy and by the log, as the canonical
// values that both know.
func TestEveryTypeGoesToSQLiteAndBack(t *testing.T) {
	unlessShort(t)
	needServer(t)
	plan, schema := typesPlan(t)
	leader := prepared(t, change.Leading, schema, tables(plan, change.Monolith)...)
	path := filepath.Join(t.TempDir(), "service.db")
	lite, err := sql.Open("sqlite", "file:"+path)
	must(t, err)
	t.Cleanup(func() { lite.Close() })
	for i, of := range everyMovableType {
		exec(t, lite, fmt.Sprintf("CREATE TABLE t%d (id INTEGER PRIMARY KEY, v %s, n INTEGER)", i, sqliteType(of.of)))
	}
	follower, err := sqlite.OpenExclusive(t.Context(), path, "move", change.Service, tables(plan, change.Service))
	must(t, err)
	t.Cleanup(func() { follower.Close() })
	must(t, follower.Prepare(t.Context(), change.Following))
	leader.fill(1)
	must(t, backfill.Run(t.Context(), backfill.Options{Plan: plan, Source: leader.db, Target: follower}))
	leader.fill(1000)
	leader.stir(1000)
	start := ^change.Position(0)
	for i := range plan.Tables {
		l, err := follower.Loaded(t.Context(), i)
		must(t, err)
		start = min(start, l.At)
	}
	cp, err := follower.TakeStream(t.Context(), "stream", "runner", start)
	must(t, err)
	for {
		b, err := leader.db.Read(t.Context(), cp.Position, 10_000)
		must(t, err)
		if b.To == cp.Position {
			break
		}
		must(t, follower.Apply(t.Context(), "stream", "runner", b))
		cp.Position = b.To
	}

	back := prepared(t, change.Following, schema, tables(plan, change.Monolith)...)
	for i := range plan.Tables {
		ours, err := leader.db.Scan(t.Context(), i, nil, 1000)
		must(t, err)
		theirs, err := follower.Scan(t.Context(), i, nil, 1000)
		must(t, err)
		if len(ours) != len(theirs) || len(ours) < 3 {
			t.Fatalf("%s: %d rows and %d", everyMovableType[i].of, len(ours), len(theirs))
		}
		for j, row := range theirs {
			for c := range row {
				if !row[c].Equal(ours[j][c]) {
					t.Errorf("%s: %s is kept as %s", everyMovableType[i].of, mapping.EncodeKey(ours[j][c:c+1]), mapping.EncodeKey(row[c:c+1]))
				}
			}
			must(t, back.db.Repair(t.Context(), change.Change{Table: i, Kind: change.Put, Key: row[:1], Row: row}))
		}
	}
	for i, of := range everyMovableType {
		if sqliteType(of.of) == "REAL" { // SQLite has no negative zero
			exec(t, leader.app, fmt.Sprintf("UPDATE t%d SET v = 0 WHERE v = 0", i))
		}
	}
	expectSameTypes(t, leader, back)
}
