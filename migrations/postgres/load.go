package postgres

import (
	"context"
	"fmt"
	"slices"

	"github.com/jackc/pgx/v5"

	"stranglerfig/migrations/change"
)

var _ change.Loader = (*DB)(nil)

// aside is an index or a constraint that a load does without: what drops it, and
// what creates it again.
type aside struct{ Drop, Create string }

// BeginLoad drops, from tables that are empty and were never loaded, the indexes
// and constraints that rows are not found by: keeping them row by row costs far
// more than building them once. What builds them again is stored in the same
// transaction, so that no kill can lose an index.
//
// The key's index stays, and so does a replica identity, whatever a foreign key
// of another table rests on, everything of partitioned tables, and what a
// definition does not tell all of.
//
// The slot goes as well, until the load is finished: nobody but the load writes
// these tables, and its log would be kept all the while for nothing.
func (db *DB) BeginLoad(ctx context.Context) error {
	if err := db.withoutSlot(ctx); err != nil {
		return err
	}
	return db.patiently(ctx, lockWait, func(tx pgx.Tx) error {
		fresh, err := db.fresh(ctx, tx)
		if err != nil || !fresh {
			return err
		}
		for _, t := range db.tables {
			found, err := db.dispensable(ctx, tx, t)
			if err != nil {
				return err
			}
			// Built last: the statistics of a table that has just been filled.
			found = append([]aside{{Create: "ANALYZE " + relation(t.Name)}}, found...)
			for _, a := range found {
				if err := db.setAside(ctx, tx, t, a); err != nil {
					return err
				}
			}
		}
		db.layouts.forget()
		return nil
	})
}

// setAside drops something and notes what creates it again, once.
func (db *DB) setAside(ctx context.Context, tx pgx.Tx, t change.Table, a aside) error {
	_, err := tx.Exec(ctx, `INSERT INTO strangler.aside (id, no, tab, definition)
		SELECT $1, coalesce(max(no), 0) + 1, $2, $3 FROM strangler.aside WHERE id = $1 HAVING $3 <> ALL (coalesce(array_agg(definition), '{}'))`, db.id, t.Name, a.Create)
	if err != nil || a.Drop == "" {
		return err
	}
	if _, err := tx.Exec(ctx, a.Drop); err != nil {
		return fmt.Errorf("%w\nin: %s", err, a.Drop)
	}
	return nil
}

// withoutSlot drops the slot of a side that was never the owner.
func (db *DB) withoutSlot(ctx context.Context) error {
	done, err := db.pool.Exec(ctx, "UPDATE strangler.move SET born = NULL WHERE id = $1 AND epoch = 0 AND fenced", db.id)
	if err != nil || done.RowsAffected() == 0 {
		return explain(err)
	}
	return db.Release(ctx)
}

// fresh reports whether nothing has been loaded yet.
func (db *DB) fresh(ctx context.Context, tx pgx.Tx) (bool, error) {
	var begun bool
	err := tx.QueryRow(ctx, `SELECT EXISTS (SELECT 1 FROM strangler.chunk WHERE id = $1)
		OR EXISTS (SELECT 1 FROM strangler.part WHERE id = $1 AND (done OR rows > 0))`, db.id).Scan(&begun)
	if err != nil || begun {
		return false, explain(err)
	}
	for _, t := range db.tables {
		var rows bool
		if err := tx.QueryRow(ctx, "SELECT EXISTS (SELECT 1 FROM "+relation(t.Name)+")").Scan(&rows); err != nil || rows {
			return false, err
		}
	}
	return true, nil
}

