package pair_test

import (
	"database/sql"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	_ "modernc.org/sqlite"

	"stranglerfig/migrations/change"
	"stranglerfig/migrations/mapping"
	"stranglerfig/migrations/pair"
)

// isolated is a pair with the applications' own connections to its databases.
type isolated struct {
	*pair.Pair
	t                 *testing.T
	monolith, service *sql.DB
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func plan(t *testing.T) *mapping.Plan {
	t.Helper()
	scale := 2
	p, problems := mapping.Compile(mapping.Spec{Capability: "billing", Tables: []mapping.TableSpec{
		{To: "invoices", From: "inv", Key: []string{"id"}, Columns: []mapping.ColumnSpec{{To: "id", From: "id"}, {To: "number", From: "no"}, {To: "cents", From: "amount", Scale: &scale}, {To: "made", From: "created"}}},
		{To: "payments", From: "pay", Key: []string{"id"}, Columns: []mapping.ColumnSpec{{To: "id", From: "id"}, {To: "invoice_id", From: "inv_id"}, {To: "answer", From: "body"}, {To: "pieces", From: "pieces"}}},
	}})
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	return p
}

const (
	theMonolith = `CREATE TABLE inv (id INTEGER PRIMARY KEY AUTOINCREMENT, no TEXT, amount DECIMAL(10,2), created TEXT);
		CREATE TABLE pay (id INTEGER PRIMARY KEY AUTOINCREMENT, inv_id INTEGER, body TEXT, pieces INTEGER);
		INSERT INTO inv VALUES (1, 'INV-1', 12.50, '2026-01-01 10:00:00'), (2, 'INV-2', 7, '2026-01-02 10:00:00'); INSERT INTO pay VALUES (5, 1, NULL, 1)`
	theService = `CREATE TABLE invoices (id INTEGER PRIMARY KEY AUTOINCREMENT, number TEXT, cents INTEGER, made TEXT);
		CREATE TABLE payments (id INTEGER PRIMARY KEY AUTOINCREMENT, invoice_id INTEGER, answer TEXT, pieces INTEGER)`
)

func database(t *testing.T, path, schema string) *sql.DB {
	t.Helper()
	db, err := sql.Open("sqlite", "file:"+path+"?_pragma=busy_timeout(5000)&_pragma=journal_mode(WAL)")
	must(t, err)
	t.Cleanup(func() { db.Close() })
	_, err = db.Exec(schema)
	must(t, err)
	return db
}

func newPair(t *testing.T) *isolated {
	t.Helper()
	dir := t.TempDir()
	x := &isolated{t: t, monolith: database(t, filepath.Join(dir, "m.db"), theMonolith), service: database(t, filepath.Join(dir, "s.db"), theService)}
	var err error
	x.Pair, err = pair.Open(t.Context(), plan(t), "sqlite:"+filepath.Join(dir, "m.db"), "sqlite:"+filepath.Join(dir, "s.db"))
	must(t, err)
	t.Cleanup(func() { must(t, x.Close()) })
	return x
}

func (x *isolated) exec(db *sql.DB, query string) {
	x.t.Helper()
	if _, err := db.Exec(query); err != nil {
		x.t.Fatal(err)
	}
}

// installed lists what of ours is in a database.
func (x *isolated) installed(db *sql.DB) (n int) {
	x.t.Helper()
	must(x.t, db.QueryRow("SELECT count(*) FROM sqlite_schema WHERE name LIKE '%strangler%'").Scan(&n))
	return n
}

func TestTheServiceIsFilledWithTheMonolithsRowsAndNothingStaysInstalled(t *testing.T) {
	x := newPair(t)
	must(t, x.Fill(t.Context(), nil))
	var got string
	must(t, x.service.QueryRow("SELECT group_concat(id || ' ' || number || ' ' || cents, ', ') FROM invoices").Scan(&got))
	if got != "1 INV-1 1250, 2 INV-2 700" {
		t.Errorf("the service holds %q", got)
	}
	if m, s := x.installed(x.monolith), x.installed(x.service); m+s > 0 {
		t.Errorf("%d things stay in the monolith's database, %d in the service's", m, s)
	}
	x.exec(x.service, "INSERT INTO payments (invoice_id) VALUES (1)") // no fence refuses it
	var id int
	must(t, x.service.QueryRow("SELECT max(id) FROM payments").Scan(&id))
	if id != 6 {
		t.Errorf("the next payment's id is %d, want the one after the monolith's", id)
	}
}

// effects has both sides write and returns in what they differ.
func (x *isolated) effects(monolith, service string) string {
	x.t.Helper()
	for side, run := range map[change.Side]func(){change.Monolith: func() { x.exec(x.monolith, monolith) }, change.Service: func() { x.exec(x.service, service) }} {
		must(x.t, x.Mark(x.t.Context(), side))
		run()
	}
	found, err := x.Effects(x.t.Context())
	must(x.t, err)
	var lines []string
	for _, d := range found {
		lines = append(lines, d.String())
	}
	return strings.Join(lines, "\n")
}

func TestWhatBothSidesWriteIsComparedThroughTheMappingModuloGeneratedIDs(t *testing.T) {
	x := newPair(t)
	must(t, x.Fill(t.Context(), nil))
	x.exec(x.service, "INSERT INTO invoices (id, number, cents) VALUES (70, 'INV-70', 1)") // from here on ids differ
	must(t, x.Watch(t.Context()))
	const now, soon = "2026-05-05 10:00:00", "2026-05-05 10:00:02"
	write := func(id int, table string) string {
		if table == "inv" {
			return fmt.Sprintf(`INSERT INTO inv (no, amount, created) VALUES ('INV-%d', 3.10, '%s'); INSERT INTO pay (inv_id, body) VALUES (%d, '{"id":%d,"at":"%s"}')`, id, now, id, id, now)
		}
		return fmt.Sprintf(`INSERT INTO invoices (number, cents, made) VALUES ('INV-%d', 310, '%s'); INSERT INTO payments (invoice_id, answer) VALUES (%d, '{"at":"%s","id":%d}')`, id, soon, id, soon, id)
	}
	if got := x.effects(write(3, "inv"), write(71, "invoices")); got != "" {
		t.Errorf("the same, under other ids, differs:\n%s", got)
	}
	for name, c := range map[string]struct{ monolith, service, want string }{
		"another amount":                {"UPDATE inv SET amount = 3.11 WHERE id = 3", "UPDATE invoices SET cents = 310 WHERE id = 71; UPDATE invoices SET number = number WHERE id = 71", "invoices [3] cents: the monolith wrote 311, the service 310"},
		"an amount that is a key there": {"UPDATE inv SET amount = 0.03 WHERE id = 3", "UPDATE invoices SET cents = 71 WHERE id = 71", "cents: the monolith wrote 3, the service 71"},
		"another invoice":               {"INSERT INTO pay (inv_id) VALUES (3)", "INSERT INTO payments (invoice_id) VALUES (70)", "invoice_id: the monolith wrote 3, the service 70"},
		"a number that is a key there":  {"INSERT INTO pay (inv_id, pieces) VALUES (3, 3)", "INSERT INTO payments (invoice_id, pieces) VALUES (71, 71)", "pieces: the monolith wrote 3, the service 71"},
		"one in a document":             {`INSERT INTO pay (inv_id, body) VALUES (3, '{"orderId":3,"pieces":3}')`, `INSERT INTO payments (invoice_id, answer) VALUES (71, '{"orderId":71,"pieces":71}')`, "answer: the monolith wrote"},
		"another table's key":           {`INSERT INTO pay (inv_id, body) VALUES (3, '{"payment":3}')`, `INSERT INTO payments (invoice_id, answer) VALUES (71, '{"payment":71}')`, "answer: the monolith wrote"},
		"a row less":                    {"INSERT INTO inv (no, amount) VALUES ('x', 1)", "SELECT 1", "only the monolith wrote it: id="},
		"a row less of several words":   {"INSERT INTO inv (no, amount) VALUES ('x y', 1)", "SELECT 1", `number="x y" cents=100`},
		"a row more":                    {"SELECT 1", "INSERT INTO payments (invoice_id) VALUES (1)", "only the service wrote it"},
		"a day later":                   {"UPDATE inv SET created = '2026-06-01 10:00:00' WHERE id = 1", "UPDATE invoices SET made = '2026-06-02 10:00:00' WHERE id = 1", "made: the monolith wrote 2026-06-01 10:00:00"},
		"not deleted":                   {"DELETE FROM inv WHERE id = 2", "UPDATE invoices SET cents = 5 WHERE id = 2", "the monolith wrote deleted, the service id=2"},
	} {
		if got := x.effects(c.monolith, c.service); !strings.Contains(got, c.want) || strings.Count(got, "\n") > 0 {
			t.Errorf("%s: %q, want %q and nothing else", name, got, c.want)
		}
	}
	must(t, x.Unwatch(t.Context()))
	if m, s := x.installed(x.monolith), x.installed(x.service); m+s > 0 {
		t.Errorf("%d things stay in the monolith's database, %d in the service's", m, s)
	}
}

func TestTheDatabasesOfAMoveAreNoPair(t *testing.T) {
	x := newPair(t)
	must(t, x.Watch(t.Context()))
	dir := t.TempDir()
	var files [2]string
	for n, db := range []*sql.DB{x.monolith, x.service} {
		files[n] = filepath.Join(dir, fmt.Sprint(n))
		x.exec(db, "VACUUM INTO '"+files[n]+"'")
	}
	if _, err := pair.Open(t.Context(), plan(t), "sqlite:"+files[0], "sqlite:"+files[1]); err == nil || !strings.Contains(err.Error(), "belongs to a move") {
		t.Errorf("opened: %v", err)
	}
	if _, err := pair.Open(t.Context(), plan(t), "oracle:x", "oracle:y"); err == nil || errors.Is(err, change.ErrNotPrepared) {
		t.Errorf("opened: %v", err)
	}
}
