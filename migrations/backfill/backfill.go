// Package backfill copies what a table held before anyone followed it: in
// chunks, each an exact cut of the source and one transaction of the target, so
// that a copy that was interrupted anywhere goes on where it was.
//
// Start at [Run]. Tables are copied in the order of the plan, parents first.
package backfill

import (
	"context"
	"fmt"
	"time"

	"golang.org/x/time/rate"

	"stranglerfig/migrations/change"
	"stranglerfig/migrations/mapping"
)

// Options are what a copy is made of.
type Options struct {
	Plan           *mapping.Plan
	Source, Target change.Database
	// RowsPerSecond slows the copy down; 0 does not.
	RowsPerSecond float64
	Progress      func(change.Progress)
	Now           func() time.Time // default time.Now
}

// A chunk aims at chunkTime: long enough to amortise its transaction, short
// enough that writers of the target do not notice its lock.
const (
	chunkTime = 250 * time.Millisecond
	minChunk  = 500
	maxChunk  = 50_000
)

// Run copies every table of the plan that is not copied yet.
func Run(ctx context.Context, o Options) error {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Progress == nil {
		o.Progress = func(change.Progress) {}
	}
	limit := rate.NewLimiter(rate.Inf, 0)
	if o.RowsPerSecond > 0 {
		limit = rate.NewLimiter(rate.Limit(o.RowsPerSecond), maxChunk)
	}
	for i, t := range o.Plan.Tables {
		c := copying{Options: o, limit: limit, index: i, table: t, chunk: 4 * minChunk}
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
	index int
	table *mapping.Table
	chunk int
	meter Meter
}

func (c *copying) run(ctx context.Context) error {
	at, err := c.Target.Loaded(ctx, c.index)
	if err != nil {
		return fmt.Errorf("read how far %s is copied: %w", c.table.From, err)
	}
	total, err := c.Source.Count(ctx, c.index)
	if err != nil {
		return fmt.Errorf("count %s: %w", c.table.From, err)
	}
	c.meter = NewMeter(c.table.From, at.Rows, total, c.Now())
	for after, done := at.Last, at.Done; !done; {
		if err := ctx.Err(); err != nil {
			return err
		}
		start := c.Now()
		chunk, rows, err := c.copyChunk(ctx, after)
		if err != nil {
			return fmt.Errorf("copy %s after %s: %w", c.table.From, change.KeyString(after), err)
		}
		after, done = chunk.Last, chunk.Done
		c.adapt(c.Now().Sub(start))
		c.Progress(c.meter.Advance(rows, done, c.Now()))
		if err := c.limit.WaitN(ctx, min(int(rows), maxChunk)); err != nil {
			return err
		}
	}
	if at.Done {
		c.Progress(c.meter.Advance(0, true, c.Now()))
	}
	return nil
}

// copyChunk copies one chunk within the database engine where it can be, and
// row by row otherwise.
func (c *copying) copyChunk(ctx context.Context, after change.Key) (change.Chunk, int64, error) {
	if pusher, ok := c.Source.(change.Pusher); ok {
		chunk, rows, ok, err := pusher.PushChunk(ctx, c.Target, c.table, c.index, after, c.chunk)
		if ok || err != nil {
			return chunk, rows, err
		}
	}
	chunk, err := c.Source.ReadChunk(ctx, c.index, after, c.chunk)
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

// adapt moves the chunk's size towards chunkTime, at most doubling or halving.
func (c *copying) adapt(took time.Duration) {
	switch {
	case took < chunkTime/2:
		c.chunk = min(2*c.chunk, maxChunk)
	case took > 2*chunkTime:
		c.chunk = max(c.chunk/2, minChunk)
	}
}

// Meter turns rows done into progress with a rate and an ETA. The rate is an
// exponential average over about the last ten seconds.
type Meter struct {
	p    change.Progress
	last time.Time
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
	if elapsed > 0 {
		current := float64(rows) / elapsed.Seconds()
		weight := min(1, elapsed.Seconds()/rateWindow.Seconds()+0.1)
		if m.p.Rate == 0 {
			weight = 1
		}
		m.p.Rate += weight * (current - m.p.Rate)
	}
	m.p.Total = max(m.p.Total, m.p.Done)
	m.p.ETA = 0
	if left := m.p.Total - m.p.Done; left > 0 && m.p.Rate > 0 {
		m.p.ETA = time.Duration(float64(left) / m.p.Rate * float64(time.Second)).Round(time.Second)
	}
	return m.p
}
