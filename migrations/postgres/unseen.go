package postgres

import (
	"context"
	"slices"
	"sync"
	"time"

	"stranglerfig/migrations/change"
)

// unseenLimit bounds the transactions that are looked for before rows are looked
// up. A session commits one at a time, so those that cannot be seen yet are fewer
// than there are sessions.
const unseenLimit = 10_000

// unseen are the latest transactions that were received, in their order, of which
// nobody has made sure yet that their changes can be seen. They outlive a
// session: the follower has what that one received.
type unseen struct {
	mu      sync.Mutex
	writers []writer
}

// writer is a transaction that changed rows.
type writer struct {
	xid uint32
	end change.Position
}

// commits notes a transaction whose changes may not be seen yet.
func (u *unseen) commits(w writer) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if len(u.writers) == unseenLimit {
		u.writers = append(u.writers[:0], u.writers[unseenLimit/2:]...)
	}
	u.writers = append(u.writers, w)
}

// all are the transactions whose changes may not be seen yet.
func (u *unseen) all() []writer {
	u.mu.Lock()
	defer u.mu.Unlock()
	return slices.Clone(u.writers)
}

// saw notes that what was received up to a position can be seen.
func (u *unseen) saw(upTo change.Position) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.writers = slices.DeleteFunc(u.writers, func(w writer) bool { return w.end <= upTo })
}

// untilVisible waits until the changes of transactions can be seen. The log has
// a commit a moment before others see it, and long before where it waits for a
// synchronous standby; the transaction's lock on itself is released after.
func (db *DB) untilVisible(ctx context.Context, xids []uint32) error {
	for {
		var waiting bool
		err := db.pool.QueryRow(ctx, `SELECT EXISTS (SELECT 1 FROM pg_locks
			WHERE locktype = 'transactionid' AND mode = 'ExclusiveLock' AND granted AND transactionid::text::bigint = ANY ($1::bigint[]))`, xids).Scan(&waiting)
		if err != nil || !waiting {
			return err
		}
		if !pause(ctx, time.Millisecond) {
			return context.Cause(ctx)
		}
	}
}

// untilReadIsVisible waits until the changes of everything that was read of the
// log can be seen. Without that a follower that is quick would be taken to hold
// rows that the owner does not have.
func (db *DB) untilReadIsVisible(ctx context.Context) error {
	writers := db.feed.unseen.all()
	if len(writers) == 0 {
		return nil
	}
	xids := make([]uint32, len(writers))
	var upTo change.Position
	for i, w := range writers {
		xids[i], upTo = w.xid, max(upTo, w.end)
	}
	if err := db.untilVisible(ctx, xids); err != nil {
		return err
	}
	db.feed.unseen.saw(upTo)
	return nil
}
