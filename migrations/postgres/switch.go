package postgres

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"

	"stranglerfig/migrations/change"
)

// Fence refuses this side's writers from here on. The tables' lock is the
// drain: whoever was writing has committed or rolled back once it is taken, and
// readers go on. A trigger that is enabled then holds for every statement, even
// in a transaction whose snapshot is older. The marker is committed after all
// that the writers did.
func (db *DB) Fence(ctx context.Context, f change.Fence) error {
	return db.patiently(ctx, f.Wait, func(tx pgx.Tx) error {
		done, err := tx.Exec(ctx, "UPDATE strangler.move SET fenced = true WHERE id = $1 AND epoch = $2", db.id, int64(f.Epoch))
		if err != nil {
			return err
		}
		if done.RowsAffected() == 0 {
			return db.stale(ctx, tx)
		}
		if err := db.lockMapped(ctx, tx, keepsWritersOut); err != nil {
			return err
		}
		// Nothing is attached or detached while the tables are locked.
		if _, err := db.newLeaves(ctx, tx); err != nil {
			return err
		}
		if err := db.fence(ctx, tx, true); err != nil {
			return err
		}
		_, err = tx.Exec(ctx, "SELECT pg_logical_emit_message(true, $1, $2::text)", markerPrefix, db.id+"\n"+f.Marker)
		return err
	})
}

// stale says why no row had the expected epoch.
func (db *DB) stale(ctx context.Context, q querier) error {
	if _, err := db.ownership(ctx, q); err != nil {
		return err
	}
	return change.ErrStaleEpoch
}

// fence brings the triggers of all tables into one state. A partition that was
// added since has none yet.
func (db *DB) fence(ctx context.Context, tx pgx.Tx, on bool) error {
	var statements []string
	if on {
		missing, err := db.missingTriggers(ctx, tx, on)
		if err != nil {
			return err
		}
		if statements = missing; len(missing) > 0 {
			statements = append(missing, db.rememberLeaves())
		}
	}
	otherwise := "O"
	if on {
		otherwise = "D"
	}
	wrong, err := db.withTrigger(ctx, tx, otherwise)
	if err != nil {
		return err
	}
	for _, table := range wrong {
		statements = append(statements, db.switchTrigger(table, on))
	}
	for _, q := range statements {
		if _, err := tx.Exec(ctx, q); err != nil {
			return fmt.Errorf("%w\nin: %s", err, q)
		}
	}
	return nil
}

// Unfence lets writers in again.
func (db *DB) Unfence(ctx context.Context, epoch uint64) error {
	return db.patiently(ctx, lockWait, func(tx pgx.Tx) error {
		done, err := tx.Exec(ctx, "UPDATE strangler.move SET fenced = false WHERE id = $1 AND epoch = $2", db.id, int64(epoch))
		if err != nil {
			return err
		}
		if done.RowsAffected() == 0 {
			return db.stale(ctx, tx)
		}
		return db.fence(ctx, tx, false)
	})
}

// BumpAttempt raises the attempt.
func (db *DB) BumpAttempt(ctx context.Context) (uint64, error) {
	var attempt int64
	err := db.pool.QueryRow(ctx, "UPDATE strangler.move SET attempt = attempt + 1 WHERE id = $1 RETURNING attempt", db.id).Scan(&attempt)
	return uint64(attempt), unprepared(err)
}

// Claim makes this side the owner, if no newer attempt or epoch is stored.
func (db *DB) Claim(ctx context.Context, c change.Claim) error {
	return db.patiently(ctx, lockWait, func(tx pgx.Tx) error {
		done, err := tx.Exec(ctx, "UPDATE strangler.move SET epoch = $2, fenced = false WHERE id = $1 AND attempt = $3 AND epoch < $2",
			db.id, int64(c.Epoch), int64(c.Attempt))
		if err != nil {
			return err
		}
		if done.RowsAffected() == 0 {
			if err := db.stale(ctx, tx); !errors.Is(err, change.ErrStaleEpoch) {
				return err
			}
			return change.ErrClaimRefused
		}
		if err := db.raiseSequences(ctx, tx, c.Sequences); err != nil {
			return err
		}
		return db.fence(ctx, tx, false)
	})
}

