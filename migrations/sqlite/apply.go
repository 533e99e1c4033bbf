package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"

	"stranglerfig/migrations/change"
	"stranglerfig/migrations/mapping"
)

// Apply applies a batch exactly once: the checkpoint moves from the batch's
// beginning to its end in the same transaction, or nothing happens.
func (db *DB) Apply(ctx context.Context, stream, runner string, b change.Batch) error {
	return unprepared(db.transact(ctx, busyWait, func(tx *sql.Tx) error {
		done, err := tx.ExecContext(ctx, `UPDATE strangler_stream SET position = ?, marker = CASE ? WHEN '' THEN marker ELSE ? END
			WHERE move = ? AND stream = ? AND runner = ? AND position = ?`,
			int64(b.To), b.Marker, b.Marker, db.move, stream, runner, int64(b.From))
		if err != nil {
			return err
		}
		if n, err := done.RowsAffected(); err != nil || n != 1 {
			return errors.Join(change.ErrStaleRunner, err)
		}
		return db.asApplier(ctx, tx, func() error { return db.applyAll(ctx, tx, b.Changes) })
	}))
}

// applyAll applies deletes before puts, so that a unique value that moved from
// a deleted row to another is free when it is needed.
func (db *DB) applyAll(ctx context.Context, tx *sql.Tx, changes []change.Change) error {
	a := applying{db: db, tx: preparing(tx), changes: changes, kept: map[int]map[string]rest{}}
	for _, kind := range []change.Kind{change.Delete, change.Put} {
		for _, c := range changes {
			if c.Kind != kind {
				continue
			}
			if err := a.one(ctx, c); err != nil {
				return fmt.Errorf("apply to %s key %s: %w", db.tables[c.Table].Name, change.KeyString(c.Key), err)
			}
		}
	}
	return nil
}

// applying is a batch being applied.
//
// A put may take a unique value from a row whose own put comes later. That row
// is then replaced away and inserted again, so what it held outside the mapping
// is kept before the first such conflict.
type applying struct {
	db      *DB
	tx      prepared
	changes []change.Change
	kept    map[int]map[string]rest // by table and key
}

// rest is what a row holds outside the mapping.
type rest struct {
	columns []string
	values  change.Row
}

// one updates a row that exists, so that columns outside the mapping keep what
// they hold, and inserts one that does not.
func (a *applying) one(ctx context.Context, c change.Change) error {
	t := a.db.tables[c.Table]
	if c.Kind == change.Delete {
		_, err := a.tx.ExecContext(ctx, fmt.Sprintf("DELETE FROM %s WHERE %s", quote(t.Name), keyMatch(t)), args(c.Key)...)
		return err
	}
	n, err := a.store(ctx, c.Table, "UPDATE", updateSQL(t), append(args(c.Row), args(c.Key)...))
	if err != nil || n > 0 {
		return err
	}
	row := c.Row
	if kept, ok := a.kept[c.Table][mapping.EncodeKey(c.Key)]; ok {
		t.Columns = slices.Concat(t.Columns, kept.columns)
		row = slices.Concat(row, kept.values)
	}
	_, err = a.store(ctx, c.Table, "INSERT", intoSQL(t), args(row))
	return err
}

// store runs a verb, and runs it again with OR REPLACE where it meets another
// row's unique value.
func (a *applying) store(ctx context.Context, table int, verb, rest string, bound []any) (int64, error) {
	done, err := a.tx.ExecContext(ctx, verb+rest, bound...)
	if violated(err) {
		if err := a.keep(ctx, table); err != nil {
			return 0, err
		}
		done, err = a.tx.ExecContext(ctx, verb+" OR REPLACE"+rest, bound...)
	}
	if err != nil {
		return 0, err
	}
	return done.RowsAffected()
}

// keep reads, once for a table, what the rows to be put hold outside the
// mapping.
func (a *applying) keep(ctx context.Context, table int) error {
	if a.kept[table] != nil {
		return nil
	}
	a.kept[table] = map[string]rest{}
	t := a.db.tables[table]
	names, err := a.db.unmapped(ctx, t)
	if err != nil || len(names) == 0 {
		return err
	}
	beside := change.Table{Name: t.Name, Columns: names}
	query := fmt.Sprintf("SELECT %s FROM %s WHERE %s", columns(beside), quote(t.Name), keyMatch(t))
	for _, c := range a.changes {
		if c.Table != table || c.Kind != change.Put {
			continue
		}
		rows, err := a.tx.QueryContext(ctx, query, args(c.Key)...)
		if err != nil {
			return err
		}
		found, err := scanRows(rows, len(names))
		if err != nil {
			return err
		}
		if len(found) > 0 {
			a.kept[table][mapping.EncodeKey(c.Key)] = rest{names, found[0]}
		}
	}
	return nil
}

// unmapped lists the columns of a table that are not mapped and may be written.
func (db *DB) unmapped(ctx context.Context, t change.Table) ([]string, error) {
	columns, err := db.columnsOf(ctx, t.Name)
	if err != nil {
		return nil, err
	}
	var names []string
	for _, c := range columns {
		if c.hidden == 0 && !contains(t.Columns, c.name) {
			names = append(names, c.name)
		}
	}
	return names, nil
}

// updateSQL is the rest of an UPDATE of one row.
func updateSQL(t change.Table) string {
	sets := make([]string, len(t.Columns))
	for i, c := range t.Columns {
		sets[i] = quote(c) + " = ?"
	}
	return fmt.Sprintf(" %s SET %s WHERE %s", quote(t.Name), strings.Join(sets, ", "), keyMatch(t))
}
