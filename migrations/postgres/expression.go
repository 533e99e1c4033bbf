package postgres

import (
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5/pgtype"

	"stranglerfig/migrations/change"
	"stranglerfig/migrations/mapping"
)

// expressions writes a table's mapping in SQL: for each column of the other
// side's row, an expression over this side's row, called t, that yields what the
// mapping's reference semantics and the applier would store. A value that the
// mapping refuses ends the statement with an error; it is never changed
// silently. ok is false where that cannot be promised, and rows then have to
// pass through this process.
//
// An expression has the other column's type, without its length or precision,
// because a cast to those would cut silently. A column of an enumeration gets
// text, which is how its values travel.
func expressions(plan *mapping.Table, from, to *layout, side change.Side) (all []string, ok bool) {
	for i, name := range to.table.Columns {
		c := columnOf(plan, side, name)
		target := to.types[i]
		if c.Transform().Kind == "constant" {
			all = append(all, literal(encodeFor(target.oid, c.Transform().Value))+"::"+target.travels())
			continue
		}
		here := c.From
		if side == change.Service {
			here = c.To
		}
		at := slices.Index(from.table.Columns, here)
		source := from.types[at]
		e, ok := expression(c.Transform(), "t."+quote(here), source, target, side)
		if !ok {
			return nil, false
		}
		all = append(all, e)
	}
	return all, true
}

// columnOf returns the mapping of a column of the other side's row.
func columnOf(plan *mapping.Table, side change.Side, name string) mapping.Column {
	columns := plan.Columns()
	return columns[slices.IndexFunc(columns, func(c mapping.Column) bool {
		return side == change.Monolith && c.To == name || side == change.Service && c.From == name
	})]
}

func expression(t mapping.Transform, value string, from, to column, side change.Side) (string, bool) {
	switch t.Kind {
	case "rename":
		return converted(value, from, to)
	case "scale":
		if side == change.Service {
			return unscaled(value, t.Digits, from, to)
		}
		return scaled(value, t.Digits, from, to)
	case "enum":
		return named(value, t, from, to, side)
	}
	return "", false
}

// travels is the type that a column's values are sent as: those of an
// enumeration as their names, since each database has an enumeration of its own.
func (c column) travels() string {
	if c.class == "e" {
		return "text"
	}
	return c.cast
}

// builtin reports whether a type is the same in every database.
func builtin(oid uint32) bool { return oid < firstUserOID }

// firstUserOID is where PostgreSQL's own objects end.
const firstUserOID = 16384

func isInteger(c column) bool {
	return c.oid == pgtype.Int2OID || c.oid == pgtype.Int4OID || c.oid == pgtype.Int8OID
}

func isText(c column) bool {
	return c.oid == pgtype.TextOID || c.oid == pgtype.VarcharOID || c.class == "e"
}

// converted passes a value on. Between different types it does so only where
// the conversion keeps every value, or fails.
func converted(value string, from, to column) (string, bool) {
	switch {
	case from.oid == to.oid && builtin(to.oid):
		return value, true
	case isText(from) && isText(to):
		return value + "::text", true
	case isInteger(from) && (isInteger(to) || to.oid == pgtype.NumericOID):
		return value + "::" + to.cast, true
	}
	return "", false
}

// scaled counts a decimal in its smallest unit.
func scaled(value string, digits int, from, to column) (string, bool) {
	if from.oid != pgtype.NumericOID && !isInteger(from) || !isInteger(to) && to.oid != pgtype.NumericOID {
		return "", false
	}
	return fmt.Sprintf("CASE WHEN %[1]s IS NULL THEN NULL WHEN min_scale(%[1]s::numeric) <= %[2]d THEN (%[1]s::numeric * 1%[3]s)::int8::%[4]s ELSE %[5]s::%[4]s END",
		value, digits, strings.Repeat("0", digits), to.cast, refusal(value)), true
}

// unscaled is the way back.
func unscaled(value string, digits int, from, to column) (string, bool) {
	if !isInteger(from) || to.oid != pgtype.NumericOID {
		return "", false
	}
	unit := "1"
	if digits > 0 {
		unit = "0." + strings.Repeat("0", digits-1) + "1"
	}
	return fmt.Sprintf("(%s::numeric * %s)", value, unit), true
}

// named gives values names, and names values.
func named(value string, t mapping.Transform, from, to column, side change.Side) (string, bool) {
	there := side == change.Monolith
	whole, name := from, to
	if !there {
		whole, name = to, from
	}
	// An integer is compared as one, everything else letter for letter.
	compared, of := value+"::text", func(v string) string { return literal(v) + ` COLLATE "C"` }
	if there && t.Integers {
		compared, of = value, func(v string) string { return v }
	}
	if !isText(name) || t.Integers && !isInteger(whole) || !t.Integers && !isText(whole) {
		return "", false
	}
	values := make([]string, 0, len(t.Names))
	for v := range t.Names {
		values = append(values, v)
	}
	slices.Sort(values)
	var b strings.Builder
	fmt.Fprintf(&b, "CASE WHEN %s IS NULL THEN NULL", value)
	seen := map[string]bool{}
	for _, v := range values {
		if there {
			fmt.Fprintf(&b, " WHEN %s = %s THEN %s::text", compared, of(v), literal(t.Names[v]))
			continue
		}
		if seen[t.Names[v]] {
			return "", false // the way back was given up, and which value it takes is the reference's to say
		}
		seen[t.Names[v]] = true
		fmt.Fprintf(&b, " WHEN %s = %s THEN %s::%s", compared, of(t.Names[v]), literal(v), to.travels())
	}
	fmt.Fprintf(&b, " ELSE %s::%s END", refusal(value), to.travels())
	return b.String(), true
}

// refusal ends a statement with an error that quotes the value. It is an
// integer for the looks of it only.
func refusal(value string) string {
	return fmt.Sprintf("('refused by the mapping: ' || %s::text)::int8", value)
}
