package pair

import (
	"context"
	"fmt"
	"maps"
	"strconv"
	"strings"
	"time"
	"unicode"

	"stranglerfig/migrations/change"
	"stranglerfig/migrations/mapping"
)

// Difference is a difference between what the two sides wrote. Kind is missing
// (only the monolith wrote the row), extra (only the service did), deleted (one
// side deleted it) or different.
type Difference struct {
	Table    string // the service's
	Key      string // the monolith's row, in the service's schema
	Kind     string
	Column   string // of different
	Monolith string // the value as the mapping makes it
	Service  string
}

// apart is how far two moments may lie apart that each side's clock has told
// while both were asked the same, one after the other.
const apart = 10 * time.Second

// Effects compares what both sides have written since their marks, row by row,
// through the mapping. Rows are told by their keys, or, where a side made the
// keys up, in the order in which they were written: from then on the two keys
// stand for each other wherever they appear. Moments may lie a few seconds apart.
func (p *Pair) Effects(ctx context.Context) ([]Difference, error) {
	ours, err := p.read(ctx, change.Monolith)
	if err != nil {
		return nil, err
	}
	theirs, err := p.read(ctx, change.Service)
	if err != nil {
		return nil, err
	}
	var all []Difference
	// Parents come first in a plan, so that their keys are known when a row
	// refers to them.
	for n, t := range p.plan.Tables {
		pairs, left, more := p.match(n, of(ours, n), of(theirs, n))
		if written := len(pairs) + len(left) + len(more); written > 0 {
			p.rows[t.To] += int64(written)
		}
		for _, pair := range pairs {
			all = append(all, p.ids.compare(t, pair[0], pair[1])...)
		}
		for _, w := range left {
			all = append(all, Difference{Table: t.To, Key: mapping.EncodeKey(w.key), Kind: "missing", Monolith: shown(t, w)})
		}
		for _, w := range more {
			all = append(all, Difference{Table: t.To, Key: mapping.EncodeKey(w.key), Kind: "extra", Service: shown(t, w)})
		}
	}
	return all, nil
}

// Compared is how many rows Effects has compared, by the service's tables. One
// that only one side has written counts as well.
func (p *Pair) Compared() map[string]int64 { return maps.Clone(p.rows) }

func of(all []written, table int) []written {
	var some []written
	for _, w := range all {
		if w.table == table {
			some = append(some, w)
		}
	}
	return some
}

// match pairs the rows of a table, first by equal keys, then in order.
func (p *Pair) match(table int, ours, theirs []written) (pairs [][2]written, left, more []written) {
	by := map[string]int{}
	for n, w := range theirs {
		by[mapping.EncodeKey(w.key)] = n
	}
	taken := map[int]bool{}
	for _, w := range ours {
		n, same := by[mapping.EncodeKey(p.ids.theirs(table, w.key))]
		if same && !taken[n] {
			taken[n] = true
			pairs = append(pairs, [2]written{w, theirs[n]})
			continue
		}
		left = append(left, w)
	}
	for n, w := range theirs {
		if !taken[n] {
			more = append(more, w)
		}
	}
	for len(left) > 0 && len(more) > 0 {
		p.ids.learn(table, left[0].key, more[0].key)
		pairs = append(pairs, [2]written{left[0], more[0]})
		left, more = left[1:], more[1:]
	}
	return pairs, left, more
}

// compare tells two rows apart that stand for each other.
func (i *ids) compare(t *mapping.Table, ours, theirs written) []Difference {
	key := mapping.EncodeKey(ours.key)
	if (ours.row == nil) != (theirs.row == nil) {
		return []Difference{{Table: t.To, Key: key, Kind: "deleted", Monolith: shown(t, ours), Service: shown(t, theirs)}}
	}
	var all []Difference
	for n, column := range t.Columns() {
		if ours.row == nil {
			break
		}
		a, b := ours.row[n], theirs.row[n]
		if !i.same(column, a.String(), b.String()) {
			all = append(all, Difference{Table: t.To, Key: key, Kind: "different", Column: column.To, Monolith: a.String(), Service: b.String()})
		}
	}
	return all
}

func shown(t *mapping.Table, w written) string {
	if w.row == nil {
		return "deleted"
	}
	parts := make([]string, len(w.row))
	for n, column := range t.Columns() {
		parts[n] = column.To + "=" + told(w.row[n].String())
	}
	return strings.Join(parts, " ")
}

// told is a value among others: in quotes, unless it is one word or a document, so
// that what takes secrets out by their names sees where it ends.
func told(value string) string {
	var document any
	if !strings.ContainsFunc(value, unicode.IsSpace) && !strings.Contains(value, `"`) || decode(value, &document) {
		return value
	}
	return strconv.Quote(value)
}

// String is the difference on one line.
func (d Difference) String() string {
	where := fmt.Sprintf("%s %s", d.Table, d.Key)
	switch d.Kind {
	case "missing":
		return where + ": only the monolith wrote it: " + d.Monolith
	case "extra":
		return where + ": only the service wrote it: " + d.Service
	}
	return fmt.Sprintf("%s %s: the monolith wrote %s, the service %s", where, d.Column, d.Monolith, d.Service)
}
