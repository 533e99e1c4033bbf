package postgres

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/jackc/pgx/v5"

	"stranglerfig/migrations/change"
)

const (
	// leastBatch is how many changes are read at once even when a smaller limit
	// was asked for: a batch that reaches the end of the log has one change per
	// key, however often the key was written.
	leastBatch = 4_000
	// Acknowledging writes a row, so it is done rarely.
	acknowledgeEvery = 2 * time.Second
	acknowledgeBytes = 16 << 20 // of log
)

// Head returns the end of the last transaction that matters to the move. What
// else the server writes does not count, or else two sides that follow each
// other would never come to rest. Where the follower is so far behind that
// finding out takes too much memory, it is the end of all that was written.
func (db *DB) Head(ctx context.Context) (change.Position, error) {
	end, err := db.written(ctx)
	if err != nil {
		return 0, err
	}
	var head change.Position
	err = db.withFeed(ctx, end, nil, queueLimit, func(f *feed) error {
		head = max(f.last, f.acked)
		if f.reached < end {
			head = end
			f.promised = max(f.promised, end)
		}
		return nil
	})
	return head, err
}

// written returns the end of the log and makes sure that it is on disk, because
// only then the server streams it. A commit of the application that did not
// wait for the disk would not be seen otherwise.
func (db *DB) written(ctx context.Context) (change.Position, error) {
	ctx, cancel := context.WithTimeout(ctx, answerWait)
	defer cancel()
	var end, flushed int64
	err := db.pool.QueryRow(ctx, "SELECT pg_current_wal_insert_lsn() - '0/0', pg_current_wal_flush_lsn() - '0/0'").Scan(&end, &flushed)
	if err == nil && flushed < end {
		err = db.flush(ctx)
	}
	return change.Position(end), explain(err)
}

// flush makes sure that everything written so far is on this server's disk, by
// committing something that nobody reads. No standby is waited for.
func (db *DB) flush(ctx context.Context) error {
	_, err := db.pool.Exec(ctx, "SELECT set_config('synchronous_commit', 'local', true), pg_logical_emit_message(true, 'strangler.flush', '')")
	return err
}

// poke flushes the log for a session whose server says nothing, and makes sure
// that there still is one at its other end: a connection may be cut without
// either end being told.
func (db *DB) poke(ctx context.Context, s *session) error {
	ctx, cancel := context.WithTimeout(ctx, answerWait)
	defer cancel()
	if err := db.flush(ctx); err != nil {
		return err
	}
	silence := time.Since(s.heard)
	if silence < suspicious {
		return nil
	}
	// One that waits for us, or for something to send, would have answered.
	var busy bool
	err := db.pool.QueryRow(ctx, `SELECT EXISTS (SELECT 1 FROM pg_replication_slots JOIN pg_stat_activity ON pid = active_pid
		WHERE slot_name = $1 AND active_pid = $2 AND coalesce(wait_event_type, '') NOT IN ('Activity', 'Client'))`, db.name, int32(s.conn.PID())).Scan(&busy)
	if err != nil || (busy && silence < db.feed.bearable) {
		return err
	}
	if busy { // the next session has the same work to do, and more time for it
		db.feed.bearable *= 2
	}
	return fmt.Errorf("read the replication stream: nobody has answered for %s", silence.Round(time.Second))
}

// Read returns changes after a position, each row as it was at the end of the
// batch. Large values that the log does not repeat are read from the table as they
// are now: what was changed since is still to come, so the follower converges.
func (db *DB) Read(ctx context.Context, from change.Position, limit int) (change.Batch, error) {
	b, err := db.ReadSparse(ctx, from, limit)
	if err != nil {
		return b, err
	}
	return db.Complete(ctx, b)
}

// ReadSparse leaves large values that the log does not repeat to the follower, who
// has them under the same key.
func (db *DB) ReadSparse(ctx context.Context, from change.Position, limit int) (change.Batch, error) {
	var end int64
	brief, cancel := context.WithTimeout(ctx, answerWait)
	err := db.pool.QueryRow(brief, "SELECT pg_current_wal_flush_lsn() - '0/0'").Scan(&end)
	cancel()
	if err != nil {
		return change.Batch{}, err
	}
	limit = max(limit, leastBatch)
	var b change.Batch
	var changes []logged
	err = db.withFeed(ctx, change.Position(end), &from, limit, func(f *feed) (err error) {
		if b, changes, err = f.batch(from, limit); err != nil {
			return err
		}
		return db.acknowledge(ctx)
	})
	if err != nil {
		return change.Batch{From: from, To: from}, err
	}
	b.Changes, err = db.settled(ctx, changes)
	return b, err
}

