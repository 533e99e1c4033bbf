package mapping_test

import (
	"slices"
	"strings"
	"testing"

	"stranglerfig/migrations/mapping"
)

// good is a spec without a problem, to be spoilt.
func good() mapping.Spec {
	return mapping.Spec{Capability: "billing", Tables: []mapping.TableSpec{{
		To: "invoices", From: "inv", Key: []string{"id"}, Line: 3,
		Columns: []mapping.ColumnSpec{{To: "id", From: "id", Line: 4}, {To: "cents", From: "amount", Line: 5}},
	}}}
}

// TestCompileNamesEveryProblem with where it is, what it is, and mostly how to
// mend it.
func TestCompileNamesEveryProblem(t *testing.T) {
	for _, c := range []struct {
		spoil func(s *mapping.Spec, t *mapping.TableSpec, c *mapping.ColumnSpec)
		line  int
		want  string
		hint  string
	}{
		{func(s *mapping.Spec, _ *mapping.TableSpec, _ *mapping.ColumnSpec) { s.Tables = nil }, 0,
			"billing: no table is declared", "name each table"},
		{func(s *mapping.Spec, t *mapping.TableSpec, _ *mapping.ColumnSpec) {
			again := *t
			again.From = "other"
			s.Tables = append(s.Tables, again)
		}, 3, "invoices: the table is declared twice", ""},
		{func(s *mapping.Spec, t *mapping.TableSpec, _ *mapping.ColumnSpec) {
			again := *t
			again.To = "other"
			s.Tables = append(s.Tables, again)
		}, 3, "other: the monolith's table inv is mapped twice", "one table moves into one table"},
		{func(_ *mapping.Spec, t *mapping.TableSpec, _ *mapping.ColumnSpec) { t.From = "" }, 3,
			"invoices: from is missing", "from: <the monolith's table>"},
		{func(_ *mapping.Spec, t *mapping.TableSpec, _ *mapping.ColumnSpec) { t.Key = nil }, 3,
			"invoices: key is missing", "key: <the column"},
		{func(_ *mapping.Spec, t *mapping.TableSpec, _ *mapping.ColumnSpec) { t.Key = []string{"no"} }, 3,
			"invoices: key column no is not among the columns", "declare it under columns"},
		{func(_ *mapping.Spec, t *mapping.TableSpec, c *mapping.ColumnSpec) {
			c.Constant, c.From, t.Key = text("x"), "", []string{"cents"}
		}, 3, "invoices: key column cents is a constant", "must come from the monolith"},
		{func(_ *mapping.Spec, t *mapping.TableSpec, _ *mapping.ColumnSpec) {
			t.Columns = append(t.Columns, mapping.ColumnSpec{To: "cents", From: "other", Line: 6})
		}, 6, "invoices.cents: the column is declared twice", ""},
		{func(_ *mapping.Spec, t *mapping.TableSpec, _ *mapping.ColumnSpec) {
			t.Columns = append(t.Columns, mapping.ColumnSpec{To: "more", From: "amount", Line: 6})
		}, 6, "invoices.more: the monolith's column amount is mapped twice, so the way back would be ambiguous", "map it once"},
		{func(_ *mapping.Spec, _ *mapping.TableSpec, c *mapping.ColumnSpec) { c.From = "" }, 5,
			"invoices.cents: from is missing", "or constant: <value>"},
		{func(_ *mapping.Spec, _ *mapping.TableSpec, c *mapping.ColumnSpec) { c.Scale, c.Cast = number(2), "int" }, 5,
			"invoices.cents: has scale and cast at once", "at most one transform"},
		{func(_ *mapping.Spec, _ *mapping.TableSpec, c *mapping.ColumnSpec) {
			c.Enum, c.Time, c.Constant = []mapping.EnumPair{{From: "1", To: "a"}}, "2006", text("x")
		}, 5, "invoices.cents: has enum and time and constant at once", "at most one transform"},
		{func(_ *mapping.Spec, _ *mapping.TableSpec, c *mapping.ColumnSpec) { c.Scale = number(19) }, 5,
			"invoices.cents: scale 19 is not between 0 and 18", ""},
		{func(_ *mapping.Spec, _ *mapping.TableSpec, c *mapping.ColumnSpec) { c.Scale = number(-1) }, 5,
			"invoices.cents: scale -1 is not between 0 and 18", ""},
		{func(_ *mapping.Spec, _ *mapping.TableSpec, c *mapping.ColumnSpec) {
			c.Enum = []mapping.EnumPair{{From: "1", To: "a"}, {From: "1", To: "b"}}
		}, 5, "invoices.cents: enum lists 1 twice", ""},
		{func(_ *mapping.Spec, _ *mapping.TableSpec, c *mapping.ColumnSpec) {
			c.Enum = []mapping.EnumPair{{From: "1", To: "a"}, {From: "2", To: "a"}}
		}, 5, "invoices.cents: enum maps both 1 and 2 to a, so it cannot be inverted", "rollback: given-up"},
		{func(_ *mapping.Spec, _ *mapping.TableSpec, c *mapping.ColumnSpec) { c.Zone = "UTC" }, 5,
			"invoices.cents: zone without time", "zone: UTC"},
		{func(_ *mapping.Spec, _ *mapping.TableSpec, c *mapping.ColumnSpec) { c.Time = "2006-01-02 15:04:05" }, 5,
			"invoices.cents: time without zone", "Europe/Berlin or UTC"},
		{func(_ *mapping.Spec, _ *mapping.TableSpec, c *mapping.ColumnSpec) {
			c.Time, c.Zone = "2006-01-02 15:04:05", "Middle/Earth"
		}, 5, "invoices.cents: zone Middle/Earth is not known", "IANA"},
		{func(_ *mapping.Spec, _ *mapping.TableSpec, c *mapping.ColumnSpec) {
			c.Time, c.Zone = "2006-01-02 15:04", "UTC"
		}, 5, `invoices.cents: time layout "2006-01-02 15:04" does not keep date, hour, minute and second, so it cannot be inverted`, "a Go layout"},
		{func(_ *mapping.Spec, _ *mapping.TableSpec, c *mapping.ColumnSpec) {
			c.Time, c.Zone = "2006-01-02 03:04:05", "UTC"
		}, 5, `invoices.cents: time layout "2006-01-02 03:04:05" does not keep`, "a Go layout"},
		{func(_ *mapping.Spec, _ *mapping.TableSpec, c *mapping.ColumnSpec) { c.Cast = "money" }, 5,
			`invoices.cents: cast "money" is none of int, text, bool, decimal, float`, ""},
	} {
		s := good()
		c.spoil(&s, &s.Tables[0], &s.Tables[0].Columns[1])
		p, problems := mapping.Compile(s)
		if p != nil {
			t.Errorf("%s: a plan was made all the same", c.want)
		}
		if !slices.ContainsFunc(problems, func(p mapping.Problem) bool {
			return strings.HasPrefix(p.String(), c.want) && p.Line == c.line && strings.Contains(p.Hint, c.hint) && (c.hint == "") == (p.Hint == "")
		}) {
			t.Errorf("problems %+v, want line %d: %s (%s)", problems, c.line, c.want, c.hint)
		}
		if len(problems) != 1 {
			t.Errorf("%s: one thing is wrong, but there are %d problems: %v", c.want, len(problems), problems)
		}
	}
}

