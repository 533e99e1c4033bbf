package postgres_test

import (
	"slices"
	"strings"
	"testing"

	"stranglerfig/migrations/change"
	"stranglerfig/migrations/mapping"
)

// TestWhatMayNotFitIsNamedBeforeTheMove and what does is not.
func TestWhatMayNotFitIsNamedBeforeTheMove(t *testing.T) {
	two := 2
	columns := []mapping.ColumnSpec{{To: "id", From: "id"}}
	for _, name := range []string{"a", "b", "c", "d", "e", "f", "g", "h", "u1", "u2", "u3"} {
		columns = append(columns, mapping.ColumnSpec{To: name, From: name})
	}
	for to, from := range map[string]string{"cents": "amount", "few": "amount2", "parts": "amount3", "any": "amount4"} {
		columns = append(columns, mapping.ColumnSpec{To: to, From: from, Scale: &two})
	}
	slices.SortFunc(columns, func(a, b mapping.ColumnSpec) int { return strings.Compare(a.To, b.To) })
	plan, problems := mapping.Compile(mapping.Spec{Capability: "move", Tables: []mapping.TableSpec{{To: "y", From: "x", Key: []string{"id"}, Columns: columns}}})
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	leader := fresh(t, `CREATE TABLE x (id int PRIMARY KEY, a bigint, b text, c varchar(10) NOT NULL, d numeric, e numeric(12, 4), f numeric(12, 2), g int, h uuid,
		u1 int, u2 int, u3 int, amount numeric(12, 2), amount2 numeric(12, 2), amount3 numeric(12, 4), amount4 numeric, UNIQUE (u2))`, tables(plan, change.Monolith)...)
	follower := fresh(t, `CREATE TABLE y (id bigint PRIMARY KEY, a int, b varchar(20), c varchar(9) NOT NULL, d numeric(10, 2), e numeric(10, 2), f numeric(6, 2), g numeric(12, 2), h varchar(36) NOT NULL,
		u1 int UNIQUE, u2 int, u3 int, cents bigint, few int, parts bigint, "any" int, UNIQUE (u2, u3))`, tables(plan, change.Service)...)
	found, err := follower.db.Match(t.Context(), leader.db, plan)
	must(t, err)
	var got []string
	for _, p := range found {
		if p.Fatal || p.Hint == "" {
			t.Errorf("%+v", p)
		}
		got = append(got, p.String())
	}
	want := []string{
		"y.a: is an integer of 4 bytes, but x.a has 8",
		"y.any: is an integer of 4 bytes and holds any amount of 7 digits before the point, but x.amount4 may have more",
		"y.b: holds 20 characters, but x.b more",
		"y.c: holds 9 characters, but x.c more",
		"y.d: keeps 2 decimals, but x.d more",
		"y.e: keeps 2 decimals, but x.e more",
		"y.f: has 4 digits before the point, but x.f has 10",
		"y.few: is an integer of 4 bytes and holds any amount of 7 digits before the point, but x.amount2 may have more",
		"y.h: may not be NULL, but x.h may",
		"y.parts: counts 2 decimals, but x.amount3 keeps 4",
		"y: demands that (u1) is unique, which x does not",
	}
	if !slices.Equal(got, want) {
		t.Errorf("found %q\nwant %q", got, want)
	}
	same, err := leader.db.Match(t.Context(), leader.db, &mapping.Plan{})
	if err != nil || len(same) > 0 {
		t.Errorf("%v, %v", same, err)
	}
}
