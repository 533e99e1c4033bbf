package postgres_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	"stranglerfig/migrations/change"
	"stranglerfig/migrations/mapping"
	"stranglerfig/migrations/verify"
)

// valued are two tables of one column beside the key, whose types may differ,
// each with one row.
func valued(t *testing.T, here, there string) (leader, follower *side, plan *mapping.Plan) {
	t.Helper()
	plan, problems := mapping.Compile(mapping.Spec{Capability: "move", Tables: []mapping.TableSpec{
		{To: "there", From: "here", Key: []string{"id"}, Columns: []mapping.ColumnSpec{{To: "id", From: "id"}, {To: "theirs", From: "mine"}}},
	}})
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	const mood = "CREATE TYPE mood AS ENUM ('sad', 'fine'); "
	leader = fresh(t, mood+"CREATE TABLE here (id int PRIMARY KEY, mine "+here+")", tables(plan, change.Monolith)...)
	follower = fresh(t, mood+"CREATE TABLE there (id bigint PRIMARY KEY, theirs "+there+")", tables(plan, change.Service)...)
	for _, s := range []*side{leader, follower} {
		exec(t, s.app, fmt.Sprintf(`DO $$ BEGIN EXECUTE format('ALTER DATABASE %%I SET timezone = %%L', current_database(), 'Asia/Kolkata');
			EXECUTE format('ALTER DATABASE %%I SET extra_float_digits = -10', current_database());
			EXECUTE format('ALTER DATABASE %%I SET datestyle = %%L', current_database(), 'German'); END $$`))
	}
	leader.db = opened(t, leader.dsn, change.Monolith, tables(plan, change.Monolith))
	follower.db = opened(t, follower.dsn, change.Service, tables(plan, change.Service))
	return leader, follower, plan
}

