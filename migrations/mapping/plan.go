package mapping

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"
)

// Plan is a compiled spec.
type Plan struct {
	Capability string
	Tables     []*Table
}

// Table is a compiled table mapping. It is immutable and safe for concurrent
// use.
type Table struct {
	From, To string

	columns []Column // in the order of the service's row
	key     []int    // indices into columns

	source      []int // indices into columns that the monolith has, in its row's order
	sourceIndex []int // column -> index in the monolith's row, or -1
}

// Column is a compiled column mapping.
type Column struct {
	To, From  string
	transform transform
}

func (c Column) constant() bool { _, ok := c.transform.(constant); return ok }

// Transform says what a column's transform is, for a database that pushes it
// down into SQL.
type Transform struct {
	Kind   string // rename, scale, enum, time, constant or cast
	Digits int    // scale
	Names  map[string]string
	// Integers says that an enum's values are integers rather than texts.
	Integers bool
	Layout   string // time
	Zone     string
	Value    Value // constant
}

// Transform describes the column's transform.
func (c Column) Transform() Transform {
	switch t := c.transform.(type) {
	case rename:
		return Transform{Kind: "rename"}
	case scale:
		return Transform{Kind: "scale", Digits: t.digits}
	case enum:
		return Transform{Kind: "enum", Names: t.names, Integers: t.integers}
	case zoned:
		return Transform{Kind: "time", Layout: t.layout, Zone: t.loc.String()}
	case constant:
		return Transform{Kind: "constant", Value: t.value}
	}
	return Transform{Kind: "cast"}
}

// There maps one value of the monolith to the service's; NULL stays NULL.
func (c Column) There(v Value) (Value, error) {
	if v.IsNull() && !c.constant() {
		return v, nil
	}
	return c.transform.there(v)
}

// Back maps one value of the service to the monolith's; NULL stays NULL.
func (c Column) Back(v Value) (Value, error) {
	if v.IsNull() {
		return v, nil
	}
	return c.transform.back(v)
}

func (t *Table) index() {
	t.sourceIndex = make([]int, len(t.columns))
	for i, c := range t.columns {
		t.sourceIndex[i] = -1
		if !c.constant() {
			t.sourceIndex[i] = len(t.source)
			t.source = append(t.source, i)
		}
	}
}

// Columns returns the column mappings in the order of the service's row.
func (t *Table) Columns() []Column { return t.columns }

// SourceColumns lists the monolith's columns, in its rows' order.
func (t *Table) SourceColumns() []string {
	names := make([]string, len(t.source))
	for i, c := range t.source {
		names[i] = t.columns[c].From
	}
	return names
}

// TargetColumns lists the service's columns, in its rows' order.
func (t *Table) TargetColumns() []string {
	names := make([]string, len(t.columns))
	for i, c := range t.columns {
		names[i] = c.To
	}
	return names
}

// SourceKey returns the key's indices in the monolith's rows.
func (t *Table) SourceKey() []int {
	key := make([]int, len(t.key))
	for i, c := range t.key {
		key[i] = t.sourceIndex[c]
	}
	return key
}

// TargetKey returns the key's indices in the service's rows.
func (t *Table) TargetKey() []int { return append([]int(nil), t.key...) }

// ValueError is a value that a mapping does not accept.
type ValueError struct {
	Table  string
	Key    []Value
	Column string
	Err    error
}

func (e *ValueError) Error() string {
	return fmt.Sprintf("table %s, key %s, column %s: %v", e.Table, EncodeKey(e.Key), e.Column, e.Err)
}

func (e *ValueError) Unwrap() error { return e.Err }

// Forward maps a row of the monolith to the service's. The error is a
// *ValueError.
func (t *Table) Forward(row []Value) ([]Value, error) {
	out := make([]Value, len(t.columns))
	for i := range t.columns {
		c := &t.columns[i]
		var v Value
		if s := t.sourceIndex[i]; s >= 0 {
			v = row[s]
		}
		var err error
		if out[i], err = c.There(v); err != nil {
			return nil, &ValueError{t.From, pick(row, t.SourceKey()), c.From, err}
		}
	}
	return out, nil
}

// Inverse maps a row of the service to the monolith's. The error is a
// *ValueError.
func (t *Table) Inverse(row []Value) ([]Value, error) {
	out := make([]Value, len(t.source))
	for i, at := range t.source {
		c := &t.columns[at]
		var err error
		if out[i], err = c.Back(row[at]); err != nil {
			return nil, &ValueError{t.To, pick(row, t.key), c.To, err}
		}
	}
	return out, nil
}

// ForwardColumns maps indices into the monolith's rows to those into the service's.
func (t *Table) ForwardColumns(columns []int) []int {
	mapped := make([]int, len(columns))
	for i, c := range columns {
		mapped[i] = t.source[c]
	}
	return mapped
}

// InverseColumns maps indices into the service's rows to those into the monolith's,
// which lacks the constant ones.
func (t *Table) InverseColumns(columns []int) []int {
	var mapped []int
	for _, c := range columns {
		if t.sourceIndex[c] >= 0 {
			mapped = append(mapped, t.sourceIndex[c])
		}
	}
	return mapped
}

// ForwardKey maps a key of the monolith to the service's.
func (t *Table) ForwardKey(key []Value) ([]Value, error) {
	return t.mapKey(key, t.From, Column.There)
}

// InverseKey maps a key of the service to the monolith's.
func (t *Table) InverseKey(key []Value) ([]Value, error) {
	return t.mapKey(key, t.To, Column.Back)
}

func (t *Table) mapKey(key []Value, table string, with func(Column, Value) (Value, error)) ([]Value, error) {
	if key == nil {
		return nil, nil
	}
	out := make([]Value, len(key))
	for i, at := range t.key {
		var err error
		if out[i], err = with(t.columns[at], key[i]); err != nil {
			return nil, &ValueError{table, key, t.columns[at].To, err}
		}
	}
	return out, nil
}

func pick(row []Value, at []int) []Value {
	key := make([]Value, len(at))
	for i, c := range at {
		key[i] = row[c]
	}
	return key
}

// Digest identifies the plan: it changes with any table, key, column or
// transform.
func (p *Plan) Digest() string {
	var b strings.Builder
	for _, t := range p.Tables {
		fmt.Fprintf(&b, "%q from %q key %v\n", t.To, t.From, t.key)
		for _, c := range t.columns {
			fmt.Fprintf(&b, " %q from %q %s\n", c.To, c.From, c.transform.describe())
		}
	}
	sum := sha256.Sum256([]byte(b.String()))
	return hex.EncodeToString(sum[:8])
}
