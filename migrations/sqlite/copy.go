package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"

	"stranglerfig/migrations/change"
	"stranglerfig/migrations/mapping"
)

// Count counts a table's rows.
func (db *DB) Count(ctx context.Context, table int) (int64, error) {
	var n int64
	err := db.read.QueryRowContext(ctx, "SELECT count(*) FROM "+quote(db.tables[table].Name)).Scan(&n)
	return n, err
}

// ReadChunk reads rows and the end of the log in one snapshot, which makes the
// cut exact.
func (db *DB) ReadChunk(ctx context.Context, table int, after change.Key, limit int) (change.Chunk, error) {
	c := change.Chunk{Table: table, After: after, Last: after}
	err := db.snapshot(ctx, func(tx *sql.Tx) (err error) {
		if c.At, err = db.head(ctx, tx); err != nil {
			return err
		}
		c.Rows, err = db.scan(ctx, tx, table, after, limit)
		return err
	})
	if err != nil {
		return c, unprepared(err)
	}
	if len(c.Rows) > 0 {
		c.Last = keyOf(db.tables[table], c.Rows[len(c.Rows)-1])
	}
	c.Done = len(c.Rows) < limit
	return c, nil
}

// EndCopy has nothing to let go of: each chunk is a cut of its own.
func (db *DB) EndCopy(context.Context) error { return nil }

// querier is what reads: a transaction or a pool.
type querier interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}

// scan reads up to limit rows in key order after a key.
func (db *DB) scan(ctx context.Context, q querier, table int, after change.Key, limit int) ([]change.Row, error) {
	t := db.tables[table]
	rows, err := q.QueryContext(ctx, fmt.Sprintf("SELECT %s FROM %s%s ORDER BY %s LIMIT %d",
		columns(t), quote(t.Name), beyond(t, after), strings.Join(keyColumns(t, ""), ", "), limit), args(after)...)
	if err != nil {
		return nil, err
	}
	return scanRows(rows, len(t.Columns))
}

// beyond is the condition that a row's key lies after the one in the arguments.
func beyond(t change.Table, after change.Key) string {
	if after == nil {
		return ""
	}
	return fmt.Sprintf(" WHERE (%s) > (%s)", strings.Join(keyColumns(t, ""), ", "), placeholders(len(t.Key)))
}

func placeholders(n int) string { return strings.TrimSuffix(strings.Repeat("?, ", n), ", ") }

// LoadChunk stores a chunk's rows and its record in one transaction.
func (db *DB) LoadChunk(ctx context.Context, c change.Chunk) error {
	return unprepared(db.transact(ctx, busyWait, func(tx *sql.Tx) error {
		return db.asApplier(ctx, tx, func() error {
			t := db.tables[c.Table]
			insert, err := tx.PrepareContext(ctx, insertSQL(t))
			if err != nil {
				return err
			}
			defer insert.Close()
			for _, row := range c.Rows {
				if _, err := insert.ExecContext(ctx, args(row)...); err != nil {
					return fmt.Errorf("load %s key %s: %w", t.Name, change.KeyString(keyOf(t, row)), err)
				}
			}
			return db.recordChunk(ctx, tx, c, int64(len(c.Rows)))
		})
	}))
}

// insertSQL replaces whatever has the key, or another unique value of the row:
// the leading side has at most one of them, so the other is out of date and its
// own change is still to come.
func insertSQL(t change.Table) string { return "INSERT OR REPLACE" + intoSQL(t) }

// intoSQL is the rest of an INSERT of one row.
func intoSQL(t change.Table) string {
	names := make([]string, len(t.Columns))
	for i, c := range t.Columns {
		names[i] = quote(c)
	}
	return fmt.Sprintf(" INTO %s (%s) VALUES (%s)", quote(t.Name), strings.Join(names, ", "), placeholders(len(names)))
}

// recordChunk notes a chunk, if it goes on where the record ends: one that does
// not comes from a copy that another one has taken over from.
func (db *DB) recordChunk(ctx context.Context, tx *sql.Tx, c change.Chunk, rows int64) error {
	query, values := `INSERT INTO strangler_chunk (last, rows, done, move, tab, at) VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING`,
		[]any{mapping.EncodeKey(c.Last), rows, c.Done, db.move, c.Table, int64(c.At)}
	if c.After != nil {
		query = `UPDATE strangler_chunk SET last = ?, rows = rows + ?, done = ? WHERE move = ? AND tab = ? AND last = ? AND NOT done`
		values[5] = mapping.EncodeKey(c.After)
	}
	res, err := tx.ExecContext(ctx, query, values...)
	if err != nil {
		return err
	}
	if n, err := res.RowsAffected(); err != nil || n == 0 {
		return errors.Join(err, fmt.Errorf("another copy of the same move is at work: %w", change.ErrStaleRunner))
	}
	return nil
}

// Loaded returns where a table's copy stands.
func (db *DB) Loaded(ctx context.Context, table int) (change.Loaded, error) {
	var l change.Loaded
	var last string
	err := db.read.QueryRowContext(ctx, `SELECT last, rows, at, done FROM strangler_chunk WHERE move = ? AND tab = ?`, db.move, table).
		Scan(&last, &l.Rows, &l.At, &l.Done)
	if errors.Is(err, sql.ErrNoRows) {
		return change.Loaded{}, nil
	}
	if err != nil {
		return l, unprepared(err)
	}
	if l.Last, err = mapping.DecodeKey(last); len(l.Last) == 0 {
		l.Last = nil
	}
	return l, err
}

// asApplier runs a function with the applier's flag set, so that its writes are
// neither captured nor refused.
func (db *DB) asApplier(ctx context.Context, tx *sql.Tx, f func() error) error {
	if _, err := tx.ExecContext(ctx, "UPDATE strangler_context SET applier = 1"); err != nil {
		return err
	}
	if err := f(); err != nil {
		return err
	}
	_, err := tx.ExecContext(ctx, "UPDATE strangler_context SET applier = 0")
	return err
}
