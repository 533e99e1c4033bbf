// Package backfill copies what a table held before anyone followed it: in
// chunks, each an exact cut of the source and one transaction of the target, so
// that a copy that was interrupted anywhere goes on where it was.
//
// Start at [Run]. Tables are copied in the order of the plan, parents first.
package backfill

import (
	"context"
	"errors"
	"fmt"
	"math"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/time/rate"

	"stranglerfig/migrations/change"
	"stranglerfig/migrations/mapping"
)

// Options are what a copy is made of.
type Options struct {
	Plan           *mapping.Plan
	Source, Target change.Database
	// Workers is how many parts of a table are copied side by side where the
	// databases can do that; default 4.
	Workers int
	// RowsPerSecond slows the copy down; 0 does not.
	RowsPerSecond float64
	// MaxLag makes the copy wait while a standby of either database is further
	// behind; 0 does not.
	MaxLag time.Duration
	// Patience is how long a copy tries again without coming any further, when
	// a database goes away; default two minutes.
	Patience time.Duration
	Progress func(change.Progress)
	Now      func() time.Time // default time.Now
}

// A chunk aims at chunkTime: long enough to amortise its transaction, short
// enough that writers of the target do not notice its lock.
const (
	chunkTime = 250 * time.Millisecond
	minChunk  = 500
	maxChunk  = 50_000

	defaultWorkers = 4
)

