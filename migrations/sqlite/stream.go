package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"stranglerfig/migrations/change"
	"stranglerfig/migrations/mapping"
)

const (
	// wholeBatch is how many log entries are read at once even when a smaller
	// limit was asked for: a batch that reaches the log's head is an exact
	// state, one that is split relies on the next.
	wholeBatch = 20_000
	// Pruning takes the write lock, so it is done rarely.
	pruneEvery   = 2 * time.Second
	pruneEntries = 5_000
	pruneSlice   = 5_000 // entries deleted in one transaction
)

// Head returns the end of the move's log.
func (db *DB) Head(ctx context.Context) (change.Position, error) {
	p, err := db.head(ctx, db.read)
	return p, unprepared(err)
}

// head counts what was acknowledged as well, because that may be forgotten.
func (db *DB) head(ctx context.Context, q querier) (change.Position, error) {
	var p int64
	err := q.QueryRowContext(ctx, `SELECT max(
		coalesce((SELECT max(seq) FROM strangler_log WHERE move = ?1), 0),
		coalesce((SELECT acked FROM strangler_move WHERE move = ?1), 0))`, db.move).Scan(&p)
	return change.Position(p), err
}

// Read returns the present rows of the keys logged after a position.
func (db *DB) Read(ctx context.Context, from change.Position, limit int) (change.Batch, error) {
	b := change.Batch{From: from, To: from}
	err := db.snapshot(ctx, func(tx *sql.Tx) error {
		if err := db.holds(ctx, tx, from); err != nil {
			return err
		}
		entries, err := db.entries(ctx, tx, from, max(limit, wholeBatch))
		if err != nil || len(entries) == 0 {
			return err
		}
		b.To = entries[len(entries)-1].at
		once := preparing(tx)
		for _, e := range latest(entries) {
			if e.marker != "" {
				b.Marker = e.marker
				continue
			}
			row, err := db.row(ctx, once, e.table, e.key)
			if err != nil {
				return err
			}
			c := change.Change{Table: e.table, Kind: change.Delete, Key: e.key}
			if row != nil {
				c.Kind, c.Row = change.Put, row
			}
			b.Changes = append(b.Changes, c)
		}
		return nil
	})
	return b, unprepared(err)
}

// holds makes sure that the log goes on from a position: nothing after it has
// been forgotten, and it does not end before it.
func (db *DB) holds(ctx context.Context, q querier, from change.Position) error {
	var acked, head int64
	err := q.QueryRowContext(ctx, `SELECT acked, max(acked, coalesce((SELECT max(seq) FROM strangler_log WHERE move = ?1), 0))
		FROM strangler_move WHERE move = ?1`, db.move).Scan(&acked, &head)
	if errors.Is(err, sql.ErrNoRows) {
		return change.ErrNotPrepared
	}
	if err != nil {
		return err
	}
	if int64(from) < acked || int64(from) > head {
		return fmt.Errorf("%w: it holds %d to %d, asked for is %d", change.ErrForgotten, acked, head, from)
	}
	return nil
}

// entry is one line of the log.
type entry struct {
	at     change.Position
	table  int
	text   string // of the key
	key    change.Key
	marker string
}

func (db *DB) entries(ctx context.Context, q querier, from change.Position, limit int) ([]entry, error) {
	rows, err := q.QueryContext(ctx, `SELECT seq, coalesce(tab, 0), coalesce(key, ''), coalesce(marker, '')
		FROM strangler_log WHERE move = ? AND seq > ? ORDER BY seq LIMIT ?`, db.move, int64(from), limit)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var all []entry
	for rows.Next() {
		var e entry
		if err := rows.Scan(&e.at, &e.table, &e.text, &e.marker); err != nil {
			return nil, err
		}
		if e.marker == "" {
			if e.key, err = mapping.DecodeKey(e.text); err != nil {
				return nil, err
			}
		}
		all = append(all, e)
	}
	return all, rows.Err()
}

// latest keeps the last entry of each key, in the order of the log. Each key's
// present row is read once, so only that one counts.
func latest(entries []entry) []entry {
	type id struct {
		table int
		text  string
	}
	last := make(map[id]int, len(entries))
	for i, e := range entries {
		if e.marker == "" {
			last[id{e.table, e.text}] = i
		}
	}
	kept := make([]entry, 0, len(last))
	for i, e := range entries {
		if e.marker != "" || last[id{e.table, e.text}] == i {
			kept = append(kept, e)
		}
	}
	return kept
}

// row reads the row of a key, nil where there is none.
func (db *DB) row(ctx context.Context, tx prepared, table int, key change.Key) (change.Row, error) {
	t := db.tables[table]
	rows, err := tx.QueryContext(ctx, fmt.Sprintf("SELECT %s FROM %s WHERE %s", columns(t), quote(t.Name), keyMatch(t)), args(key)...)
	if err != nil {
		return nil, err
	}
	found, err := scanRows(rows, len(t.Columns))
	if err != nil || len(found) == 0 {
		return nil, err
	}
	return found[0], nil
}