// TestEqualValuesHaveEqualHashesAndOthersHaveOthers, of every type that moves,
// whatever the databases' own settings are.
func TestEqualValuesHaveEqualHashesAndOthersHaveOthers(t *testing.T) {
	for _, c := range []struct {
		here, there  string
		equal, other [][2]string // a value here and a value there, in SQL
	}{
		{"bool", "bool", [][2]string{{"true", "true"}, {"NULL", "NULL"}}, [][2]string{{"true", "false"}, {"false", "NULL"}}},
		{"int2", "bigint", [][2]string{{"-7", "-7"}}, [][2]string{{"7", "-7"}, {"0", "NULL"}}},
		{"int", "numeric(20,4)", [][2]string{{"7", "7"}, {"100", "100"}}, [][2]string{{"7", "7.0001"}}},
		{"numeric(12,2)", "numeric(12,6)", [][2]string{{"1.0", "1.00"}, {"1200", "1200"}, {"0", "0"}, {"NULL", "NULL"}}, [][2]string{{"1.01", "1.010001"}, {"0", "NULL"}}},
		{"numeric", "numeric", [][2]string{{"1e20", "100000000000000000000.000"}}, [][2]string{{"1e20", "1e21"}}},
		{"float4", "float4", [][2]string{{"0.1", "0.1"}, {"'NaN'", "'NaN'"}, {"'0'", "'-0'"}}, [][2]string{{"0.1", "0.10000002"}, {"'NaN'", "NULL"}}},
		{"float8", "float8", [][2]string{{"0.1", "0.1"}, {"'Infinity'", "'Infinity'"}, {"'-0'", "'0'"}}, [][2]string{{"0.1", "0.10000000000000002"}, {"1e15", "1000000000000000.1"}}},
		{"text", "varchar(30)", [][2]string{{"''", "''"}, {"'ü \" \\ ('", "'ü \" \\ ('"}, {"NULL", "NULL"}}, [][2]string{{"''", "NULL"}, {"'a'", "'a '"}, {"'a'", "'A'"}}},
		{"char(5)", "char(9)", [][2]string{{"'ab'", "'ab'"}, {"'ab  '", "'ab'"}, {"''", "''"}}, [][2]string{{"'ab'", "'a b'"}, {"''", "NULL"}}},
		{"uuid", "uuid", [][2]string{{"'A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11'", "'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'"}}, [][2]string{{"'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'", "'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a12'"}}},
		{"json", "json", [][2]string{{`'{"a":1}'`, `'{"a":1}'`}}, [][2]string{{`'{"a":1}'`, `'{"a":2}'`}}},
		{"jsonb", "jsonb", [][2]string{{`'{"b":1,"a":2}'`, `'{"a": 2, "b": 1}'`}}, [][2]string{{`'{"a":1}'`, `'{"a":"1"}'`}}},
		{"date", "date", [][2]string{{"'2024-02-01'", "'2024-02-01'"}, {"'infinity'", "'infinity'"}}, [][2]string{{"'2024-02-01'", "'2024-01-02'"}}},
		{"time", "time", [][2]string{{"'10:00'", "'10:00:00.0'"}}, [][2]string{{"'10:00'", "'10:00:00.000001'"}}},
		{"timestamp", "timestamp", [][2]string{{"'2024-02-01 10:00'", "'2024-02-01 10:00:00.000'"}}, [][2]string{{"'2024-02-01 10:00'", "'2024-02-01 10:00:00.000001'"}}},
		{"timestamptz", "timestamptz", [][2]string{{"'2024-02-01 10:00+05:30'", "'2024-02-01 04:30+00'"}}, [][2]string{{"'2024-02-01 10:00+05:30'", "'2024-02-01 10:00+00'"}}},
		{"bytea", "bytea", [][2]string{{`'\x00ff'`, `'\x00FF'`}}, [][2]string{{`'\x00'`, `'\x0000'`}, {`'\x'`, "NULL"}}},
		{"mood", "mood", [][2]string{{"'sad'", "'sad'"}}, [][2]string{{"'sad'", "'fine'"}}},
		{"mood", "text", [][2]string{{"'fine'", "'fine'"}}, [][2]string{{"'fine'", "'fine '"}}},
	} {
		t.Run(c.here+" and "+c.there, func(t *testing.T) {
			leader, follower, plan := valued(t, c.here, c.there)
			for i, pair := range append(append([][2]string{}, c.equal...), c.other...) {
				exec(t, leader.app, "TRUNCATE here; INSERT INTO here VALUES (1, "+pair[0]+")")
				exec(t, follower.app, "TRUNCATE there; INSERT INTO there VALUES (1, "+pair[1]+")")
				want := i < len(c.equal)
				here, there, ok, err := leader.db.Digests(t.Context(), follower.db, plan.Tables[0], change.Monolith, change.Range{})
				if err != nil || !ok || here.Rows != 1 || there.Rows != 1 || (here == there) != want {
					t.Errorf("%s and %s: %+v %+v %t, %v", pair[0], pair[1], here, there, ok, err)
				}
				mine, theirs, ok, err := leader.db.Fingerprints(t.Context(), follower.db, plan.Tables[0], change.Monolith, change.Range{})
				if err != nil || !ok || len(mine) != 1 || len(theirs) != 1 || (mine[0].Hash == theirs[0].Hash) != want {
					t.Errorf("%s and %s: %+v %+v %t, %v", pair[0], pair[1], mine, theirs, ok, err)
				}
				report, err := verify.Keys(t.Context(), verify.Options{
					Plan: plan, Owner: unlogged{leader.db}, Follower: follower.db, OwnerSide: change.Monolith,
					Settle: func(context.Context, change.Position) error { return nil },
				}, []change.Change{{Key: change.Key{mapping.Int(1)}}})
				if err != nil || report.Clean != want {
					t.Errorf("%s and %s, row by row: %+v, %v", pair[0], pair[1], report, err)
				}
			}
		})
	}
}

// unlogged is a database whose log stands still.
type unlogged struct{ change.Database }

func (unlogged) Head(context.Context) (change.Position, error) { return 1, nil }

// verifying is a move that is copied and followed whenever it is settled.
type verifying struct {
	*copied
	settle func(context.Context, change.Position) error
}

func newVerifying(t *testing.T, invoices int) *verifying {
	t.Helper()
	c, settle := followed(t, invoices)
	return &verifying{c, settle}
}

