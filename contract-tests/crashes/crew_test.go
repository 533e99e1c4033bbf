package crashes

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"stranglerfig/contract-tests/history"
	"stranglerfig/migrations/change"
)

// crew is the clients of one life. Each has accounts of its own, so that it
// knows at any time what must be stored, row by row.
type crew struct {
	t       testing.TB
	gate    *gate
	dsns    map[change.Side]string
	log     *history.Log
	work    sync.RWMutex // held for reading by every operation
	acked   atomic.Int64
	refused atomic.Int64 // by a fence
	clients []*client
	strange *stranger
	wg      sync.WaitGroup
	stop    context.CancelFunc
}

// client is one of them.
type client struct {
	c     *crew
	name  string
	dice  *rand.Rand
	conns conns
	book  book
	n     int // of its operations
}

// hire starts clients on a monolith's database that was just created.
func hire(t testing.TB, dsns map[change.Side]string, g *gate, seed uint64, clients, accounts int) *crew {
	t.Helper()
	ctx, stop := context.WithCancel(context.Background())
	c := &crew{t: t, gate: g, dsns: dsns, log: history.New(time.Now), stop: stop}
	for i := range clients {
		w := &client{c: c, name: fmt.Sprintf("w%d", i), dice: rand.New(rand.NewPCG(seed, uint64(i))), conns: conns{dsns: dsns}}
		w.endow(t, accounts)
		c.clients = append(c.clients, w)
	}
	c.strange = &stranger{c: c, dice: rand.New(rand.NewPCG(seed, 1<<32)), conns: conns{dsns: dsns}, known: map[int64]string{}, perhaps: map[string]bool{}}
	for _, w := range c.clients {
		c.wg.Go(func() { w.run(ctx) })
	}
	c.wg.Go(func() { c.strange.run(ctx) })
	t.Cleanup(c.dismiss)
	return c
}

// endow gives a client accounts to begin with.
func (w *client) endow(t testing.TB, accounts int) {
	t.Helper()
	conn, err := w.conns.to(t.Context(), change.Monolith)
	must(t, err)
	d := dialects[change.Monolith]
	_, err = conn.Exec(t.Context(), d.seed, accounts, w.name)
	must(t, err)
	rows, err := listed[int64, string](t.Context(), conn, "SELECT id, split_part(code, '-', 3) FROM acct WHERE code LIKE $1", w.name+"-%")
	must(t, err)
	w.book = book{}
	for id, n := range rows {
		var cents int64
		_, err := fmt.Sscan(n, &cents)
		must(t, err)
		w.book[id] = account{
			code: w.name + "-seed-" + n, cents: cents, status: statuses[cents%3], memo: "seeded", lines: map[int]int64{1: 10},
		}
	}
}

// dismiss ends the clients after their present operations.
func (c *crew) dismiss() {
	c.stop()
	c.wg.Wait()
	for _, w := range c.clients {
		w.conns.close()
	}
	c.strange.conns.close()
}

// rest keeps the clients from beginning anything until they are told to go on,
// once what is under way has ended.
func (c *crew) rest() (goOn func()) {
	c.work.Lock()
	return c.work.Unlock
}

// more waits until a few more writes were acknowledged, by which clients show
// that they are served.
func (c *crew) more(ctx context.Context) error {
	before := c.acked.Load()
	for c.acked.Load() < before+5 {
		if err := pace(ctx); err != nil {
			return fmt.Errorf("clients are not served: %w", err)
		}
	}
	return nil
}

