package postgres

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"stranglerfig/migrations/change"
)

const (
	// queueLimit bounds the changes that are held for somebody who asks where
	// the log ends while the follower is far behind.
	queueLimit = 50_000
	// heldLimit bounds the bytes of rows in them, apart from those of the last
	// transaction: rows may be large.
	heldLimit = 32 << 20
	// touchedLimit bounds the keys that are remembered for verification.
	touchedLimit = 250_000
	// silences is how often the server may have nothing to say before the log
	// is flushed.
	silences = 4
	// attempts is how often a broken session is replaced before the error is
	// the caller's.
	attempts = 3
)

// feed is the log of one database in memory: a window of transactions that
// moves with its reader, and the keys they touched. The server's log begins
// where it was acknowledged, so a feed that is started again has everything
// after that.
type feed struct {
	turn    turn
	id      string   // of the side of the move
	session *session // nil: not started
	tables  map[uint32]*streamed
	mapped  map[uint32]int // by oid
	layouts []*layout

	open    *transaction // begun and not committed
	queue   []transaction
	queued  int             // changes in the queue
	held    int             // bytes of rows in the queue
	dropped change.Position // the queue has nothing up to here
	reached change.Position // everything up to here was received
	last    change.Position // end of the last transaction that means something
	// promised is a position beyond last that somebody was told is the end of
	// the log; a reader that has come that far is told so.
	promised change.Position

	acked     change.Position // the log may have forgotten what lies before
	wanted    change.Position // to be acknowledged, sooner or later
	persisted time.Time
	touched   map[string]touch
	floor     change.Position // touched is complete after it

	bearable time.Duration // silence of a server that is at work
	unseen   unseen
}

// turn is a lock for which nobody waits any longer than they want to: whoever has
// it may be waiting for a server.
type turn chan struct{}

