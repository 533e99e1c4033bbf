package postgres

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"stranglerfig/migrations/change"
)

// column is what the catalog says about a column.
type column struct {
	name      string
	oid       uint32 // of its type
	cast      string // name of its type, for a cast that does not shorten
	class     string // of its type: b base, e enumeration, d domain, …
	notNull   bool
	fallback  bool // it has a default, or generates one
	generated bool // from other columns: it cannot be written
	always    bool // GENERATED ALWAYS AS IDENTITY
}

// index is a unique index.
type index struct {
	name      string
	columns   []string // nil where one of them is an expression
	primary   bool
	partial   bool
	immediate bool // checked at once, not deferrable
	identity  bool // chosen as the replica identity
}

// plain reports whether an index makes all rows unique in columns, at once.
func (x index) plain() bool { return x.columns != nil && !x.partial && x.immediate }

// layout is what the catalog says about a mapped table, as far as writing and
// reading it need.
type layout struct {
	table  change.Table
	oid    uint32
	name   string // without the schema
	types  []column
	rest   []string // columns beside the mapped ones that may be written
	unique [][]int  // what else must be unique, as indices into the columns
}

func readLayout(ctx context.Context, q querier, t change.Table) (*layout, error) {
	l := &layout{table: t}
	err := q.QueryRow(ctx, "SELECT oid, relname FROM pg_class WHERE oid = to_regclass($1)", relation(t.Name)).Scan(&l.oid, &l.name)
	if err == pgx.ErrNoRows {
		return nil, fmt.Errorf("there is no table %s: restore it, or cancel the move", t.Name)
	}
	if err != nil {
		return nil, err
	}
	columns, err := readColumns(ctx, q, l.oid)
	if err != nil {
		return nil, err
	}
	for _, name := range t.Columns {
		i := slices.IndexFunc(columns, func(c column) bool { return c.name == name })
		if i < 0 {
			return nil, fmt.Errorf("table %s has no column %s: restore it, or cancel the move", t.Name, name)
		}
		l.types = append(l.types, columns[i])
	}
	for _, c := range columns {
		if !c.generated && !slices.Contains(t.Columns, c.name) {
			l.rest = append(l.rest, c.name)
		}
	}
	indexes, err := readUnique(ctx, q, l.oid)
	if err != nil {
		return nil, err
	}
	for _, x := range indexes {
		if at := positions(t.Columns, x.columns); x.plain() && at != nil && !sameSet(at, t.Key) {
			l.unique = append(l.unique, at)
		}
	}
	return l, nil
}

// positions returns where names stand in a list, nil unless all of them do.
func positions(list, names []string) []int {
	var at []int
	for _, name := range names {
		i := slices.Index(list, name)
		if i < 0 {
			return nil
		}
		at = append(at, i)
	}
	return at
}

func sameSet[T comparable](a, b []T) bool {
	return len(a) == len(b) && !slices.ContainsFunc(a, func(x T) bool { return !slices.Contains(b, x) })
}

func readColumns(ctx context.Context, q querier, oid uint32) ([]column, error) {
	rows, err := q.Query(ctx, `SELECT a.attname, a.atttypid, format_type(a.atttypid, -1), t.typtype::text, a.attnotnull,
		a.atthasdef OR a.attidentity <> '', a.attgenerated <> '', a.attidentity = 'a'
		FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid
		WHERE a.attrelid = $1 AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum`, oid)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (c column, err error) {
		err = row.Scan(&c.name, &c.oid, &c.cast, &c.class, &c.notNull, &c.fallback, &c.generated, &c.always)
		return c, err
	})
}

func readUnique(ctx context.Context, q querier, oid uint32) ([]index, error) {
	rows, err := q.Query(ctx, `SELECT c.relname, x.indisprimary, x.indpred IS NOT NULL, x.indimmediate, x.indisreplident,
		CASE WHEN x.indexprs IS NULL THEN (SELECT array_agg(a.attname::text ORDER BY k.n) FROM unnest(x.indkey) WITH ORDINALITY AS k(num, n)
			JOIN pg_attribute a ON a.attrelid = x.indrelid AND a.attnum = k.num WHERE k.n <= x.indnkeyatts) END
		FROM pg_index x JOIN pg_class c ON c.oid = x.indexrelid
		WHERE x.indrelid = $1 AND x.indisunique AND x.indisvalid ORDER BY c.relname`, oid)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (x index, err error) {
		err = row.Scan(&x.name, &x.primary, &x.partial, &x.immediate, &x.identity, &x.columns)
		return x, err
	})
}

// family lists the oids of table $1 and of all its partitions.
const family = `SELECT to_regclass($1)::oid AS member WHERE to_regclass($1) IS NOT NULL
	UNION SELECT relid::oid FROM pg_partition_tree(to_regclass($1))`

// members lists a table and its partitions by quoted name.
func members(ctx context.Context, q querier, t change.Table) ([]string, error) {
	return texts(ctx, q, "SELECT member::regclass::text AS name FROM ("+family+") AS f ORDER BY member", relation(t.Name))
}

// withTrigger lists every table that has the move's trigger, by quoted name,
// whatever it is called by now.
func (db *DB) withTrigger(ctx context.Context, q querier, state string) ([]string, error) {
	return texts(ctx, q, "SELECT tgrelid::regclass::text AS name FROM pg_trigger WHERE tgname = $1 AND ($2 = '' OR tgenabled::text = $2) ORDER BY tgrelid", db.name, state)
}

// sequencesOf lists the sequences that a table's key is generated by: those of
// identities, of serial columns and of defaults that name one.
func sequencesOf(ctx context.Context, q querier, t change.Table) ([]string, error) {
	var keys []string
	for _, c := range t.Key {
		keys = append(keys, t.Columns[c])
	}
	return texts(ctx, q, `SELECT DISTINCT s.oid::regclass::text FROM pg_attribute a
		LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
		JOIN pg_depend p ON (p.classid = 'pg_class'::regclass AND p.refclassid = 'pg_class'::regclass AND p.refobjid = a.attrelid AND p.refobjsubid = a.attnum AND p.deptype IN ('a', 'i'))
			OR (p.classid = 'pg_attrdef'::regclass AND p.objid = d.oid AND p.refclassid = 'pg_class'::regclass)
		JOIN pg_class s ON s.relkind = 'S' AND s.oid = CASE WHEN p.classid = 'pg_class'::regclass THEN p.objid ELSE p.refobjid END
		WHERE a.attrelid = to_regclass($1) AND a.attname = ANY ($2) ORDER BY 1`, relation(t.Name), keys)
}

// joined writes "t.a = n.a AND t.b = n.b" for two lists of columns.
func joined(left, right []string) string {
	parts := make([]string, len(left))
	for i := range left {
		parts[i] = left[i] + " = " + right[i]
	}
	return strings.Join(parts, " AND ")
}