// Touched lists distinct keys of the log.
func (db *DB) Touched(ctx context.Context, since change.Position, limit int) ([]change.Change, bool, error) {
	end, err := db.written(ctx)
	if err != nil {
		return nil, false, err
	}
	var keys []change.Change
	var all bool
	err = db.withFeed(ctx, end, nil, queueLimit, func(f *feed) error {
		keys, all = f.since(since, limit)
		all = all && f.reached >= end
		return nil
	})
	return keys, all, err
}

// Acknowledge lets the log go now and then; until it does, it only costs space.
// What is put off is made up for by the next Read.
func (db *DB) Acknowledge(ctx context.Context, upTo change.Position) error {
	if err := db.feed.turn.take(ctx); err != nil {
		return err
	}
	defer db.feed.turn.leave()
	db.feed.wanted = max(db.feed.wanted, upTo)
	return db.acknowledge(ctx)
}

// acknowledge stores what is to be acknowledged before the server hears of it,
// so that it is always known which changes can no longer be had.
func (db *DB) acknowledge(ctx context.Context) error {
	f := &db.feed
	due := f.wanted > f.acked+acknowledgeBytes || time.Since(f.persisted) >= acknowledgeEvery
	if f.wanted <= f.acked || !due {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, answerWait)
	defer cancel()
	done, err := db.pool.Exec(ctx, "UPDATE strangler.move SET acked = greatest(acked, $2) WHERE id = $1", db.id, bounded(f.wanted))
	if err != nil {
		return explain(err)
	}
	if done.RowsAffected() == 0 {
		return change.ErrNotPrepared
	}
	f.persisted = time.Now()
	f.forget(f.wanted)
	if f.session == nil {
		return nil
	}
	if err := f.report(false); err != nil {
		f.session.close() // the next one to use it starts another
	}
	return nil
}

// TakeStream makes runner the only one that may apply.
func (db *DB) TakeStream(ctx context.Context, stream, runner string, start change.Position) (change.Checkpoint, error) {
	cp := change.Checkpoint{Runner: runner}
	err := db.pool.QueryRow(ctx, `INSERT INTO strangler.stream (id, stream, position, marker, runner)
		SELECT id, $2, $3, '', $4 FROM strangler.move WHERE id = $1
		ON CONFLICT (id, stream) DO UPDATE SET runner = excluded.runner RETURNING position, marker`,
		db.id, stream, bounded(start), runner).Scan(&cp.Position, &cp.Marker)
	return cp, unprepared(err)
}

// bounded writes a position as PostgreSQL's largest integer can hold it.
func bounded(p change.Position) int64 { return int64(min(p, math.MaxInt64)) }

// Stream returns a stream's checkpoint.
func (db *DB) Stream(ctx context.Context, stream string) (change.Checkpoint, error) {
	var cp change.Checkpoint
	err := db.pool.QueryRow(ctx, "SELECT position, marker, runner FROM strangler.stream WHERE id = $1 AND stream = $2", db.id, stream).
		Scan(&cp.Position, &cp.Marker, &cp.Runner)
	if errors.Is(err, pgx.ErrNoRows) {
		return cp, nil
	}
	return cp, explain(err)
}

// Apply applies a batch exactly once: the checkpoint moves from the batch's
// beginning to its end in the same transaction, or nothing happens.
func (db *DB) Apply(ctx context.Context, stream, runner string, b change.Batch) error {
	return db.write(ctx, func(w *writing) error {
		done, err := w.tx.Exec(ctx, `UPDATE strangler.stream SET position = $1, marker = coalesce(nullif($2, ''), marker)
			WHERE id = $3 AND stream = $4 AND runner = $5 AND position = $6`,
			bounded(b.To), b.Marker, db.id, stream, runner, bounded(b.From))
		if err != nil {
			return err
		}
		if done.RowsAffected() != 1 {
			return change.ErrStaleRunner
		}
		return w.all(ctx, b.Changes)
	})
}