// pace is the breath between two looks at something.
func pace(ctx context.Context) error {
	select {
	case <-time.After(3 * time.Millisecond):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (w *client) run(ctx context.Context) {
	for ctx.Err() == nil {
		w.c.work.RLock()
		w.perform(ctx)
		w.c.work.RUnlock()
		if pace(ctx) != nil {
			return
		}
	}
}

// perform performs one operation, as often as it takes to be told yes, or that
// nobody can tell.
func (w *client) perform(ctx context.Context) {
	w.n++
	key := fmt.Sprintf("%s-%d", w.name, w.n)
	do := w.draw()
	ended := w.c.log.Begin("operation", key)
	for {
		side, leave, err := w.c.gate.pass(ctx)
		if err != nil {
			ended(history.Failed, "dismissed while it waited")
			return
		}
		after := maps.Clone(w.book)
		outcome, err := w.conns.write(side, key, do, after)
		leave()
		switch outcome {
		case history.OK:
			w.book = after
			w.c.acked.Add(1)
			ended(outcome, "")
			return
		case history.Unknown:
			ended(outcome, err.Error())
			w.resolve(ctx, key, after)
			return
		}
		w.c.complain(w.name, err)
		if pace(ctx) != nil {
			ended(history.Failed, "dismissed")
			return
		}
	}
}

// write writes one transaction on a side, and its entry in the journal. Until the
// commit is sent nothing has happened; after that only an answer tells.
func (c *conns) write(side change.Side, key string, do operation, after book) (history.Outcome, error) {
	ctx := context.Background() // a client does not give up
	conn, err := c.to(ctx, side)
	if err != nil {
		return history.Failed, err
	}
	tx, err := conn.Begin(ctx)
	if err != nil {
		return history.Failed, err
	}
	d := dialects[side]
	if err := do(ctx, tx, d, after); err != nil {
		return history.Failed, errors.Join(err, rolledBack(tx))
	}
	if _, err := tx.Exec(ctx, d.log, key); err != nil {
		return history.Failed, errors.Join(err, rolledBack(tx))
	}
	if err := tx.Commit(ctx); err != nil {
		return history.Unknown, err
	}
	return history.OK, nil
}

// rolledBack rolls back; where that fails the connection is gone, which does
// the same.
func rolledBack(tx pgx.Tx) error {
	if err := tx.Rollback(context.Background()); err != nil && !tx.Conn().IsClosed() {
		return err
	}
	return nil
}

// resolve finds out whether an operation happened that was told nothing. It may
// have happened or not, but not by half.
func (w *client) resolve(ctx context.Context, key string, after book) {
	for {
		side, leave, err := w.c.gate.pass(ctx)
		if err != nil {
			return
		}
		have, present, err := w.look(side, key)
		leave()
		if err == nil {
			if present {
				w.book = after
			}
			if d := difference(have, w.book.written()); d != "" {
				w.c.t.Errorf("%s: an operation nobody could tell of left something else than before and after, its entry in the journal: %v\n%s", key, present, d)
			}
			return
		}
		if pace(ctx) != nil {
			return
		}
	}
}

func (w *client) look(side change.Side, key string) (have map[int64]string, present bool, err error) {
	ctx := context.Background()
	conn, err := w.conns.to(ctx, side)
	if err != nil {
		return nil, false, err
	}
	if have, err = listed[int64, string](ctx, conn, dialects[side].accounts, w.name+"-%"); err != nil {
		return nil, false, err
	}
	journal, err := listed[string, int](ctx, conn, dialects[side].journal, key)
	return have, journal[key] > 0, err
}

// complain reports a refusal that no client should meet. A fence, and a server
// or a connection that goes away, are what these tests are about.
func (c *crew) complain(who string, err error) {
	var refusal *pgconn.PgError
	switch {
	case !errors.As(err, &refusal):
	case refusal.Code == "25006":
		c.refused.Add(1)
	case strings.HasPrefix(refusal.Code, "57P"): // the server ends or begins
	default:
		c.t.Errorf("%s was turned away: %v\n%s\n%s", who, err, refusal.Detail, refusal.Where)
	}
}

// expected is what must be stored, given what is: what nobody can tell of may
// be there or not.
func (c *crew) expected(have map[int64]string) map[int64]string {
	want := map[int64]string{}
	for _, w := range c.clients {
		maps.Copy(want, w.book.written())
	}
	maps.Copy(want, c.strange.known)
	for id, text := range have {
		if c.strange.perhaps[text] {
			want[id] = text
		}
	}
	return want
}

// conns is one connection to each side, made anew when it breaks.
type conns struct {
	dsns map[change.Side]string
	open map[change.Side]*pgx.Conn
}

func (c *conns) to(ctx context.Context, side change.Side) (*pgx.Conn, error) {
	if conn := c.open[side]; conn != nil && !conn.IsClosed() {
		return conn, nil
	}
	conn, err := pgx.Connect(ctx, c.dsns[side])
	if err != nil {
		return nil, err
	}
	if c.open == nil {
		c.open = map[change.Side]*pgx.Conn{}
	}
	c.open[side] = conn
	return conn, nil
}

func (c *conns) close() {
	for _, conn := range c.open {
		conn.Close(context.Background())
	}
}
