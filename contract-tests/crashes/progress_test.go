package crashes

import (
	"context"
	"fmt"
	"sync"
	"time"

	"stranglerfig/migrations/change"
)

const (
	// patience is how long nothing may get any further. A busy machine makes
	// everything slow, but lets nothing stand still.
	patience = 2 * time.Minute
	// longest is how long an operation may take that gets further and further.
	longest = 20 * time.Minute
	// pulseEvery is how often the databases are asked how far it is.
	pulseEvery = 200 * time.Millisecond
	// pulseWait is how long they may take to answer: what keeps a move may keep
	// them as well.
	pulseWait = 10 * time.Second
)

// whileItMoves is a context for one operation of a life. It ends when the operation
// stands still, and with the returned function, which has to be called.
func whileItMoves(parent context.Context, dsns map[change.Side]string) (context.Context, func()) {
	ctx, end := context.WithCancelCause(parent)
	databases := conns{dsns: dsns}
	var watching sync.WaitGroup
	watching.Go(func() {
		defer databases.close()
		begun := time.Now()
		far, since := "", begun
		for ctx.Err() == nil {
			if now := pulse(ctx, &databases); now != far {
				far, since = now, time.Now()
			}
			switch {
			case time.Since(since) > patience:
				end(fmt.Errorf("nothing has got any further for %s", patience))
			case time.Since(begun) > longest:
				end(fmt.Errorf("it gets further, but not to an end within %s", longest))
			}
			select {
			case <-time.After(pulseEvery):
			case <-ctx.Done():
			}
		}
	})
	return ctx, func() { end(nil); watching.Wait() }
}

// pulse is how far a move has come, as both databases have it: owner, copy,
// and streams. One that is away says the same all the time.
func pulse(ctx context.Context, databases *conns) (all string) {
	ctx, cancel := context.WithTimeout(ctx, pulseWait)
	defer cancel()
	for _, side := range []change.Side{change.Monolith, change.Service} {
		far := "away"
		conn, err := databases.to(ctx, side)
		if err == nil {
			err = conn.QueryRow(ctx, `SELECT concat_ws(' ', (SELECT max(epoch) FROM strangler.move), (SELECT string_agg(stream || position, ' ' ORDER BY stream) FROM strangler.stream),
				(SELECT sum(rows) FROM strangler.chunk), (SELECT sum(rows) FROM strangler.part), (SELECT count(*) FROM strangler.aside))`).Scan(&far)
		}
		if err != nil {
			far = "away, or without a move"
		}
		all += fmt.Sprintf("%s: %s; ", side, far)
	}
	return all
}