// Run copies every table of the plan that is not copied yet. When a database
// goes away it goes on where it was once the database is back, under another cut.
func Run(ctx context.Context, o Options) error {
	if o.Workers == 0 {
		o.Workers = defaultWorkers
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Progress == nil {
		o.Progress = func(change.Progress) {}
	}
	if o.Patience == 0 {
		o.Patience = patience
	}
	progressed := o.Now() // when the copy last came any further
	come := map[string]int64{}
	show := o.Progress
	o.Progress = func(p change.Progress) {
		if p.Done > come[p.Table] || p.Waiting != "" {
			progressed = o.Now()
		}
		come[p.Table] = p.Done
		show(p)
	}
	for delay := retryDelay; ; delay = min(2*delay, maxRetry) {
		before := progressed
		err := run(ctx, o)
		if !o.away(err) || ctx.Err() != nil || o.Now().Sub(progressed) > o.Patience {
			return err
		}
		if progressed != before {
			delay = retryDelay
		}
		if !wait(ctx, delay) {
			return err
		}
	}
}

// How long the copy waits between two tries and two looks at a standby.
const (
	retryDelay = 100 * time.Millisecond
	maxRetry   = 5 * time.Second
	lagLook    = time.Second
	patience   = 2 * time.Minute
)

// away reports whether one of the databases was away.
func (o Options) away(err error) bool {
	for _, db := range []change.Database{o.Source, o.Target} {
		if f, ok := db.(change.Fickle); ok && err != nil && f.Away(err) {
			return true
		}
	}
	return false
}

// wait waits; false when ctx ended.
func wait(ctx context.Context, d time.Duration) bool {
	select {
	case <-time.After(d):
		return true
	case <-ctx.Done():
		return false
	}
}

// run copies as far as it comes.
func run(ctx context.Context, o Options) (err error) {
	defer func() { err = errors.Join(err, o.Source.EndCopy(context.WithoutCancel(ctx))) }()
	limit, most := rate.NewLimiter(rate.Inf, 0), maxChunk
	if o.RowsPerSecond > 0 {
		most = min(maxChunk, max(1, int(o.RowsPerSecond))) // a second's worth at a time
		limit = rate.NewLimiter(rate.Limit(o.RowsPerSecond), most)
	}
	for i, t := range o.Plan.Tables {
		c := copying{Options: o, limit: limit, most: most, index: i, table: t}
		if err := c.run(ctx); err != nil {
			return err
		}
	}
	return nil
}

// copying is one table's copy.
type copying struct {
	Options
	limit *rate.Limiter
	most  int // rows in a chunk
	index int
	table *mapping.Table

	mu    sync.Mutex // guards the meter, and calls of Progress one at a time
	meter Meter
}

func (c *copying) run(ctx context.Context) error {
	total, err := c.Source.Count(ctx, c.index)
	if err != nil {
		return fmt.Errorf("count %s: %w", c.table.From, err)
	}
	at, err := c.Target.Loaded(ctx, c.index)
	if err != nil {
		return fmt.Errorf("read how far %s is copied: %w", c.table.From, err)
	}
	c.meter = NewMeter(c.table.From, at.Rows, total, c.Now())
	if !at.Done {
		if err := c.copy(ctx, at); err != nil {
			return err
		}
	}
	c.advance(0, true)
	return nil
}

// copy copies the table in parts side by side where it can be, and in one piece
// otherwise.
func (c *copying) copy(ctx context.Context, at change.Loaded) error {
	if pusher, ok := c.Source.(change.PartPusher); ok {
		parts, ok, err := pusher.Parts(ctx, c.Target, c.index, c.Workers)
		if err != nil {
			return fmt.Errorf("cut %s into parts: %w", c.table.From, err)
		}
		if ok {
			return c.copyParts(ctx, pusher, parts)
		}
	}
	return c.chunks(ctx, at.Last, func(ctx context.Context, limit int) (int64, change.Key, bool, error) {
		chunk, rows, err := c.copyChunk(ctx, at.Last, limit)
		if err == nil {
			at.Last = chunk.Last
		}
		return rows, at.Last, chunk.Done, err
	})
}

// copyParts copies every part that is not done, and ends all of them when one
// fails.
func (c *copying) copyParts(ctx context.Context, pusher change.PartPusher, parts []change.Part) error {
	workers, ctx := errgroup.WithContext(ctx)
	workers.SetLimit(c.Workers)
	for _, p := range parts {
		if p.Done {
			continue
		}
		workers.Go(func() error {
			return c.chunks(ctx, p.Last, func(ctx context.Context, limit int) (rows int64, last change.Key, done bool, err error) {
				p, rows, err = pusher.PushPart(ctx, c.Target, c.table, p, limit)
				return rows, p.Last, p.Done, err
			})
		})
	}
	return workers.Wait()
}

// chunks copies chunk after chunk until done, each of a size that takes about
// chunkTime.
func (c *copying) chunks(ctx context.Context, after change.Key, next func(ctx context.Context, limit int) (rows int64, last change.Key, done bool, err error)) error {
	limit := min(4*minChunk, c.most)
	for done := false; !done; {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := c.spare(ctx); err != nil {
			return err
		}
		start := c.Now()
		rows, last, finished, err := next(ctx, limit)
		if err != nil {
			return fmt.Errorf("copy %s after %s: %w", c.table.From, change.KeyString(after), err)
		}
		after, done = last, finished
		limit = min(adapt(limit, c.Now().Sub(start)), c.most)
		c.advance(rows, false)
		if err := c.limit.WaitN(ctx, min(int(rows), c.most)); err != nil {
			return err
		}
	}
	return nil
}

// spare waits while a standby is too far behind.
func (c *copying) spare(ctx context.Context) error {
	for c.MaxLag > 0 {
		var lag time.Duration
		for _, db := range []change.Database{c.Source, c.Target} {
			if l, ok := db.(change.Lagging); ok {
				behind, err := l.Lag(ctx)
				if err != nil {
					return fmt.Errorf("ask how far standbys are behind: %w", err)
				}
				lag = max(lag, behind)
			}
		}
		if lag <= c.MaxLag {
			return nil
		}
		c.waiting(fmt.Sprintf("a standby is %s behind", lag.Round(time.Second)))
		if !wait(ctx, lagLook) {
			return ctx.Err()
		}
	}
	return nil
}

func (c *copying) waiting(why string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	p := c.meter.p
	p.Waiting = why
	c.Progress(p)
}

func (c *copying) advance(rows int64, finished bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.Progress(c.meter.Advance(rows, finished, c.Now()))
}

// copyChunk copies one chunk within the database engine where it can be, and
// row by row otherwise.
func (c *copying) copyChunk(ctx context.Context, after change.Key, limit int) (change.Chunk, int64, error) {
	if pusher, ok := c.Source.(change.Pusher); ok {
		chunk, rows, ok, err := pusher.PushChunk(ctx, c.Target, c.table, c.index, after, limit)
		if ok || err != nil {
			return chunk, rows, err
		}
	}
	chunk, err := c.Source.ReadChunk(ctx, c.index, after, limit)
	if err != nil {
		return chunk, 0, err
	}
	mapped := chunk
	mapped.Rows = make([]change.Row, len(chunk.Rows))
	for i, row := range chunk.Rows {
		if mapped.Rows[i], err = c.table.Forward(row); err != nil {
			return chunk, 0, err
		}
	}
	return chunk, int64(len(chunk.Rows)), c.Target.LoadChunk(ctx, mapped)
}

// adapt moves a chunk's size towards chunkTime, at most doubling or halving.
func adapt(limit int, took time.Duration) int {
	switch {
	case took < chunkTime/2:
		return min(2*limit, maxChunk)
	case took > 2*chunkTime:
		return max(limit/2, minChunk)
	}
	return limit
}

// Meter turns rows done into progress with a rate and an ETA. The rate is that of
// about the last ten seconds: rows and time both fade, so that reports which come
// in bunches, as those of parallel workers do, count no more than others.
type Meter struct {
	p             change.Progress
	last          time.Time
	rows, seconds float64 // of the recent past
}

// NewMeter begins a meter at rows already done.
func NewMeter(table string, done, total int64, now time.Time) Meter {
	return Meter{p: change.Progress{Table: table, Done: done, Total: max(total, done)}, last: now}
}

const rateWindow = 10 * time.Second

// Advance adds rows and returns the progress.
func (m *Meter) Advance(rows int64, finished bool, now time.Time) change.Progress {
	elapsed := now.Sub(m.last)
	m.last = now
	m.p.Done += rows
	m.p.Finished = finished
	left := math.Exp(-elapsed.Seconds() / rateWindow.Seconds())
	m.rows, m.seconds = m.rows*left+float64(rows), m.seconds*left+elapsed.Seconds()
	if m.seconds > 0 {
		m.p.Rate = m.rows / m.seconds
	}
	m.p.Total = max(m.p.Total, m.p.Done)
	m.p.ETA = 0
	if left := m.p.Total - m.p.Done; left > 0 && m.p.Rate > 0 {
		m.p.ETA = time.Duration(float64(left) / m.p.Rate * float64(time.Second)).Round(time.Second)
	}
	return m.p
}