// TestCompileReportsAllProblemsAtOnce, those of every table.
func TestCompileReportsAllProblemsAtOnce(t *testing.T) {
	s := good()
	s.Tables[0].Columns[1].Cast = "money"
	s.Tables = append(s.Tables, mapping.TableSpec{To: "payments", Columns: []mapping.ColumnSpec{{To: "id"}}})
	_, problems := mapping.Compile(s)
	var got []string
	for _, p := range problems {
		got = append(got, p.String())
	}
	want := []string{
		`invoices.cents: cast "money" is none of int, text, bool, decimal, float`,
		"payments: from is missing", "payments.id: from is missing", "payments: key is missing",
	}
	if !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}

// TestAnEnumMayLoseValuesWhereRollbackIsGivenUp: the first of them is the way
// back.
func TestAnEnumMayLoseValuesWhereRollbackIsGivenUp(t *testing.T) {
	s := good()
	s.GiveUpRollback = true
	s.Tables[0].Columns[1].Enum = []mapping.EnumPair{{From: "1", To: "open"}, {From: "2", To: "open"}}
	p, problems := mapping.Compile(s)
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	c := p.Tables[0].Columns()[1]
	there, err := c.There(mapping.Int(2))
	if err != nil || there.Text() != "open" {
		t.Errorf("%v, %v", there, err)
	}
	if back, err := c.Back(there); err != nil || back.Int64() != 1 {
		t.Errorf("%v, %v", back, err)
	}
}

// TestTheDigestChangesWithThePlan and with nothing else.
func TestTheDigestChangesWithThePlan(t *testing.T) {
	digest := func(s mapping.Spec) string {
		p, problems := mapping.Compile(s)
		if len(problems) > 0 {
			t.Fatal(problems)
		}
		return p.Digest()
	}
	seen := map[string]int{digest(good()): -1}
	for i, alter := range []func(t *mapping.TableSpec, c *mapping.ColumnSpec){
		func(t *mapping.TableSpec, _ *mapping.ColumnSpec) { t.To = "x" },
		func(t *mapping.TableSpec, _ *mapping.ColumnSpec) { t.From = "x" },
		func(t *mapping.TableSpec, _ *mapping.ColumnSpec) { t.Key = []string{"cents"} },
		func(t *mapping.TableSpec, _ *mapping.ColumnSpec) { t.Key = []string{"id", "cents"} },
		func(_ *mapping.TableSpec, c *mapping.ColumnSpec) { c.To = "x" },
		func(_ *mapping.TableSpec, c *mapping.ColumnSpec) { c.From = "x" },
		func(_ *mapping.TableSpec, c *mapping.ColumnSpec) { c.Scale = number(2) },
		func(_ *mapping.TableSpec, c *mapping.ColumnSpec) { c.Scale = number(3) },
		func(_ *mapping.TableSpec, c *mapping.ColumnSpec) { c.Cast = "text" },
		func(_ *mapping.TableSpec, c *mapping.ColumnSpec) { c.Time, c.Zone = "2006-01-02 15:04:05", "UTC" },
		func(_ *mapping.TableSpec, c *mapping.ColumnSpec) {
			c.Time, c.Zone = "2006-01-02 15:04:05", "Europe/Berlin"
		},
		func(_ *mapping.TableSpec, c *mapping.ColumnSpec) {
			c.Enum = []mapping.EnumPair{{From: "1", To: "a"}}
		},
		func(_ *mapping.TableSpec, c *mapping.ColumnSpec) {
			c.Enum = []mapping.EnumPair{{From: "1", To: "b"}}
		},
		func(_ *mapping.TableSpec, c *mapping.ColumnSpec) { c.From, c.Constant = "", text("x") },
	} {
		s := good()
		alter(&s.Tables[0], &s.Tables[0].Columns[1])
		if other, ok := seen[digest(s)]; ok {
			t.Errorf("alterations %d and %d have the same digest", i, other)
		}
		seen[digest(s)] = i
	}
	s := good()
	s.Tables[0].Line, s.Tables[0].Columns[0].Line = 70, 71
	if digest(s) != digest(good()) {
		t.Error("moving a line in the file changes the digest")
	}
}
