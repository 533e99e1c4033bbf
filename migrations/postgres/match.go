package postgres

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"

	"stranglerfig/migrations/change"
	"stranglerfig/migrations/mapping"
)

var _ change.Matcher = (*DB)(nil)

// bounds of a column's values. What does not apply to its type is 0.
type bounds struct {
	required bool // NULL is refused
	bytes    int  // of an integer
	length   int  // of a text, in characters
	digits   int  // of a decimal, before the point
	decimals int  // of a decimal that has bounds
}

// boundless is the length of a text and the number of digits that have no bound.
const boundless = math.MaxInt

// Match says where the rows of a leading database may not fit into this one:
// what they would need to hold that a column here cannot, or must not.
func (db *DB) Match(ctx context.Context, leader change.Database, plan *mapping.Plan) ([]change.Problem, error) {
	from, ok := leader.(*DB)
	if !ok {
		return nil, nil
	}
	var all []change.Problem
	for i, t := range plan.Tables {
		found, err := db.matchTable(ctx, from, t, i)
		if err != nil {
			return nil, fmt.Errorf("hold %s against %s: %w", t.To, t.From, err)
		}
		all = append(all, found...)
	}
	return all, nil
}

func (db *DB) matchTable(ctx context.Context, from *DB, t *mapping.Table, i int) ([]change.Problem, error) {
	theirs, err := readBounds(ctx, from.pool, from.tables[i])
	if err != nil {
		return nil, err
	}
	ours, err := readBounds(ctx, db.pool, db.tables[i])
	if err != nil {
		return nil, err
	}
	var found []change.Problem
	for _, c := range t.Columns() {
		leads, known := theirs[c.From]
		holds, exists := ours[c.To]
		if !known || !exists {
			continue // a constant, or a column that is not there, which is said elsewhere
		}
		found = append(found, match(t, c, leads, holds)...)
	}
	return append(found, db.matchUnique(ctx, from, t, i)...), nil
}

// match judges one column; what other transforms make of a value is not compared.
func match(t *mapping.Table, c mapping.Column, leads, holds bounds) []change.Problem {
	subject, source := t.To+"."+c.To, t.From+"."+c.From
	var found []change.Problem
	if holds.required && !leads.required {
		found = append(found, warning(subject, "may not be NULL, but "+source+" may", "make sure that no row has NULL there, or let the column have it"))
	}
	switch c.Transform().Kind {
	case "rename":
		return append(found, matchPlain(subject, source, leads, holds)...)
	case "scale":
		return append(found, matchScaled(subject, source, c.Transform().Digits, leads, holds)...)
	}
	return found
}

// matchScaled judges a decimal that is counted in its smallest unit.
func matchScaled(subject, source string, digits int, leads, holds bounds) (found []change.Problem) {
	if leads.digits > 0 && leads.digits < boundless && leads.decimals > digits {
		found = append(found, warning(subject, fmt.Sprintf("counts %d decimals, but %s keeps %d", digits, source, leads.decimals), "map it with as many: an amount that has more decimals stops the copy"))
	}
	safe := map[int]int{2: 4, 4: 9, 8: 18}[holds.bytes] // digits that always fit
	if safe == 0 || leads.digits == 0 && leads.bytes == 0 {
		return found
	}
	most := leads.digits
	if leads.bytes > 0 {
		most = map[int]int{2: 5, 4: 10, 8: 19}[leads.bytes]
	}
	if most > safe-digits && (most < boundless || holds.bytes < 8) {
		found = append(found, warning(subject, fmt.Sprintf("is an integer of %d bytes and holds any amount of %d digits before the point, but %s may have more", holds.bytes, max(0, safe-digits), source),
			"make it a bigint: an amount that does not fit stops the stream"))
	}
	return found
}

