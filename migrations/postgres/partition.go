package postgres

import (
	"context"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"

	"stranglerfig/migrations/change"
)

var _ change.Partitioned = (*DB)(nil)

// A log that is published as that of the whole table says nothing of partitions:
// the rows of one that is attached with them were never inserted, as far as it
// goes, and those of one that is detached, dropped or truncated never deleted.
// Hence the partitions are remembered, each with the transactions that attached
// it and what it is a part of, and a trigger of their own puts into the log that
// one was truncated.

// leaf is a partition that holds rows.
type leaf struct {
	table    int
	oid      uint32
	name     string // quoted
	attached string // by which transactions
}

// leavesOf selects the partitions that there are now of tables, given by an
// expression for their names.
func leavesOf(names string) string {
	return `SELECT t.n - 1 AS tab, p.relid::oid AS oid, p.relid::regclass::text AS name,
			(SELECT string_agg(i.xmin::text, '/' ORDER BY i.inhrelid) FROM pg_inherits i WHERE i.inhrelid IN (SELECT relid FROM pg_partition_ancestors(p.relid))) AS attached
		FROM unnest(` + names + `) WITH ORDINALITY AS t(name, n), pg_partition_tree(to_regclass(t.name)) AS p WHERE p.isleaf AND p.level > 0`
}

// Attend takes in partitions that are new, and returns a
// [change.ErrCannotFollow] where rows came or went with one.
func (db *DB) Attend(ctx context.Context) error {
	fresh, err := db.newLeaves(ctx, db.pool)
	if err != nil || len(fresh) == 0 {
		return explain(err)
	}
	return db.patiently(ctx, lockWait, func(tx pgx.Tx) error {
		// Nobody fences or claims meanwhile.
		var fenced bool
		if err := tx.QueryRow(ctx, "SELECT fenced FROM strangler.move WHERE id = $1 FOR UPDATE", db.id).Scan(&fenced); err != nil {
			return unprepared(err)
		}
		if _, err := db.newLeaves(ctx, tx); err != nil {
			return err
		}
		return db.takeIn(ctx, tx, fenced)
	})
}

// takeIn gives the triggers to partitions that are new and remembers them.
func (db *DB) takeIn(ctx context.Context, tx pgx.Tx, fenced bool) error {
	statements, err := db.missingTriggers(ctx, tx, fenced)
	if err != nil {
		return err
	}
	for _, q := range append(statements, db.rememberLeaves()) {
		if _, err := tx.Exec(ctx, q); err != nil {
			return fmt.Errorf("%w\nin: %s", err, q)
		}
	}
	return nil
}

// newLeaves lists the partitions that are not remembered, in which nothing was
// before they were attached.
func (db *DB) newLeaves(ctx context.Context, q querier) ([]leaf, error) {
	rows, err := q.Query(ctx, `SELECT coalesce(l.tab, m.tab), l.oid, coalesce(l.name, m.name), l.attached
		FROM (`+leavesOf("$2::text[]")+`) AS l FULL JOIN (SELECT * FROM strangler.member WHERE id = $1) AS m ON m.oid = l.oid::bigint AND m.attached = l.attached
		WHERE l.oid IS NULL OR m.oid IS NULL ORDER BY l.oid NULLS FIRST`, db.id, db.relations())
	if err != nil {
		return nil, err
	}
	fresh, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (l leaf, err error) {
		var oid *uint32
		var attached *string
		if err := row.Scan(&l.table, &oid, &l.name, &attached); err != nil {
			return l, err
		}
		if oid == nil {
			return l, db.reshaped(l, "was detached or dropped, and its rows with it")
		}
		l.oid, l.attached = *oid, *attached
		return l, nil
	})
	if err != nil {
		return nil, err
	}
	for _, l := range fresh {
		brought, err := broughtRows(ctx, q, l)
		if err != nil {
			return nil, fmt.Errorf("look at partition %s: %w", l.name, err)
		}
		if brought {
			return nil, db.reshaped(l, "was attached with rows in it")
		}
	}
	return fresh, nil
}