// dispensable lists what a load of a table can do without: foreign keys first,
// because they rest on indexes.
func (db *DB) dispensable(ctx context.Context, q querier, t change.Table) ([]aside, error) {
	rows, err := q.Query(ctx, `SELECT format('ALTER TABLE %s DROP CONSTRAINT %I', conrelid::regclass, conname),
			format('ALTER TABLE %s ADD CONSTRAINT %I %s', conrelid::regclass, conname, pg_get_constraintdef(c.oid))
		FROM pg_constraint c JOIN pg_class r ON r.oid = conrelid
		WHERE conrelid = to_regclass($1) AND relkind = 'r' AND NOT relispartition AND conparentid = 0 AND obj_description(c.oid, 'pg_constraint') IS NULL
			AND (contype = 'f' OR contype IN ('u', 'x')
				AND NOT EXISTS (SELECT 1 FROM pg_constraint f WHERE f.contype = 'f' AND f.conindid = c.conindid)
				AND EXISTS (SELECT 1 FROM pg_index x WHERE x.indexrelid = c.conindid AND NOT x.indisreplident AND NOT (`+isKey+`) AND `+toldWhole+`))
		ORDER BY contype <> 'f', conname`, relation(t.Name), keyColumns(t))
	if err != nil {
		return nil, err
	}
	constraints, err := pgx.CollectRows(rows, pgx.RowToStructByPos[aside])
	if err != nil {
		return nil, err
	}
	rows, err = q.Query(ctx, `SELECT format('DROP INDEX %s', x.indexrelid::regclass), pg_get_indexdef(x.indexrelid)
		FROM pg_index x JOIN pg_class r ON r.oid = x.indrelid
		WHERE x.indrelid = to_regclass($1) AND relkind = 'r' AND NOT relispartition AND NOT x.indisprimary AND NOT x.indisreplident AND x.indisvalid
			AND NOT (`+isKey+`) AND `+toldWhole+` AND NOT EXISTS (SELECT 1 FROM pg_constraint c WHERE c.conindid = x.indexrelid)
		ORDER BY x.indexrelid`, relation(t.Name), keyColumns(t))
	if err != nil {
		return nil, err
	}
	indexes, err := pgx.CollectRows(rows, pgx.RowToStructByPos[aside])
	return slices.Concat(constraints, indexes), err
}

// toldWhole holds for an index x whose definition says all there is to it.
const toldWhole = `NOT x.indisclustered AND obj_description(x.indexrelid, 'pg_class') IS NULL
	AND (SELECT reltablespace = 0 FROM pg_class WHERE oid = x.indexrelid)
	AND NOT EXISTS (SELECT 1 FROM pg_attribute WHERE attrelid = x.indexrelid AND attstattarget >= 0)`

// isKey holds for a unique index x of just the key's columns, given as $2.
const isKey = `x.indisunique AND x.indpred IS NULL AND x.indexprs IS NULL AND x.indnkeyatts = cardinality($2::text[])
	AND NOT EXISTS (SELECT 1 FROM unnest(x.indkey) WITH ORDINALITY AS k(num, n) JOIN pg_attribute a ON a.attrelid = x.indrelid AND a.attnum = k.num
		WHERE k.n <= x.indnkeyatts AND a.attname <> ALL ($2::text[]))`

// FinishLoad keeps the log again, and builds what was set aside, each in a
// transaction of its own, last dropped first: foreign keys rest on indexes. Each
// of them may take long, and what is built stays built.
func (db *DB) FinishLoad(ctx context.Context) error {
	if err := db.prepareSlot(ctx); err != nil {
		return err
	}
	for {
		no, definition, err := db.nextAside(ctx)
		if err != nil || no == 0 {
			return err
		}
		err = transact(ctx, db.applier, func(tx pgx.Tx) error {
			if _, err := tx.Exec(ctx, definition); err != nil {
				return err
			}
			_, err := tx.Exec(ctx, "DELETE FROM strangler.aside WHERE id = $1 AND no = $2", db.id, no)
			return err
		})
		db.layouts.forget()
		switch {
		case slices.Contains([]string{uniqueViolation, foreignKeyViolation, exclusionViolation}, code(err)):
			return fmt.Errorf("%w: %s: %w", change.ErrUnfinished, definition, err)
		case err != nil:
			return fmt.Errorf("build again what the copy did without: %s: %w", definition, err)
		}
	}
}

func (db *DB) nextAside(ctx context.Context) (no int, definition string, err error) {
	err = db.pool.QueryRow(ctx, `SELECT coalesce(a.no, 0), coalesce(a.definition, '') FROM strangler.move m
		LEFT JOIN (SELECT * FROM strangler.aside WHERE id = $1 ORDER BY no DESC LIMIT 1) AS a ON a.id = m.id WHERE m.id = $1`, db.id).Scan(&no, &definition)
	return no, definition, unprepared(err)
}

// buildAside builds, as a part of a transaction, everything that was set aside.
func (db *DB) buildAside(ctx context.Context, tx pgx.Tx) error {
	definitions, err := texts(ctx, tx, "SELECT definition FROM strangler.aside WHERE id = $1 ORDER BY no DESC", db.id)
	if err != nil {
		return err
	}
	for _, q := range definitions {
		if _, err := tx.Exec(ctx, q); err != nil {
			return fmt.Errorf("build again what the copy did without: %w\nin: %s", err, q)
		}
	}
	return nil
}
