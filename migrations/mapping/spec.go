package mapping

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Spec is a capability's data as it was declared.
type Spec struct {
	Capability string
	Tables     []TableSpec
	// GiveUpRollback accepts transforms that lose something on the way back.
	GiveUpRollback bool
}

// TableSpec declares one table. Parents are declared before the tables that
// refer to them.
type TableSpec struct {
	To, From string
	Key      []string // columns of To
	Columns  []ColumnSpec
	Line     int // in the file it was declared in
}

// ColumnSpec declares one column: a rename, and at most one transform.
type ColumnSpec struct {
	To, From string
	Scale    *int       // decimal -> integer of 10^-Scale
	Enum     []EnumPair // one name for each value
	Time     string     // layout of a text in Zone -> RFC 3339 in UTC
	Zone     string
	Constant *string // a column that only the service has
	Cast     string  // int, text, bool, decimal or float
	Line     int
}

// EnumPair maps one value.
type EnumPair struct{ From, To string }

// Problem is something a spec has wrong.
type Problem struct {
	Line  int
	Where string
	Text  string
	Hint  string
}

func (p Problem) String() string { return p.Where + ": " + p.Text }

// Compile checks a spec whole and returns its plan, or every problem.
func Compile(s Spec) (*Plan, []Problem) {
	c := compiler{spec: s}
	p := &Plan{Capability: s.Capability}
	if len(s.Tables) == 0 {
		c.problem(0, s.Capability, "no table is declared", "name each table of the service with its from, key and columns")
	}
	seenTo, seenFrom := map[string]bool{}, map[string]bool{}
	for _, t := range s.Tables {
		if seenTo[t.To] {
			c.problem(t.Line, t.To, "the table is declared twice", "")
		}
		if seenFrom[t.From] {
			c.problem(t.Line, t.To, fmt.Sprintf("the monolith's table %s is mapped twice", t.From), "one table moves into one table")
		}
		seenTo[t.To], seenFrom[t.From] = true, true
		p.Tables = append(p.Tables, c.table(t))
	}
	if len(c.problems) > 0 {
		return nil, c.problems
	}
	return p, nil
}

type compiler struct {
	spec     Spec
	problems []Problem
}

func (c *compiler) problem(line int, where, text, hint string) {
	c.problems = append(c.problems, Problem{line, where, text, hint})
}

func (c *compiler) table(s TableSpec) *Table {
	t := &Table{From: s.From, To: s.To}
	if s.From == "" {
		c.problem(s.Line, s.To, "from is missing", "from: <the monolith's table>; data: names the tables of the service, each with from:, key: and columns:")
	}
	seenTo, seenFrom := map[string]bool{}, map[string]bool{}
	for _, col := range s.Columns {
		where := s.To + "." + col.To
		if seenTo[col.To] {
			c.problem(col.Line, where, "the column is declared twice", "")
		}
		seenTo[col.To] = true
		if col.Constant == nil {
			if col.From == "" {
				c.problem(col.Line, where, "from is missing", "from: <the monolith's column>, or constant: <value>")
			}
			if seenFrom[col.From] {
				c.problem(col.Line, where, fmt.Sprintf("the monolith's column %s is mapped twice, so the way back would be ambiguous", col.From), "map it once; derive the rest in the service")
			}
			seenFrom[col.From] = true
		}
		transform, err := c.transform(where, col)
		if err != nil {
			continue
		}
		t.columns = append(t.columns, Column{To: col.To, From: col.From, transform: transform})
	}
	c.key(s, t)
	t.index()
	return t
}

// key resolves the declared key columns, which must come across unchanged in
// meaning: a key that two rows could share on the other side is no key.
func (c *compiler) key(s TableSpec, t *Table) {
	if len(s.Key) == 0 {
		c.problem(s.Line, s.To, "key is missing", "key: <the column or columns that identify a row>")
	}
	for _, name := range s.Key {
		found := false
		for i, col := range t.columns {
			if col.To != name {
				continue
			}
			found = true
			if col.constant() {
				c.problem(s.Line, s.To, fmt.Sprintf("key column %s is a constant", name), "the key must come from the monolith")
			}
			t.key = append(t.key, i)
		}
		if !found {
			c.problem(s.Line, s.To, fmt.Sprintf("key column %s is not among the columns", name), "declare it under columns; the key names columns of "+s.To)
		}
	}
}