// raiseSequences sets each sequence past everything that either side has given
// out, and past every value there is: those that came from the other side did
// not come from the sequence. Those that count down are left alone.
func (db *DB) raiseSequences(ctx context.Context, tx pgx.Tx, floors change.Sequences) error {
	for i, t := range db.tables {
		generators, err := sequencesOf(ctx, tx, t)
		if err != nil {
			return err
		}
		for _, g := range generators {
			floor := int64(0)
			if i < len(floors) {
				floor = floors[i][g.Column]
			}
			if err := highestValue(ctx, tx, t, g.Column, &floor); err != nil {
				return err
			}
			_, err := tx.Exec(ctx, fmt.Sprintf(`SELECT setval($1::regclass, $2) FROM %s, pg_sequence
				WHERE seqrelid = $1::regclass AND seqincrement > 0 AND $2 > 0 AND (last_value < $2 OR (last_value = $2 AND NOT is_called))`, g.Sequence), g.Sequence, floor)
			if err != nil {
				return fmt.Errorf("hand over the sequence of %s.%s: %w", t.Name, g.Column, err)
			}
		}
	}
	return nil
}

// highestValue raises floor to the highest value of a column of whole numbers,
// where an index finds it at once.
func highestValue(ctx context.Context, q querier, t change.Table, column string, floor *int64) error {
	var quick bool
	err := q.QueryRow(ctx, `SELECT EXISTS (SELECT 1 FROM pg_attribute a JOIN pg_index x ON x.indrelid = a.attrelid AND x.indkey[0] = a.attnum AND x.indpred IS NULL
		WHERE attrelid = to_regclass($1) AND attname = $2 AND atttypid IN ('int2'::regtype, 'int4'::regtype, 'int8'::regtype))`, relation(t.Name), column).Scan(&quick)
	if err != nil || !quick {
		return err
	}
	return q.QueryRow(ctx, fmt.Sprintf("SELECT greatest($1, coalesce(max(%s), 0))", quote(column))+" FROM "+relation(t.Name), *floor).Scan(floor)
}

// Sequences returns how far the sequences of the columns have counted.
func (db *DB) Sequences(ctx context.Context) (change.Sequences, error) {
	all := make(change.Sequences, len(db.tables))
	for i, t := range db.tables {
		generators, err := sequencesOf(ctx, db.pool, t)
		if err != nil {
			return nil, err
		}
		for _, g := range generators {
			var given int64
			if err := db.pool.QueryRow(ctx, "SELECT CASE WHEN is_called THEN last_value ELSE 0 END FROM "+g.Sequence).Scan(&given); err != nil {
				return nil, err
			}
			if given == 0 {
				continue
			}
			if all[i] == nil {
				all[i] = map[string]int64{}
			}
			all[i][g.Column] = max(all[i][g.Column], given)
		}
	}
	return all, nil
}

// Owner returns the stored ownership.
func (db *DB) Owner(ctx context.Context) (change.Ownership, error) { return db.ownership(ctx, db.pool) }

func (db *DB) ownership(ctx context.Context, q querier) (change.Ownership, error) {
	// Asking whether the table is there first keeps a transaction alive that
	// is about to create it.
	var exists bool
	if err := q.QueryRow(ctx, "SELECT to_regclass('strangler.move') IS NOT NULL").Scan(&exists); err != nil {
		return change.Ownership{}, err
	}
	if !exists {
		return change.Ownership{}, change.ErrNotPrepared
	}
	var epoch, attempt int64
	var o change.Ownership
	err := q.QueryRow(ctx, "SELECT epoch, attempt, fenced FROM strangler.move WHERE id = $1", db.id).Scan(&epoch, &attempt, &o.Fenced)
	o.Epoch, o.Attempt = uint64(epoch), uint64(attempt)
	return o, unprepared(err)
}
