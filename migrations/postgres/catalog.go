package postgres

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"stranglerfig/migrations/change"
)

// column is what the catalog says about a column. A domain counts as the type
// that it is over, which is how its values are read and written; its checks are
// the table's to make.
type column struct {
	name      string
	declared  uint32 // the type, which may be a domain
	oid       uint32 // the type, which is none
	cast      string // name of that type, for a cast that does not shorten
	class     string // of that type: b base, e enumeration, c composite, r range, m multirange
	nested    bool   // its values are rows or arrays
	strange   string // the type, or one of which it is made, that cannot be moved
	notNull   bool
	fallback  bool   // it has a default, or generates one
	generated bool   // from other columns: it cannot be written
	always    bool   // GENERATED ALWAYS AS IDENTITY
	order     string // by whose rules its texts are ordered; "" where it holds none
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

// collationOf names a collation's provider and locale, also of the database's
// own, in a way that can be held against another database's. What the columns
// of the catalog are called depends on the version.
const collationOf = `CASE WHEN c.oid IS NULL THEN ''
	WHEN c.collprovider = 'd' THEN concat_ws('/', coalesce(to_jsonb(d)->>'datlocprovider', 'c'), d.datcollate, to_jsonb(d)->>'daticulocale', to_jsonb(d)->>'datlocale')
	ELSE concat_ws('/', c.collprovider, c.collcollate, to_jsonb(c)->>'colliculocale', to_jsonb(c)->>'colllocale') END`

func readColumns(ctx context.Context, q querier, oid uint32) ([]column, error) {
	rows, err := q.Query(ctx, `WITH RECURSIVE part (num, oid, itself) AS (
			SELECT attnum, atttypid, true FROM pg_attribute WHERE attrelid = $1 AND attnum > 0 AND NOT attisdropped
			UNION SELECT num, made.of, itself AND typtype = 'd' FROM part JOIN pg_type t ON t.oid = part.oid CROSS JOIN LATERAL (
				SELECT typbasetype WHERE typtype = 'd'
				UNION ALL SELECT typelem WHERE typcategory = 'A'
				UNION ALL SELECT rngsubtype FROM pg_range WHERE t.oid IN (rngtypid, rngmultitypid)
				UNION ALL SELECT atttypid FROM pg_attribute WHERE typtype = 'c' AND attrelid = typrelid AND attnum > 0 AND NOT attisdropped
			) AS made (of))
		SELECT a.attname, a.atttypid, t.oid, format_type(t.oid, -1), t.typtype::text, t.typcategory = 'A' OR t.typtype = 'c',
			coalesce((SELECT min(format_type(p.oid, -1)) FROM part p JOIN pg_type y ON y.oid = p.oid
				WHERE p.num = a.attnum AND y.typtype IN ('b', 'p') AND y.typcategory <> 'A' AND y.oid < $3 AND y.oid <> ALL ($2)), ''),
			a.attnotnull OR domains.needed, a.atthasdef OR a.attidentity <> '' OR domains.given, a.attgenerated <> '', a.attidentity = 'a', `+collationOf+`
		FROM pg_attribute a JOIN part ON part.num = a.attnum AND part.itself JOIN pg_type t ON t.oid = part.oid AND t.typtype <> 'd'
		JOIN pg_database d ON d.datname = current_database() LEFT JOIN pg_collation c ON c.oid = a.attcollation
		CROSS JOIN LATERAL (SELECT bool_or(y.typnotnull) AS needed, bool_or(y.typdefault IS NOT NULL) AS given FROM part p JOIN pg_type y ON y.oid = p.oid WHERE p.num = a.attnum AND p.itself) AS domains
		WHERE a.attrelid = $1 ORDER BY a.attnum`, oid, slices.Collect(maps.Keys(kinds)), uint32(firstUserOID))
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (c column, err error) {
		err = row.Scan(&c.name, &c.declared, &c.oid, &c.cast, &c.class, &c.nested, &c.strange, &c.notNull, &c.fallback, &c.generated, &c.always, &c.order)
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

// withEmptied lists every partition that has the move's other trigger.
func (db *DB) withEmptied(ctx context.Context, q querier) ([]string, error) {
	return texts(ctx, q, "SELECT tgrelid::regclass::text AS name FROM pg_trigger WHERE tgname = $1 ORDER BY tgrelid", db.emptied())
}

// generator is a sequence by which a column's values are generated.
type generator struct{ Column, Sequence string }

// sequencesOf lists the sequences that a table's mapped columns are generated by:
// those of identities, of serial columns and of defaults that name one.
func sequencesOf(ctx context.Context, q querier, t change.Table) ([]generator, error) {
	rows, err := q.Query(ctx, `SELECT DISTINCT a.attname::text, s.oid::regclass::text FROM pg_attribute a
		LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
		JOIN pg_depend p ON (p.classid = 'pg_class'::regclass AND p.refclassid = 'pg_class'::regclass AND p.refobjid = a.attrelid AND p.refobjsubid = a.attnum AND p.deptype IN ('a', 'i'))
			OR (p.classid = 'pg_attrdef'::regclass AND p.objid = d.oid AND p.refclassid = 'pg_class'::regclass)
		JOIN pg_class s ON s.relkind = 'S' AND s.oid = CASE WHEN p.classid = 'pg_class'::regclass THEN p.objid ELSE p.refobjid END
		WHERE a.attrelid = to_regclass($1) AND a.attname = ANY ($2) ORDER BY 1, 2`, relation(t.Name), t.Columns)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowToStructByPos[generator])
}

// joined writes "t.a = n.a AND t.b = n.b" for two lists of columns.
func joined(left, right []string) string {
	parts := make([]string, len(left))
	for i := range left {
		parts[i] = left[i] + " = " + right[i]
	}
	return strings.Join(parts, " AND ")
}

// nameParts reads a table's name as it is declared: its own, after that of its
// schema if that is named. A part in double quotes may have dots in it, and a
// double quote if it is written twice. Case counts everywhere.
func nameParts(name string) []string {
	var parts []string
	for {
		quoted, rest := cutQuoted(name)
		part, next, more := strings.Cut(rest, ".")
		parts = append(parts, quoted+part)
		if !more {
			return parts
		}
		name = next
	}
}

// cutQuoted takes a part in double quotes off a name, "" where there is none.
func cutQuoted(name string) (quoted, rest string) {
	rest, ok := strings.CutPrefix(name, `"`)
	if !ok {
		return "", name
	}
	for {
		before, after, ended := strings.Cut(rest, `"`)
		if !ended { // a name that begins with a quote and means it
			return "", name
		}
		quoted += before
		if rest, ok = strings.CutPrefix(after, `"`); !ok {
			return quoted, after
		}
		quoted += `"`
	}
}
