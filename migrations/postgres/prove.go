package postgres

import (
	"context"
	"errors"
	"fmt"
	"time"

	"stranglerfig/migrations/change"
)

// errProven rolls a proof back.
var errProven = errors.New("proven")

// provePause is how long writers are left to themselves before a proof is tried
// again.
const provePause = 10 * time.Millisecond

// Prove stores rows in a transaction that is rolled back. Rows that others have
// locked are left out: whoever waits for one of them while it has others may be
// waited for, and of such two the server turns one away, which may be the
// application's. For whatever else is in the way a proof waits in short tries, as a
// fence does.
func (db *DB) Prove(ctx context.Context, table int, rows []change.Row) (int, error) {
	if len(rows) == 0 {
		return 0, nil
	}
	untilCheck, err := db.untilCheck(ctx)
	if err != nil {
		return 0, explain(err)
	}
	bounded, cancel := context.WithTimeout(ctx, lockWait)
	defer cancel()
	for {
		n, err := db.prove(bounded, table, rows, untilCheck)
		busy := err == nil && n == 0 || code(err) == lockTimeout || code(err) == queryCanceled
		switch {
		case err == nil && n > 0:
			return n, nil
		case errors.Is(bounded.Err(), context.DeadlineExceeded):
			return 0, fmt.Errorf("%w%s: none of %d rows can be proven", change.ErrFenceTimeout, db.holders(ctx), len(rows))
		case !busy || ctx.Err() != nil:
			return 0, err
		}
		select {
		case <-time.After(provePause):
		case <-bounded.Done():
		}
	}
}

// prove does so once. Nobody waits for it for as long as the server takes to look
// for deadlocks.
func (db *DB) prove(ctx context.Context, table int, rows []change.Row, untilCheck time.Duration) (n int, err error) {
	err = db.write(ctx, func(w *writing) error {
		_, err := w.tx.Exec(ctx, "SELECT set_config('lock_timeout', $1, true), set_config('statement_timeout', $2, true)",
			milliseconds(max(time.Millisecond, untilCheck/10)), milliseconds(max(time.Millisecond, untilCheck/2)))
		if err != nil {
			return err
		}
		free, err := w.free(ctx, table, rows)
		if err != nil {
			return err
		}
		n = len(free)
		if err := w.put(ctx, table, free); err != nil {
			return fmt.Errorf("store in %s: %w", db.tables[table].Name, err)
		}
		return errProven
	})
	if errors.Is(err, errProven) {
		return n, nil
	}
	return 0, err
}

// free locks rows and returns those that could be, without waiting for any, and
// those that are not stored.
func (w *writing) free(ctx context.Context, table int, rows []change.Row) ([]change.Row, error) {
	l, err := w.db.layout(ctx, w.tx, table)
	if err != nil {
		return nil, err
	}
	keys := make([]change.Key, len(rows))
	for i, row := range rows {
		keys[i] = keyOf(l.table, row)
	}
	locked, err := lookup(ctx, w.tx, l, keys, "FOR NO KEY UPDATE OF t SKIP LOCKED")
	if err != nil {
		return nil, err
	}
	stored, err := lookup(ctx, w.tx, l, keys, "")
	if err != nil {
		return nil, err
	}
	var free []change.Row
	for i, row := range rows {
		if locked[i] != nil || stored[i] == nil {
			free = append(free, row)
		}
	}
	return free, nil
}