func (db *DB) reshaped(l leaf, what string) error {
	return fmt.Errorf("partition %s of table %s %s, which the log does not tell and so %w: resume the move and let a verification repair the other side",
		l.name, db.tables[l.table].Name, what, change.ErrCannotFollow)
}

// broughtRows reports whether a partition has rows that were written before it
// was attached. One that was created in the transaction that attached it can
// have them from that transaction alone. Of any other one, a row that an older
// transaction wrote after it was attached is taken for such a row as well.
func broughtRows(ctx context.Context, q querier, l leaf) (bool, error) {
	var brought bool
	err := q.QueryRow(ctx, fmt.Sprintf(`SELECT EXISTS (SELECT 1 FROM ONLY %s AS r, (
			SELECT i.xmin, i.cmin, a.xmin = i.xmin AS at_once FROM pg_inherits i, pg_attribute a
			WHERE i.inhrelid IN (SELECT relid FROM pg_partition_ancestors($1::oid::regclass)) AND a.attrelid = $1 AND a.attname = 'tableoid'
			ORDER BY age(i.xmin), i.cmin::text::bigint DESC LIMIT 1) AS attached
		WHERE r.xmin = attached.xmin AND r.cmin::text::bigint < attached.cmin::text::bigint
			OR NOT attached.at_once AND age(r.xmin) > age(attached.xmin))`, l.name), l.oid).Scan(&brought)
	return brought, err
}

// rememberLeaves remembers the partitions that there are.
func (db *DB) rememberLeaves() string {
	names := db.relations()
	for i, name := range names {
		names[i] = literal(name)
	}
	return fmt.Sprintf("INSERT INTO strangler.member (id, tab, oid, name, attached) SELECT %s, tab, oid, name, attached FROM (%s) AS l ON CONFLICT DO NOTHING",
		literal(db.id), leavesOf("ARRAY["+strings.Join(names, ", ")+"]"))
}

// relearn forgets the partitions and remembers those that there are now: the log
// begins anew, and a verification comes before it matters.
func (db *DB) relearn(ctx context.Context) error {
	return db.patiently(ctx, lockWait, func(tx pgx.Tx) error {
		var fenced bool
		if err := tx.QueryRow(ctx, "SELECT fenced FROM strangler.move WHERE id = $1 FOR UPDATE", db.id).Scan(&fenced); err != nil {
			return unprepared(err)
		}
		if _, err := tx.Exec(ctx, "DELETE FROM strangler.member WHERE id = $1", db.id); err != nil {
			return err
		}
		return db.takeIn(ctx, tx, fenced)
	})
}

// missingEmptied creates, on every partition that does not have it yet, the
// trigger that tells the log that it was truncated. It also fires for those who
// have switched triggers off.
func (db *DB) missingEmptied(ctx context.Context, q querier) ([]string, error) {
	names, err := texts(ctx, q, "SELECT name FROM ("+leavesOf("$2::text[]")+") AS l WHERE NOT EXISTS (SELECT 1 FROM pg_trigger WHERE tgrelid = l.oid AND tgname = $1) ORDER BY oid",
		db.emptied(), db.relations())
	var statements []string
	for _, name := range names {
		statements = append(statements,
			fmt.Sprintf("CREATE TRIGGER %s AFTER TRUNCATE ON %s FOR EACH STATEMENT EXECUTE FUNCTION strangler.emptied(%s)", quote(db.emptied()), name, literal(db.id)),
			fmt.Sprintf("ALTER TABLE ONLY %s ENABLE ALWAYS TRIGGER %s", name, quote(db.emptied())))
	}
	return statements, err
}

// emptied is the name of that trigger.
func (db *DB) emptied() string { return db.name + "_emptied" }
