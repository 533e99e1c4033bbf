package pair_test

import (
	"context"
	"database/sql"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"stranglerfig/migrations/change"
	"stranglerfig/migrations/engine"
	"stranglerfig/migrations/pair"
	"stranglerfig/migrations/sqlite"
)

// mirrored is a store of its own beside the monolith's database, which had the
// same rows when it began.
type mirrored struct {
	*pair.Mirror
	t               *testing.T
	monolith, store *sql.DB
	files           [2]string // DSNs of both
}

func newMirror(t *testing.T) *mirrored {
	t.Helper()
	dir := t.TempDir()
	x := &mirrored{t: t, monolith: database(t, filepath.Join(dir, "m.db"), theMonolith), files: [2]string{"sqlite:" + filepath.Join(dir, "m.db"), "sqlite:" + filepath.Join(dir, "s.db")},
		store: database(t, filepath.Join(dir, "s.db"), theService+`; INSERT INTO invoices VALUES (1, 'INV-1', 1250, '2026-01-01 10:00:00'), (2, 'INV-2', 700, '2026-01-02 10:00:00');
			INSERT INTO payments VALUES (5, 1, NULL, 1); UPDATE sqlite_sequence SET seq = 39 WHERE name = 'invoices'; UPDATE sqlite_sequence SET seq = 79 WHERE name = 'payments'`)}
	x.open()
	return x
}

func (x *mirrored) open() {
	x.t.Helper()
	var err error
	x.Mirror, err = pair.OpenMirror(x.t.Context(), plan(x.t), x.files[0], x.files[1])
	must(x.t, err)
}

func (x *mirrored) close() {
	x.t.Helper()
	must(x.t, x.Close(context.Background()))
}

// write has both sides write and answer, and returns the rows that the store has
// written.
func (x *mirrored) write(monolith, store, ourAnswer, theirAnswer string) []*pair.Row {
	x.t.Helper()
	_, err := x.monolith.Exec(monolith)
	must(x.t, err)
	must(x.t, x.Mark(x.t.Context()))
	_, err = x.store.Exec(store)
	must(x.t, err)
	rows, err := x.Written(x.t.Context(), []byte(ourAnswer), []byte(theirAnswer))
	must(x.t, err)
	return rows
}

// says compares rows and says what was found, a row a line.
func (x *mirrored) says(rows []*pair.Row) string {
	x.t.Helper()
	var lines []string
	for _, row := range rows {
		c, err := row.Compare(x.t.Context())
		must(x.t, err)
		line := "alike"
		if c.Unknown {
			line = "unknown"
		}
		for _, d := range c.Differences {
			line = d.String()
		}
		for word, holds := range map[string]bool{"made": c.Made, "known": !c.Alike.IsZero(), "moved": c.Moved} {
			if holds {
				line = word + ", " + line
			}
		}
		lines = append(lines, line)
	}
	return strings.Join(lines, "\n")
}

func TestRowsOfAStoreOfItsOwnAreHeldAgainstTheMonoliths(t *testing.T) {
	x := newMirror(t)
	defer x.close()
	want := func(what, want string, rows []*pair.Row) {
		t.Helper()
		got := x.says(rows)
		if !strings.Contains(got, want) || strings.Count(got, "\n") != strings.Count(want, "\n") {
			t.Errorf("%s: %q, want %q", what, got, want)
		}
	}
	made := func(id int, at string) string {
		return fmt.Sprintf("INSERT INTO inv (no, amount, created) VALUES ('INV-%d', 3.10, '%s')", id, at)
	}
	copied := func(id, cents int, at string) string {
		return fmt.Sprintf("INSERT INTO invoices (number, cents, made) VALUES ('INV-%d', %d, '%s')", id, cents, at)
	}
	const now, soon = "2026-05-01 10:00:00", "2026-05-01 10:00:02"
	want("one that was made, under another id", "made, alike",
		x.write(made(3, now), copied(40, 310, soon), `{"invoice":{"ID":3}}`, `{"invoice":{"ID":40}}`))
	want("and changed afterwards, on one side otherwise", "known, invoices [3] cents: the monolith wrote 500, the service 501",
		x.write("UPDATE inv SET amount = 5 WHERE id = 3", "UPDATE invoices SET cents = 501 WHERE id = 40", "", ""))
	want("one that refers to it", "made, alike",
		x.write("INSERT INTO pay (inv_id) VALUES (3)", "INSERT INTO payments (invoice_id) VALUES (40)", `{"id":6,"inv_id":3}`, `{"id":80,"inv_id":40}`))
	want("one that refers to another", "made, payments [7] invoice_id: the monolith wrote 3, the service 2",
		x.write("INSERT INTO pay (inv_id) VALUES (3)", "INSERT INTO payments (invoice_id) VALUES (2)", `{"id":7}`, `{"id":81}`))
	want("one whose id no answer tells", "made, unknown",
		x.write("INSERT INTO pay (inv_id) VALUES (3)", "INSERT INTO payments (invoice_id) VALUES (40)", `{"inv_id":3}`, `{"inv_id":40}`))
	want("one that was made with another value", "made, invoices [4] cents: the monolith wrote 310, the service 311",
		x.write(made(4, now), copied(41, 311, now), `{"id":4}`, `{"id":41}`))
	want("one that both had before", "invoices [2] cents: the monolith wrote 800, the service 900",
		x.write("UPDATE inv SET amount = 8 WHERE id = 2", "UPDATE invoices SET cents = 900 WHERE id = 2", `{"id":2}`, `{"id":2}`))
	want("and is alike now", "alike", x.write("SELECT 1", "UPDATE invoices SET cents = 800 WHERE id = 2", "", ""))
	want("deleted on both sides", "known, alike", x.write("DELETE FROM inv WHERE id = 2", "DELETE FROM invoices WHERE id = 2", "", ""))
	want("deleted on one side", "the monolith wrote id=5", x.write("SELECT 1", "DELETE FROM payments WHERE id = 5", "", ""))
	want("two rows, parents first", "made, alike\nmade, alike", x.write(made(5, now)+"; INSERT INTO pay (inv_id) VALUES (5)",
		"INSERT INTO payments (invoice_id) VALUES (42); "+copied(42, 310, now), `[{"id":5},{"pay":{"id":9}}]`, `[{"id":42},{"pay":{"id":83}}]`))
}