func (v *verifying) verify(repair bool, found func(verify.Difference)) verify.Report {
	v.Helper()
	report, err := verify.Run(v.Context(), verify.Options{
		Plan: v.plan, Owner: v.leader.db, Follower: v.follower.db, OwnerSide: change.Monolith,
		Settle: v.settle, Repair: repair, Each: found, Listed: 20,
	})
	must(v.T, err)
	return report
}

// TestEachKindOfDivergenceIsNarrowedToItsKey among many rows, and no row that is
// equal is looked at.
func TestEachKindOfDivergenceIsNarrowedToItsKey(t *testing.T) {
	v := newVerifying(t, 210_000)
	if r := v.verify(false, nil); !r.Clean || r.Rechecked != 0 || r.Rows != 420_000 {
		t.Fatalf("before: %+v", r)
	}
	v.behind("DELETE FROM invoices WHERE id = 77777")
	v.behind("INSERT INTO invoices (id, number, state, made, currency) OVERRIDING SYSTEM VALUE VALUES (900001, 'extra', 'paid', now(), 'EUR')")
	v.behind("UPDATE invoices SET doc = NULL WHERE id = 5")
	v.behind("UPDATE invoices SET currency = 'USD' WHERE id = 209999")
	v.behind("UPDATE invoices SET small = CASE id WHEN 100 THEN 101 ELSE 100 END WHERE id IN (100, 101)")
	v.behind("UPDATE invoice_lines SET code = 'c' || (3 - substr(code, 2)::int) || 'x' WHERE invoice = 4444")
	want := map[string]int{
		"invoices 77777 missing ": 1, "invoices 900001 extra ": 1, "invoices 5 different doc": 1, "invoices 209999 different currency": 1,
		"invoices 100 different small": 1, "invoices 101 different small": 1,
		"invoice_lines 4444,c1 missing ": 1, "invoice_lines 4444,c2 missing ": 1, "invoice_lines 4444,c1x extra ": 1, "invoice_lines 4444,c2x extra ": 1,
	}
	got := map[string]int{}
	r := v.verify(false, func(d verify.Difference) { got[fmt.Sprintf("%s %s %s %s", d.Table, d.Key, d.Kind, d.Column)]++ })
	if d := cmp.Diff(want, got); d != "" || r.Clean || r.Rechecked != 10 || len(r.Differences) != 10 {
		t.Errorf("%d rows rechecked, %d listed, clean %t\n%s", r.Rechecked, len(r.Differences), r.Clean, d)
	}
	if r := v.verify(true, nil); !r.Clean || r.Repaired != 10 {
		t.Errorf("repaired: %+v", r)
	}
	if r := v.verify(false, nil); !r.Clean || r.Rechecked != 0 {
		t.Errorf("afterwards: %+v", r)
	}
}

// TestEveryColumnTakesPartInTheHash.
func TestEveryColumnTakesPartInTheHash(t *testing.T) {
	v := newVerifying(t, 10)
	for column, value := range map[string]string{
		"number": "'x'", "cents": "1", "state": "CASE state WHEN 'paid' THEN 'draft'::state ELSE 'paid' END", "kind": "'x'", "customer": "NULL", "made": "made + interval '1 microsecond'",
		"doc": "'{}'", "raw": "NULL", "small": "-1", "ratio": "0.5", "ok": "NOT ok", "currency": "'X'",
	} {
		v.behind("UPDATE invoices SET " + column + " = " + value + " WHERE id = 5")
		r := v.verify(true, nil)
		if !r.Clean || r.Repaired != 1 {
			t.Errorf("%s: %+v", column, r)
		}
	}
}

// TestARowThatTheMappingRefusesConcernsItsRangeOnly and keeps none of the others from being
// compared.
func TestARowThatTheMappingRefusesConcernsItsRangeOnly(t *testing.T) {
	v := newVerifying(t, 30_000)
	exec(t, v.leader.app, "SET session_replication_role = replica; UPDATE inv SET st = 9 WHERE id = 7; UPDATE inv SET tiny = 3 WHERE id = 29000")
	v.settle = func(context.Context, change.Position) error { return nil } // the stream cannot pass it
	r := v.verify(false, nil)
	var got []string
	for _, d := range r.Differences {
		got = append(got, d.Key+" "+d.Kind+" "+d.Column)
	}
	if d := cmp.Diff([]string{"7 unmappable ", "29000 different small"}, got); d != "" || r.Rechecked > 12_000 {
		t.Errorf("%d rows rechecked\n%s", r.Rechecked, d)
	}
}