// transform compiles a column's transform.
func (c *compiler) transform(where string, s ColumnSpec) (transform, error) {
	var given []string
	add := func(set bool, name string) {
		if set {
			given = append(given, name)
		}
	}
	add(s.Scale != nil, "scale")
	add(len(s.Enum) > 0, "enum")
	add(s.Time != "", "time")
	add(s.Constant != nil, "constant")
	add(s.Cast != "", "cast")
	if len(given) > 1 {
		c.problem(s.Line, where, "has "+strings.Join(given, " and ")+" at once", "a column has at most one transform")
		return nil, errBad
	}
	if s.Zone != "" && s.Time == "" {
		c.problem(s.Line, where, "zone without time", `time: "2006-01-02 15:04:05", zone: `+s.Zone)
		return nil, errBad
	}
	switch {
	case s.Scale != nil:
		if *s.Scale < 0 || *s.Scale > 18 {
			c.problem(s.Line, where, fmt.Sprintf("scale %d is not between 0 and 18", *s.Scale), "")
			return nil, errBad
		}
		return scale{*s.Scale}, nil
	case len(s.Enum) > 0:
		return c.enum(where, s)
	case s.Time != "":
		return c.zoned(where, s)
	case s.Constant != nil:
		return constant{Text(*s.Constant)}, nil
	case s.Cast != "":
		return c.cast(where, s)
	}
	return rename{}, nil
}

var errBad = fmt.Errorf("bad column")

func (c *compiler) enum(where string, s ColumnSpec) (transform, error) {
	e := enum{names: map[string]string{}, values: map[string]string{}, integers: allIntegers(s.Enum)}
	bad := false
	for _, p := range s.Enum {
		if _, dup := e.names[p.From]; dup {
			c.problem(s.Line, where, fmt.Sprintf("enum lists %s twice", p.From), "")
			bad = true
		}
		e.names[p.From] = p.To
		first, dup := e.values[p.To]
		if dup && !c.spec.GiveUpRollback {
			c.problem(s.Line, where, fmt.Sprintf("enum maps both %s and %s to %s, so it cannot be inverted", first, p.From, p.To), "give each value a name of its own, or say rollback: given-up")
			bad = true
		}
		if !dup {
			e.values[p.To] = p.From
		}
	}
	if bad {
		return nil, errBad
	}
	return e, nil
}

func (c *compiler) zoned(where string, s ColumnSpec) (transform, error) {
	name := s.Zone
	if name == "" {
		c.problem(s.Line, where, "time without zone", "zone: the zone of the monolith's texts, such as Europe/Berlin or UTC")
		return nil, errBad
	}
	loc, err := time.LoadLocation(name)
	if err != nil {
		c.problem(s.Line, where, fmt.Sprintf("zone %s is not known", name), "a name of the IANA database, such as Europe/Berlin or UTC")
		return nil, errBad
	}
	// A layout must tell two different seconds apart, or the way back loses.
	probe := time.Date(2001, 11, 22, 13, 44, 55, 0, loc)
	back, err := time.ParseInLocation(s.Time, probe.Format(s.Time), loc)
	if err != nil || !back.Equal(probe) {
		c.problem(s.Line, where, fmt.Sprintf("time layout %q does not keep date, hour, minute and second, so it cannot be inverted", s.Time), `a Go layout such as "2006-01-02 15:04:05"`)
		return nil, errBad
	}
	return newZoned(s.Time, loc), nil
}

func (c *compiler) cast(where string, s ColumnSpec) (transform, error) {
	switch s.Cast {
	case "text", "bool", "decimal", "float", "int":
		return cast{s.Cast}, nil
	}
	c.problem(s.Line, where, fmt.Sprintf("cast %q is none of int, text, bool, decimal, float", s.Cast), "")
	return nil, errBad
}

// allIntegers reports whether every value is an integer as it would be written:
// 007 and 1-2 are texts.
func allIntegers(pairs []EnumPair) bool {
	for _, p := range pairs {
		if n, err := strconv.ParseInt(p.From, 10, 64); err != nil || strconv.FormatInt(n, 10) != p.From {
			return false
		}
	}
	return true
}