func TestAStoresLogIsForgottenWhileNobodyLooks(t *testing.T) {
	x := newMirror(t)
	defer x.close()
	logged := func() (n int) {
		must(t, x.store.QueryRow("SELECT count(*) FROM strangler_log").Scan(&n))
		return n
	}
	fill := func(n int) {
		_, err := x.store.Exec(fmt.Sprintf("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < %d) INSERT INTO payments (invoice_id) SELECT 1 FROM n", n))
		must(t, err)
	}
	tend := func() {
		_, err := x.Tend(t.Context())
		must(t, err)
	}
	fill(6_000) // as somebody loads a copy
	tend()
	if n := logged(); n != 0 {
		t.Errorf("%d entries are still there", n)
	}
	must(t, x.Mark(t.Context()))
	_, err := x.store.Exec("UPDATE invoices SET cents = 900 WHERE id = 1")
	must(t, err)
	tend()
	rows, err := x.Written(t.Context(), nil, nil)
	must(t, err)
	if len(rows) != 1 {
		t.Errorf("%d rows are seen of the one that is being looked for", len(rows))
	}
	must(t, x.Mark(t.Context()))
	fill(1_001)
	if _, err := x.Written(t.Context(), nil, nil); err == nil || !strings.Contains(err.Error(), "more than 1000 rows") {
		t.Errorf("a load is looked at: %v", err)
	}
}

func TestARowThatMovesIsSaidToMove(t *testing.T) {
	x := newMirror(t)
	defer x.close()
	rows := x.write("UPDATE inv SET amount = 9 WHERE id = 1", "UPDATE invoices SET cents = 800 WHERE id = 1", "", "")
	for n, step := range []struct{ query, says string }{
		{"SELECT 1", "invoices [1] cents"},
		{"SELECT 1", "invoices [1] cents"},
		{"UPDATE inv SET amount = 10 WHERE id = 1", "moved, invoices [1] cents: the monolith wrote 1000"},
		{"UPDATE inv SET amount = 8 WHERE id = 1", "moved, alike"},
	} {
		_, err := x.monolith.Exec(step.query)
		must(t, err)
		if got := x.says(rows); !strings.HasPrefix(got, step.says) {
			t.Errorf("look %d: %q, want %q", n, got, step.says)
		}
	}
}

func TestAStoreThatWasLeftInstalledIsTakenUpAndAMovesDatabaseIsNone(t *testing.T) {
	x := newMirror(t)
	x.close()
	var n int
	must(t, x.store.QueryRow("SELECT count(*) FROM sqlite_schema WHERE name LIKE '%strangler%'").Scan(&n))
	if n > 0 {
		t.Errorf("%d things stay in the store", n)
	}
	db, err := sqlite.Open(t.Context(), strings.TrimPrefix(x.files[1], "sqlite:"), "billing-isolated", change.Service, engine.Tables(plan(t), change.Service))
	must(t, err)
	must(t, db.Prepare(t.Context(), change.Leading)) // as a kill leaves it
	must(t, db.Close())
	x.open()
	if got := x.says(x.write("UPDATE inv SET amount = 9 WHERE id = 1", "UPDATE invoices SET cents = 900 WHERE id = 1", "", "")); got != "alike" {
		t.Error(got)
	}
	x.close()
	db, err = sqlite.Open(t.Context(), strings.TrimPrefix(x.files[1], "sqlite:"), "billing", change.Service, engine.Tables(plan(t), change.Service))
	must(t, err)
	must(t, db.Prepare(t.Context(), change.Following))
	defer db.Close()
	if _, err := pair.OpenMirror(t.Context(), plan(t), x.files[0], x.files[1]); err == nil || !strings.Contains(err.Error(), "belongs to a move") {
		t.Errorf("opened: %v", err)
	}
}
