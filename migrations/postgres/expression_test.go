package postgres_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"stranglerfig/migrations/change"
	"stranglerfig/migrations/mapping"
)

// pushing is a column that is copied by a transform from a type to a type.
type pushing struct {
	from, to string
	column   mapping.ColumnSpec
	values   []string // in SQL; each of them a row
}

var two, nine = 2, 9

var named = []mapping.EnumPair{{From: "0", To: "none"}, {From: "1", To: "it's one"}, {From: "-7", To: "minus"}}

var spelled = []mapping.EnumPair{{From: "a", To: "A"}, {From: "A", To: "b"}, {From: "", To: "empty"}, {From: "it's", To: `q"\`}}

var pushings = []pushing{
	{"int2", "int8", mapping.ColumnSpec{}, []string{"0", "-32768", "32767", "NULL"}},
	{"int8", "int2", mapping.ColumnSpec{}, []string{"5", "32768", "-9223372036854775808"}},
	{"int8", "numeric(6, 1)", mapping.ColumnSpec{}, []string{"99999", "100000", "-3"}},
	{"numeric", "numeric(6, 2)", mapping.ColumnSpec{}, []string{"1.5", "1.005", "'NaN'", "'Infinity'", "12345678"}},
	{"text", "varchar(3)", mapping.ColumnSpec{}, []string{"''", "'abc'", "'abcd'", "'ab   '", "'äöü'"}},
	{"varchar(10)", "text", mapping.ColumnSpec{}, []string{"'x '", "E'\\\\N'", "E'tab\\there'"}},
	{"char(4)", "char(4)", mapping.ColumnSpec{}, []string{"'a'", "''"}},
	{"char(4)", "char(9)", mapping.ColumnSpec{}, []string{"'a'", "'abcd'"}},
	{"char(4)", "text", mapping.ColumnSpec{}, []string{"'a'"}},
	{"float8", "float8", mapping.ColumnSpec{}, []string{"'-0'", "'NaN'", "'-Infinity'", "1e308", "0.1"}},
	{"timestamptz", "timestamptz(0)", mapping.ColumnSpec{}, []string{"'2026-03-29 02:30:00.6+01'", "'infinity'", "'0044-03-15 BC'"}},
	{"colour", "colour", mapping.ColumnSpec{}, []string{"'red'", "'it''s green'", "NULL"}},
	{"text", "colour", mapping.ColumnSpec{}, []string{"'red'", "'blue'"}},
	{"jsonb", "jsonb", mapping.ColumnSpec{}, []string{`'{"a": [1, null, "\u00e4"]}'`}},
	{"bytea", "bytea", mapping.ColumnSpec{}, []string{`'\x00ff'`, "''"}},
	{"int[]", "int[]", mapping.ColumnSpec{}, []string{"'{1,NULL,3}'", "'{}'"}},
	{"numeric", "int8", mapping.ColumnSpec{Scale: &two}, []string{"12.30", "-0.01", "0", "1.005", "1.00000", "92233720368547758.07", "92233720368547758.08", "'NaN'", "'Infinity'", "NULL"}},
	{"numeric", "int4", mapping.ColumnSpec{Scale: &two}, []string{"21474836.47", "21474836.48"}},
	{"int4", "int8", mapping.ColumnSpec{Scale: &nine}, []string{"2147483647", "-1"}},
	{"numeric", "numeric", mapping.ColumnSpec{Scale: &two}, []string{"1.5", "1.555"}},
	{"float8", "int8", mapping.ColumnSpec{Scale: &two}, []string{"0.1", "1.005", "'NaN'"}},
	{"int4", "text", mapping.ColumnSpec{Enum: named}, []string{"0", "1", "-7", "2", "NULL"}},
	{"bool", "text", mapping.ColumnSpec{Enum: []mapping.EnumPair{{From: "true", To: "yes"}, {From: "false", To: "no"}}}, []string{"true", "false"}},
	{"text", "text", mapping.ColumnSpec{Enum: spelled}, []string{"'a'", "'A'", "''", "'it''s'", "'a '", "NULL"}},
	{"text", "colour", mapping.ColumnSpec{Enum: []mapping.EnumPair{{From: "r", To: "red"}, {From: "g", To: "it's green"}}}, []string{"'r'", "'g'"}},
	{"int4", "text", mapping.ColumnSpec{Cast: "text"}, []string{"7"}},
	{"text", "int4", mapping.ColumnSpec{Cast: "int"}, []string{"'7'", "'007'"}},
	{"text", "text", mapping.ColumnSpec{Time: "2006-01-02 15:04:05", Zone: "Europe/Berlin"}, []string{"'2026-10-25 02:30:00'", "'2026-03-29 02:30:00'", "'2026-07-01 12:00:00'"}},
}

// TestWhatIsPushedIsWhatTheMappingMakesOfIt: each value is copied once within
// the databases, where that can be, and once through the mapping, and arrives as
// the same or is refused by both. Beside the tricky values there are drawn ones.
func TestWhatIsPushedIsWhatTheMappingMakesOfIt(t *testing.T) {
	needServer(t)
	drawn := 20
	if testing.Short() {
		drawn = 6
	}
	const colours = "CREATE TYPE colour AS ENUM ('red', 'it''s green'); "
	for n, p := range pushings {
		t.Run(fmt.Sprintf("%s to %s %s", p.from, p.to, transformName(p.column)), func(t *testing.T) {
			p.column.To, p.column.From = "v", "v"
			plan, problems := mapping.Compile(mapping.Spec{Capability: "move", Tables: []mapping.TableSpec{{To: "y", From: "x", Key: []string{"id"},
				Columns: []mapping.ColumnSpec{{To: "id", From: "id"}, p.column}}}})
			if len(problems) > 0 {
				t.Fatal(problems)
			}
			leader := prepared(t, change.Leading, colours+"CREATE TABLE x (id int PRIMARY KEY, v "+p.from+")", tables(plan, change.Monolith)...)
			dice := rand.New(rand.NewPCG(7, uint64(n)))
			for draw := draws[p.from]; draw != nil && len(p.values) < drawn; {
				p.values = append(p.values, draw(dice))
			}
			for i, v := range p.values {
				exec(t, leader.app, fmt.Sprintf("INSERT INTO x VALUES (%d, %s)", i, v))
			}
			schema := colours + "CREATE TABLE y (id int PRIMARY KEY, v " + p.to + ")"
			pushed := prepared(t, change.Following, schema, tables(plan, change.Service)...)
			mapped := prepared(t, change.Following, schema, tables(plan, change.Service)...)
			for i, v := range p.values {
				key := change.Key{mapping.Int(int64(i))}
				errPushed := leader.pushOne(pushed, plan, i)
				rows, err := leader.db.Lookup(t.Context(), 0, []change.Key{key})
				must(t, err)
				row, errMapped := plan.Tables[0].Forward(rows[0])
				if errMapped == nil {
					errMapped = mapped.db.Repair(t.Context(), change.Change{Kind: change.Put, Key: key, Row: row})
				}
				if (errPushed == nil) != (errMapped == nil) {
					t.Errorf("%s: pushed %v, mapped %v", v, errPushed, errMapped)
				}
				if errPushed != nil && !strings.Contains(errPushed.Error(), fmt.Sprint(i)) {
					t.Errorf("%s: the error does not name its row: %v", v, errPushed)
				}
			}
			expectSame(t, mapped, pushed, "y")
		})
	}
}

// pushOne pushes the row of a key as a part by itself.
func (s *side) pushOne(to *side, plan *mapping.Plan, key int) error {
	s.Helper()
	before, last := change.Key{mapping.Int(int64(key - 1))}, change.Key{mapping.Int(int64(key))}
	exec(s.T, to.app, "INSERT INTO strangler.part (id, tab, no, up_to, last, rows, done) SELECT id, 0, $1, $2, $3, 0, false FROM strangler.move", key, mapping.EncodeKey(last), mapping.EncodeKey(before))
	_, _, err := s.db.PushPart(s.Context(), to.db, plan.Tables[0], change.Part{No: key, UpTo: last, Loaded: change.Loaded{Last: before}}, 10)
	return err
}

// draws writes random values of a type, in SQL.
var draws = map[string]func(r *rand.Rand) string{
	"int2":        func(r *rand.Rand) string { return fmt.Sprint(int16(r.Uint32())) },
	"int4":        func(r *rand.Rand) string { return drawInt(r, 31) },
	"int8":        func(r *rand.Rand) string { return drawInt(r, 63) },
	"numeric":     drawNumeric,
	"text":        func(r *rand.Rand) string { return drawText(r, 12) },
	"varchar(10)": func(r *rand.Rand) string { return drawText(r, 10) },
	"char(4)":     func(r *rand.Rand) string { return drawText(r, 4) },
	"float8": func(r *rand.Rand) string {
		return fmt.Sprintf("'%v'", math.Float64frombits(r.Uint64()&^(1<<62)))
	},
	"timestamptz": func(r *rand.Rand) string {
		return fmt.Sprintf("to_timestamp(%d) + interval '%d microseconds'", r.Int64N(4e10)-2e10, r.IntN(1e6))
	},
	"bytea": func(r *rand.Rand) string { return fmt.Sprintf(`'\x%016x'`, r.Uint64()) },
}

// drawInt is a number of at most so many bits, few of them large.
func drawInt(r *rand.Rand, bits int) string {
	n := r.Uint64() >> (64 - 1 - r.IntN(bits))
	return []string{"", "-"}[r.IntN(2)] + fmt.Sprint(n)
}

// drawNumeric is a number of up to 20 digits before and 4 after the point, with
// zeros at its end at times.
func drawNumeric(r *rand.Rand) string {
	return drawInt(r, 63) + []string{"", ".", ".0", ".5", ".10", ".01", ".99", ".995", ".0050", "00.00"}[r.IntN(10)]
}

// drawText is a text of letters that are easily spoiled.
func drawText(r *rand.Rand, most int) string {
	letters := []string{"a", "A", " ", "ä", "𝄞", `\`, "''", `"`, "{", ",", "\t", "\n", "0", "7", "N", "\u200b"}
	var b strings.Builder
	for range r.IntN(most + 1) {
		b.WriteString(letters[r.IntN(len(letters))])
	}
	return "'" + b.String() + "'"
}

func transformName(c mapping.ColumnSpec) string {
	switch {
	case c.Scale != nil:
		return fmt.Sprint("scaled by ", *c.Scale)
	case c.Enum != nil:
		return "named"
	case c.Cast != "":
		return "cast to " + c.Cast
	case c.Time != "":
		return "as a time"
	}
	return "as it is"
}