// matchPlain judges a value that stays as it is.
func matchPlain(subject, source string, leads, holds bounds) (found []change.Problem) {
	switch {
	case holds.bytes > 0 && holds.bytes < leads.bytes:
		found = append(found, warning(subject, fmt.Sprintf("is an integer of %d bytes, but %s has %d", holds.bytes, source, leads.bytes), "make it as wide: a number that does not fit stops the stream"))
	case holds.length > 0 && holds.length < leads.length:
		found = append(found, warning(subject, fmt.Sprintf("holds %d characters, but %s more", holds.length, source), "make it as long: a text that does not fit stops the stream"))
	case holds.digits > 0 && holds.digits < boundless && (leads.digits == boundless || leads.decimals > holds.decimals):
		found = append(found, warning(subject, fmt.Sprintf("keeps %d decimals, but %s more", holds.decimals, source), "let it keep as many: what is beyond them is rounded away, and a verification finds the rows different"))
	case holds.digits > 0 && leads.digits > holds.digits:
		found = append(found, warning(subject, fmt.Sprintf("has %d digits before the point, but %s has %d", holds.digits, source, leads.digits), "let it have as many: a number that does not fit stops the stream"))
	}
	return found
}

func readBounds(ctx context.Context, q querier, t change.Table) (map[string]bounds, error) {
	rows, err := q.Query(ctx, "SELECT attname, attnotnull, atttypid, atttypmod FROM pg_attribute WHERE attrelid = to_regclass($1) AND attnum > 0 AND NOT attisdropped", relation(t.Name))
	if err != nil {
		return nil, err
	}
	all := map[string]bounds{}
	var name string
	var required bool
	var oid uint32
	var modifier int32
	_, err = pgx.ForEachRow(rows, []any{&name, &required, &oid, &modifier}, func() error {
		all[name] = boundsOf(oid, modifier, required)
		return nil
	})
	return all, err
}

// boundsOf reads a type's modifier, which is the header's 4 bytes more than what
// was declared.
func boundsOf(oid uint32, modifier int32, required bool) bounds {
	b := bounds{required: required}
	const header = 4
	declared := int(modifier - header)
	switch oid {
	case pgtype.Int2OID:
		b.bytes = 2
	case pgtype.Int4OID:
		b.bytes = 4
	case pgtype.Int8OID:
		b.bytes = 8
	case pgtype.VarcharOID, pgtype.BPCharOID:
		if b.length = boundless; declared > 0 {
			b.length = declared
		}
	case pgtype.TextOID:
		b.length = boundless
	case pgtype.NumericOID:
		if b.digits = boundless; declared > 0 {
			b.decimals = declared & 0xffff
			b.digits = max(1, declared>>16-b.decimals)
		}
	}
	return b
}

// matchUnique: what must be unique here is unique there. A table or column that
// is missing is spoken of elsewhere.
func (db *DB) matchUnique(ctx context.Context, from *DB, t *mapping.Table, i int) []change.Problem {
	here, errHere := db.layout(ctx, db.pool, i)
	there, errThere := from.layout(ctx, from.pool, i)
	if errHere != nil || errThere != nil {
		return nil
	}
	source := map[string]string{}
	for _, c := range t.Columns() {
		source[c.To] = c.From
	}
	var found []change.Problem
	for _, unique := range here.unique {
		names := pick(here.table.Columns, unique)
		sources := make([]string, len(names))
		for n, name := range names {
			sources[n] = source[name]
		}
		if !there.makesUnique(sources) {
			found = append(found, warning(t.To, fmt.Sprintf("demands that (%s) is unique, which %s does not", strings.Join(names, ", "), t.From),
				"make sure that it is: two rows with one value stop the stream"))
		}
	}
	return found
}

// makesUnique reports whether a key or a unique index lies within columns.
func (l *layout) makesUnique(columns []string) bool {
	return slices.ContainsFunc(append([][]int{l.table.Key}, l.unique...), func(unique []int) bool {
		return isSubset(pick(l.table.Columns, unique), columns)
	})
}

// pick returns the names at some places.
func pick(names []string, at []int) []string {
	picked := make([]string, len(at))
	for i, c := range at {
		picked[i] = names[c]
	}
	return picked
}