// Acknowledge forgets log entries now and then; until it does, they only cost
// space.
func (db *DB) Acknowledge(ctx context.Context, upTo change.Position) error {
	var acked int64
	if err := db.read.QueryRowContext(ctx, "SELECT acked FROM strangler_move WHERE move = ?", db.move).Scan(&acked); err != nil {
		return unprepared(err)
	}
	db.mu.Lock()
	due := int64(upTo)-acked >= pruneEntries || (int64(upTo) > acked && time.Since(db.pruned) >= pruneEvery)
	db.mu.Unlock()
	if !due {
		return nil
	}
	err := db.transact(ctx, busyWait, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, "UPDATE strangler_move SET acked = ? WHERE move = ? AND acked < ?", int64(upTo), db.move, int64(upTo))
		return err
	})
	if err == nil {
		err = db.prune(ctx, upTo)
	}
	db.mu.Lock()
	db.pruned = time.Now()
	db.mu.Unlock()
	return err
}

// prune deletes what the log may forget in slices, each a transaction of its
// own: the application's writers wait for one slice at the most.
func (db *DB) prune(ctx context.Context, upTo change.Position) error {
	for {
		var deleted int64
		err := db.transact(ctx, busyWait, func(tx *sql.Tx) error {
			done, err := tx.ExecContext(ctx, `DELETE FROM strangler_log WHERE seq IN
				(SELECT seq FROM strangler_log WHERE move = ? AND seq <= ? ORDER BY seq LIMIT ?)`, db.move, int64(upTo), pruneSlice)
			if err != nil {
				return err
			}
			deleted, err = done.RowsAffected()
			return err
		})
		if err != nil || deleted < pruneSlice {
			return err
		}
		select {
		case <-time.After(busyPause):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// entrySize is about what one entry of the log takes, in bytes, with its place
// in the index.
const entrySize = 64

// Retained estimates the size of the log from the number of its entries.
func (db *DB) Retained(ctx context.Context) (int64, error) {
	var entries int64
	err := db.read.QueryRowContext(ctx, "SELECT coalesce(max(seq) - min(seq) + 1, 0) FROM strangler_log WHERE move = ?", db.move).Scan(&entries)
	return entries * entrySize, unprepared(err)
}

// Release forgets the whole log.
func (db *DB) Release(ctx context.Context) error {
	_, err := db.Recut(ctx)
	return err
}

// Recut forgets the whole log; it goes on with what is written next.
func (db *DB) Recut(ctx context.Context) (change.Position, error) {
	var at change.Position
	err := db.transact(ctx, busyWait, func(tx *sql.Tx) error {
		var err error
		if at, err = db.head(ctx, tx); err != nil {
			return err
		}
		done, err := tx.ExecContext(ctx, "UPDATE strangler_move SET acked = ? WHERE move = ?", int64(at), db.move)
		if err != nil {
			return err
		}
		if n, err := done.RowsAffected(); err != nil || n != 1 {
			return errors.Join(change.ErrNotPrepared, err)
		}
		return nil
	})
	if err != nil {
		return 0, unprepared(err)
	}
	return at, db.prune(ctx, at)
}

// Restart moves a stream to where a log began anew.
func (db *DB) Restart(ctx context.Context, stream string, at change.Position) error {
	return unprepared(db.transact(ctx, busyWait, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, `INSERT INTO strangler_stream (move, stream, position, marker, runner) VALUES (?, ?, ?, '', '')
			ON CONFLICT (move, stream) DO UPDATE SET position = excluded.position, marker = '', runner = ''`, db.move, stream, int64(at))
		return err
	}))
}

// TakeStream makes runner the only one that may apply.
func (db *DB) TakeStream(ctx context.Context, stream, runner string, start change.Position) (change.Checkpoint, error) {
	cp := change.Checkpoint{Runner: runner}
	err := db.transact(ctx, busyWait, func(tx *sql.Tx) error {
		if _, err := tx.ExecContext(ctx, `INSERT INTO strangler_stream (move, stream, position, marker, runner) VALUES (?, ?, ?, '', ?)
			ON CONFLICT (move, stream) DO UPDATE SET runner = excluded.runner`, db.move, stream, int64(start), runner); err != nil {
			return err
		}
		return tx.QueryRowContext(ctx, "SELECT position, marker FROM strangler_stream WHERE move = ? AND stream = ?", db.move, stream).
			Scan(&cp.Position, &cp.Marker)
	})
	return cp, unprepared(err)
}

// Stream returns a stream's checkpoint.
func (db *DB) Stream(ctx context.Context, stream string) (change.Checkpoint, error) {
	var cp change.Checkpoint
	err := db.read.QueryRowContext(ctx, "SELECT position, marker, runner FROM strangler_stream WHERE move = ? AND stream = ?", db.move, stream).
		Scan(&cp.Position, &cp.Marker, &cp.Runner)
	if errors.Is(err, sql.ErrNoRows) {
		return cp, nil
	}
	return cp, unprepared(err)
}