func (t turn) take(ctx context.Context) error {
	select {
	case t <- struct{}{}:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (t turn) leave() { <-t }

// touch is the last change of a key.
type touch struct {
	at    change.Position
	table int
	key   change.Key
}

// close ends the session, once whoever uses it has done so.
func (f *feed) close() {
	f.turn <- struct{}{}
	defer f.turn.leave()
	f.stop()
}

// stop ends the session and forgets what only it knew. A promise is kept.
func (f *feed) stop() {
	if f.session != nil {
		f.session.close()
	}
	f.session, f.tables, f.mapped, f.layouts = nil, nil, nil, nil
	f.open, f.queue, f.queued, f.held = nil, nil, 0, 0
	f.dropped, f.reached, f.last = 0, 0, 0
	f.acked, f.wanted, f.floor, f.touched, f.persisted = 0, 0, 0, nil, time.Time{}
}

// forgive lets a promise go that was made about a log that began anew, and what
// was waited for in it.
func (f *feed) forgive() {
	f.turn <- struct{}{}
	defer f.turn.leave()
	f.promised = 0
	f.unseen.saw(^change.Position(0))
}

// withFeed runs a function on a feed that has received everything up to a
// position, or at least as many changes as enough or as are held at most. A
// session that breaks is started again.
func (db *DB) withFeed(ctx context.Context, target change.Position, from *change.Position, enough int, f func(*feed) error) error {
	if err := db.feed.turn.take(ctx); err != nil {
		return err
	}
	defer db.feed.turn.leave()
	var err error
	for range attempts {
		if err = db.prepareFeed(ctx, from); err == nil {
			err = db.feed.catchUp(ctx, target, enough, db.poke)
		}
		if err == nil {
			db.feed.bearable = unbearable
			return f(&db.feed)
		}
		if errors.Is(err, change.ErrNotPrepared) || errors.Is(err, change.ErrCannotFollow) || ctx.Err() != nil {
			break
		}
		db.feed.stop()
	}
	return err
}

// prepareFeed starts the feed where there is none, or where the reader wants
// what it has dropped already.
func (db *DB) prepareFeed(ctx context.Context, from *change.Position) error {
	ctx, cancel := context.WithTimeout(ctx, takeoverWait+answerWait)
	defer cancel()
	f := &db.feed
	if f.session != nil && from != nil && *from < f.dropped {
		f.stop()
	}
	if f.session == nil {
		if err := db.startFeed(ctx); err != nil {
			return err
		}
	}
	if from != nil {
		if *from < f.acked {
			return fmt.Errorf("%w: changes after %d are asked for, but everything up to %d was acknowledged", errLost, *from, f.acked)
		}
		f.drop(*from)
	}
	return nil
}

func (db *DB) startFeed(ctx context.Context) error {
	f := &db.feed
	var acked int64
	if err := db.pool.QueryRow(ctx, "SELECT acked FROM strangler.move WHERE id = $1", db.id).Scan(&acked); err != nil {
		return unprepared(err)
	}
	f.mapped, f.layouts = map[uint32]int{}, nil
	for i, t := range db.tables {
		l, err := readLayout(ctx, db.pool, t)
		if err != nil {
			return err
		}
		f.mapped[l.oid] = i
		f.layouts = append(f.layouts, l)
	}
	session, err := db.startSession(ctx)
	if err != nil {
		return err
	}
	f.id, f.session, f.tables, f.touched = db.id, session, map[uint32]*streamed{}, map[string]touch{}
	f.acked = change.Position(acked)
	f.floor, f.reached = f.acked, f.acked
	return nil
}

// catchUp receives until everything up to a position is there, or enough changes,
// or as many bytes of them as are held at most.
//
// The position may lie within a record whose rest is not on disk yet, and stay
// there until somebody commits. So where the server says nothing for a while,
// it is poked.
func (f *feed) catchUp(ctx context.Context, target change.Position, enough int, poke func(context.Context, *session) error) error {
	f.session.heard = time.Now()
	if time.Since(f.session.told) > statusEvery {
		if err := f.report(false); err != nil {
			return err
		}
	}
	for silent := 0; f.reached < target && f.queued < enough && f.held < heldLimit; {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		heard, err := f.hear()
		if err != nil {
			return err
		}
		if heard {
			continue
		}
		if silent++; silent%silences == 0 {
			if err := poke(ctx, f.session); err != nil {
				return err
			}
		}
	}
	return nil
}

// hear takes the next message, if one comes in time, and answers where the
// server wants to hear of us.
func (f *feed) hear() (bool, error) {
	got, err := f.session.receive(f.open != nil && f.open.ours)
	if err != nil {
		return false, err
	}
	if got.message != nil {
		if err := f.take(got.message); err != nil {
			return false, err
		}
	}
	f.reached = max(f.reached, got.reached)
	if got.silent || got.asked || time.Since(f.session.told) > statusEvery {
		err = f.report(got.silent)
	}
	return !got.silent, err
}

// report tells the server what is durable. Where nothing waits to be
// acknowledged that is everything received, or else tables that nobody writes
// would keep the log of those that everybody does.
func (f *feed) report(ask bool) error {
	durable := f.acked
	if len(f.queue) == 0 && f.open == nil && f.last <= f.acked {
		durable = f.reached
	}
	return f.session.tell(f.reached, durable, ask)
}

// drop forgets the transactions up to a position.
func (f *feed) drop(upTo change.Position) {
	n := 0
	for n < len(f.queue) && f.queue[n].end <= upTo {
		f.queued -= max(1, len(f.queue[n].changes))
		f.held -= f.queue[n].bytes
		n++
	}
	f.queue = slices.Delete(f.queue, 0, n)
	f.dropped = max(f.dropped, upTo)
}

// batch returns whole transactions after a position, about limit changes. Of
// several changes of a key only the last one counts.
func (f *feed) batch(from change.Position, limit int) (change.Batch, []logged, error) {
	b := change.Batch{From: from, To: from}
	var changes []logged
	for _, t := range f.queue {
		if t.err != nil && b.To == from {
			return b, nil, fmt.Errorf("%w: %w", change.ErrCannotFollow, t.err)
		}
		if t.err != nil || (len(changes) > 0 && len(changes)+len(t.changes) > limit) {
			return b, latest(changes), nil
		}
		changes = append(changes, t.changes...)
		b.To = t.end
		if t.marker != "" {
			b.Marker = t.marker
		}
	}
	if f.promised > b.To && f.promised <= f.reached {
		b.To = f.promised
	}
	return b, latest(changes), nil
}

// latest keeps the last change of each key, in the order of the log. What its
// row lacks is taken from the change before, as far as that has it.
func latest(changes []logged) []logged {
	last := make(map[string]int, len(changes))
	for i, c := range changes {
		if before, ok := last[c.id]; ok && !c.moved && len(c.Absent) > 0 && changes[before].Kind == change.Put {
			changes[i].Change = completed(c.Change, changes[before].Row, changes[before].Absent)
			changes[i].moved = changes[before].moved
		}
		last[c.id] = i
	}
	kept := make([]logged, 0, len(last))
	for i, c := range changes {
		if last[c.id] == i {
			kept = append(kept, c)
		}
	}
	return kept
}

// forget lets go of what was acknowledged.
func (f *feed) forget(upTo change.Position) {
	f.acked, f.floor = max(f.acked, upTo), max(f.floor, upTo)
	maps.DeleteFunc(f.touched, func(_ string, t touch) bool { return t.at <= upTo })
}

// since lists the keys touched after a position in the order in which they
// were touched last, and whether they are all.
func (f *feed) since(p change.Position, limit int) ([]change.Change, bool) {
	var found []touch
	for _, t := range f.touched {
		if t.at > p {
			found = append(found, t)
		}
	}
	slices.SortFunc(found, func(a, b touch) int { return cmp.Compare(a.at, b.at) })
	all := p >= f.floor
	if len(found) > limit {
		found, all = found[:limit], false
	}
	keys := make([]change.Change, len(found))
	for i, t := range found {
		keys[i] = change.Change{Table: t.table, Key: t.key}
	}
	return keys, all
}