// TestAllThatIsTooMuchIsFound though the owner has nothing by which to cut it.
func TestAllThatIsTooMuchIsFound(t *testing.T) {
	v := newVerifying(t, 10)
	v.behind("INSERT INTO invoices (id, number, state, made, currency) OVERRIDING SYSTEM VALUE SELECT i, i, 'paid', now(), 'EUR' FROM generate_series(1001, 26000) AS i")
	found := map[string]bool{}
	r := v.verify(false, func(d verify.Difference) { found[d.Key] = true })
	if len(found) != 25_000 || len(r.Differences) != 20 || r.Dropped != 24_980 || r.Rechecked != 25_000 {
		t.Errorf("%d were found, %d listed, %d more, %d rechecked", len(found), len(r.Differences), r.Dropped, r.Rechecked)
	}
	if r := v.verify(true, nil); !r.Clean || r.Repaired != 25_000 || v.follower.number("SELECT count(*) FROM invoices") != 10 {
		t.Errorf("repaired: %+v", r)
	}
}

// TestKeysOrderedDifferentlyAreComparedRowByRow and each difference is listed
// once.
func TestKeysOrderedDifferentlyAreComparedRowByRow(t *testing.T) {
	plan, problems := mapping.Compile(mapping.Spec{Capability: "move", Tables: []mapping.TableSpec{
		{To: "there", From: "here", Key: []string{"code"}, Columns: []mapping.ColumnSpec{{To: "code", From: "code"}}},
	}})
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	leader := fresh(t, `CREATE TABLE here (code text COLLATE "C" PRIMARY KEY)`, tables(plan, change.Monolith)...)
	for collation, want := range map[string]bool{"C": true, "en-x-icu": false} {
		follower := fresh(t, `CREATE TABLE there (code varchar COLLATE "`+collation+`" PRIMARY KEY)`, tables(plan, change.Service)...)
		if _, _, ok, err := leader.db.Digests(t.Context(), follower.db, plan.Tables[0], change.Monolith, change.Range{}); ok != want || err != nil {
			t.Errorf("%s: %t, %v", collation, ok, err)
		}
	}
}

// TestAnInterruptedVerificationOfHashesGoesOn after the ranges it had done. One
// that had gone row by row had not looked for what else the follower has, and
// does not go on in the middle of a table.
func TestAnInterruptedVerificationOfHashesGoesOn(t *testing.T) {
	v := newVerifying(t, 90_000)
	exec(t, v.leader.app, "ANALYZE")
	ctx, interrupt := context.WithCancel(t.Context())
	defer interrupt()
	var at verify.Point
	o := verify.Options{
		// So many ranges that the first one is done before all others are, however
		// long it takes.
		Plan: v.plan, Owner: v.leader.db, Follower: v.follower.db, OwnerSide: change.Monolith, Settle: v.settle, Range: 2_000,
		Reached: func(p verify.Point) {
			if at.Rows == 0 { // what was under way may end all the same
				at = p
			}
			interrupt()
		},
	}
	if _, err := verify.Run(ctx, o); err == nil || at.Rows == 0 || at.Rows >= 90_000 || at.After == nil || !at.Hashed {
		t.Fatalf("it was not interrupted: %+v, %v", at, err)
	}
	v.behind("UPDATE invoices SET kind = 'wrong' WHERE id = 89999")
	v.behind("INSERT INTO invoices (id, number, state, made, currency) OVERRIDING SYSTEM VALUE VALUES (-5, 'extra', 'paid', now(), 'EUR')")
	for hashed, want := range map[bool]int{true: 1, false: 2} {
		o.From, o.Reached = at, nil
		o.From.Hashed = hashed
		report, err := verify.Run(t.Context(), o)
		must(t, err)
		if len(report.Differences) != want || report.OwnerAt != at.OwnerAt || hashed && report.Rows != 180_000 {
			t.Errorf("hashed %t: %+v", hashed, report)
		}
	}
}
