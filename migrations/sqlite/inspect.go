package sqlite

import (
	"context"
	"database/sql"
	"errors"

	"stranglerfig/migrations/change"
)

// Scan reads rows in key order.
func (db *DB) Scan(ctx context.Context, table int, after change.Key, limit int) ([]change.Row, error) {
	return db.scan(ctx, db.read, table, after, limit)
}

// Lookup returns the row of each key in one snapshot, nil where there is none.
func (db *DB) Lookup(ctx context.Context, table int, keys []change.Key) ([]change.Row, error) {
	rows := make([]change.Row, len(keys))
	err := db.snapshot(ctx, func(tx *sql.Tx) (err error) {
		once := preparing(tx)
		for i, key := range keys {
			if rows[i], err = db.row(ctx, once, table, key); err != nil {
				return err
			}
		}
		return nil
	})
	return rows, err
}

// Touched lists distinct keys of the log. It is not all where the log has
// forgotten entries after since.
func (db *DB) Touched(ctx context.Context, since change.Position, limit int) ([]change.Change, bool, error) {
	var entries []entry
	var acked int64
	err := db.snapshot(ctx, func(tx *sql.Tx) (err error) {
		if err := tx.QueryRowContext(ctx, "SELECT coalesce(max(acked), 0) FROM strangler_move WHERE move = ?", db.move).Scan(&acked); err != nil {
			return err
		}
		entries, err = db.entries(ctx, tx, since, limit*4+1)
		return err
	})
	if err != nil {
		return nil, false, unprepared(err)
	}
	all := len(entries) <= limit*4 && change.Position(acked) <= since
	var keys []change.Change
	for _, e := range latest(entries) {
		if e.marker == "" {
			keys = append(keys, change.Change{Table: e.table, Key: e.key})
		}
	}
	if len(keys) > limit {
		keys, all = keys[:limit], false
	}
	return keys, all, nil
}

// errProven rolls a proof back.
var errProven = errors.New("proven")

// Prove stores rows in a transaction that is rolled back.
func (db *DB) Prove(ctx context.Context, table int, rows []change.Row) (int, error) {
	err := db.transact(ctx, busyWait, func(tx *sql.Tx) error {
		err := db.asApplier(ctx, tx, func() error {
			for _, row := range rows {
				c := change.Change{Table: table, Kind: change.Put, Key: keyOf(db.tables[table], row), Row: row}
				if err := db.applyAll(ctx, tx, []change.Change{c}); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
		return errProven
	})
	if errors.Is(err, errProven) {
		return len(rows), nil
	}
	return 0, unprepared(err)
}

// Repair puts or deletes keys as the applier would.
func (db *DB) Repair(ctx context.Context, changes ...change.Change) error {
	return unprepared(db.transact(ctx, busyWait, func(tx *sql.Tx) error {
		return db.asApplier(ctx, tx, func() error { return db.applyAll(ctx, tx, changes) })
	}))
}
