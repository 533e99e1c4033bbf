package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"stranglerfig/migrations/change"
)

// Fence refuses this side's writers from here on. The write lock that its
// transaction takes is the drain: whoever was writing has committed or rolled
// back, and a transaction that began to read before and writes later is refused
// by SQLite itself. The marker is the last entry its writers' log will get.
func (db *DB) Fence(ctx context.Context, f change.Fence) error {
	bounded, cancel := context.WithTimeoutCause(ctx, f.Wait, change.ErrFenceTimeout)
	defer cancel()
	err := db.transact(bounded, f.Wait+time.Second, func(tx *sql.Tx) error {
		if err := expectOne(tx.ExecContext(ctx, "UPDATE strangler_move SET fenced = 1 WHERE move = ? AND epoch = ?", db.move, f.Epoch)); err != nil {
			return err
		}
		_, err := tx.ExecContext(ctx, "INSERT INTO strangler_log (move, marker) VALUES (?, ?)", db.move, f.Marker)
		return err
	})
	// Where the bound ends the wait, the error may only say that a context did.
	if err != nil && !errors.Is(err, change.ErrStaleEpoch) && errors.Is(context.Cause(bounded), change.ErrFenceTimeout) {
		err = fmt.Errorf("%w: %w", change.ErrFenceTimeout, err)
	}
	return unprepared(err)
}

// Unfence lets writers in again.
func (db *DB) Unfence(ctx context.Context, epoch uint64) error {
	return unprepared(db.transact(ctx, busyWait, func(tx *sql.Tx) error {
		return expectOne(tx.ExecContext(ctx, "UPDATE strangler_move SET fenced = 0 WHERE move = ? AND epoch = ?", db.move, epoch))
	}))
}

// expectOne returns ErrStaleEpoch unless exactly one row was changed.
func expectOne(done sql.Result, err error) error {
	if err != nil {
		return err
	}
	n, err := done.RowsAffected()
	if err != nil {
		return err
	}
	if n != 1 {
		return change.ErrStaleEpoch
	}
	return nil
}

// BumpAttempt raises the attempt.
func (db *DB) BumpAttempt(ctx context.Context) (uint64, error) {
	var attempt uint64
	err := db.transact(ctx, busyWait, func(tx *sql.Tx) error {
		return tx.QueryRowContext(ctx, "UPDATE strangler_move SET attempt = attempt + 1 WHERE move = ? RETURNING attempt", db.move).Scan(&attempt)
	})
	if errors.Is(err, sql.ErrNoRows) {
		err = change.ErrNotPrepared
	}
	return attempt, unprepared(err)
}

// Claim makes this side the owner, if no newer attempt or epoch is stored.
func (db *DB) Claim(ctx context.Context, c change.Claim) error {
	return unprepared(db.transact(ctx, busyWait, func(tx *sql.Tx) error {
		err := expectOne(tx.ExecContext(ctx, "UPDATE strangler_move SET epoch = ?, fenced = 0 WHERE move = ? AND attempt = ? AND epoch < ?",
			c.Epoch, db.move, c.Attempt, c.Epoch))
		if errors.Is(err, change.ErrStaleEpoch) {
			return change.ErrClaimRefused
		}
		if err != nil {
			return err
		}
		return db.raiseSequences(ctx, tx, c.Sequences)
	}))
}

// raiseSequences sets each AUTOINCREMENT counter past everything either side
// has given out. Tables without one take max(rowid)+1 by themselves.
func (db *DB) raiseSequences(ctx context.Context, tx *sql.Tx, floors change.Sequences) error {
	for i, columns := range floors {
		if i >= len(db.tables) {
			continue
		}
		// An AUTOINCREMENT column is all of the key.
		t := db.tables[i]
		name, floor := t.Name, columns[t.Columns[t.Key[0]]]
		if floor == 0 || len(t.Key) > 1 {
			continue
		}
		var auto bool
		if err := tx.QueryRowContext(ctx, `SELECT count(*) > 0 FROM sqlite_schema WHERE name = ? AND sql LIKE '%AUTOINCREMENT%'`, name).Scan(&auto); err != nil {
			return err
		}
		if !auto {
			continue
		}
		if _, err := tx.ExecContext(ctx, "INSERT INTO sqlite_sequence (name, seq) SELECT ?1, 0 WHERE NOT EXISTS (SELECT 1 FROM sqlite_sequence WHERE name = ?1)", name); err != nil {
			return err
		}
		if _, err := tx.ExecContext(ctx, "UPDATE sqlite_sequence SET seq = max(seq, ?) WHERE name = ?", floor, name); err != nil {
			return fmt.Errorf("hand over the sequence of %s: %w", name, err)
		}
	}
	return nil
}

// Sequences returns the AUTOINCREMENT counters.
func (db *DB) Sequences(ctx context.Context) (change.Sequences, error) {
	all := make(change.Sequences, len(db.tables))
	var exists int
	if err := db.read.QueryRowContext(ctx, "SELECT count(*) FROM sqlite_schema WHERE name = 'sqlite_sequence'").Scan(&exists); err != nil || exists == 0 {
		return all, err
	}
	for i, t := range db.tables {
		var given int64
		err := db.read.QueryRowContext(ctx, "SELECT seq FROM sqlite_sequence WHERE name = ?", t.Name).Scan(&given)
		if errors.Is(err, sql.ErrNoRows) {
			continue
		}
		if err != nil {
			return nil, err
		}
		all[i] = map[string]int64{t.Columns[t.Key[0]]: given}
	}
	return all, nil
}

// Owner returns the stored ownership.
func (db *DB) Owner(ctx context.Context) (change.Ownership, error) {
	var o change.Ownership
	err := db.read.QueryRowContext(ctx, "SELECT epoch, attempt, fenced FROM strangler_move WHERE move = ?", db.move).
		Scan(&o.Epoch, &o.Attempt, &o.Fenced)
	if errors.Is(err, sql.ErrNoRows) {
		err = change.ErrNotPrepared
	}
	return o, unprepared(err)
}
