package engine

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"stranglerfig/migrations/change"
	"stranglerfig/migrations/cutover"
)

// A pause stops a move whose log cannot be followed any further: something
// happened that cannot be followed row by row, changes were lost with a
// replication slot, or the log that is kept for the move has grown past its
// budget. Routes and owner stay as they are, and so do the fences; only what the
// move itself does stops, until a person resumes or cancels it.

const (
	// DefaultLogBudget bounds the log that a move keeps on either database, in
	// bytes.
	DefaultLogBudget = 10 << 30
	// guardEvery is how often the kept logs are looked at.
	guardEvery = 5 * time.Second
)

// Resume puts a paused move back to work: logs that broke begin anew, what is
// not copied yet is copied, and both sides are followed again. What was missed
// meanwhile is found, and mended if so asked, by the verification that has to
// come before the next switch.
func (e *Engine) Resume(asked context.Context, capability string, watch Watch) error {
	return e.exclusively(asked, capability, func(ctx context.Context, m *move) error {
		return m.command(ctx, cutover.Resume, watch)
	})
}

// pauseFor pauses the move because a stream cannot go on. It does so beside the
// stream's own end, which the pause waits for.
func (m *move) pauseFor(s *stream, why error) {
	m.beside(func(ctx context.Context) error {
		if m.stream(s.side) != s {
			return nil // it is no longer this stream's move
		}
		return m.pause(ctx, s.side, why.Error())
	})
}

// beside runs an operation of the move's own that nobody waits for but Close.
// Operations under way end first; those that need the stream do so at once.
func (m *move) beside(run func(ctx context.Context) error) {
	leave, err := m.e.enter()
	if err != nil {
		return // the next engine meets the same trouble
	}
	go func() {
		defer leave()
		m.op.Lock()
		defer m.op.Unlock()
		m.settling.Store(true)
		defer m.settling.Store(false)
		if m.e.ctx.Err() != nil {
			return
		}
		err := m.operate(m.e.ctx, context.Background(), func(ctx context.Context, m *move) error { return run(ctx) })
		if err != nil {
			m.trouble(err.Error())
			m.e.o.Log.Warn("move cannot be paused", "capability", m.spec.Capability, "error", err)
		}
	}()
}

// pause stops the move; the log of the side begins anew when it resumes.
func (m *move) pause(ctx context.Context, side change.Side, why string) error {
	next, do, err := m.current().Step(cutover.Pause, why)
	if err != nil {
		return err
	}
	for _, a := range do {
		if err := m.performAtRest(ctx, a, nil, func(string) {}); err != nil {
			return err
		}
	}
	m.mu.Lock()
	m.state = next
	if !slices.Contains(m.broken, side) {
		m.broken = append(slices.Clone(m.broken), side)
	}
	m.missed = true
	m.mu.Unlock()
	m.e.o.Log.Warn("move paused", "capability", m.spec.Capability, "side", side, "why", why)
	return m.save(ctx, string(cutover.Pause), why, nil)
}

// recut begins the logs that broke anew, and moves the streams that read them
// there. Until the ledger knows, it would be done again, which only costs time.
func (m *move) recut(ctx context.Context) error {
	m.mu.Lock()
	broken := m.broken
	m.mu.Unlock()
	if len(broken) == 0 {
		return nil
	}
	for _, side := range broken {
		at, err := m.db(side).Recut(ctx)
		if err != nil {
			return fmt.Errorf("begin the log of the %s's database anew: %w", side, err)
		}
		if err := m.db(side.Other()).Restart(ctx, streamIDs[side], at); err != nil {
			return fmt.Errorf("restart the stream %s: %w", streamIDs[side], err)
		}
	}
	m.mu.Lock()
	m.broken = nil
	// A log that began anew does not know what an earlier verification left.
	m.verified, m.partial = verification{}, nil
	m.mu.Unlock()
	return m.save(ctx, "recut", fmt.Sprintf("the log of %v begins anew: a verification has to find what was missed", broken), nil)
}

// guard keeps watch over the log that the move keeps on either side, and over
// what happens past it, for as long as the engine lives.
func (m *move) guard(ctx context.Context) {
	for wait(ctx, m.e.o.Guard, nil) {
		for side, db := range m.opened() {
			m.attend(ctx, side, db)
			retained, err := db.Retained(ctx)
			if err != nil {
				continue // a database that is away is the streams' to report
			}
			m.mu.Lock()
			m.retained[side] = retained
			budget := m.spec.LogBudget
			m.mu.Unlock()
			if retained > budget {
				m.overBudget(ctx, side, retained, budget)
			}
		}
	}
}

// attend pauses the move where rows came or went past the log of a side that is
// followed.
func (m *move) attend(ctx context.Context, side change.Side, db change.Database) {
	p, ok := db.(change.Partitioned)
	s := m.stream(side)
	if !ok || s == nil {
		return
	}
	if err := p.Attend(ctx); errors.Is(err, change.ErrCannotFollow) {
		m.pauseFor(s, err)
	} // another error is of a database that is away, or busy: the next look is soon
}

// opened returns the databases while something of the move is installed.
func (m *move) opened() map[change.Side]change.Database {
	m.mu.Lock()
	defer m.mu.Unlock()
	open := map[change.Side]change.Database{}
	if !installed(m.state.Phase) {
		return open
	}
	for side, db := range m.dbs {
		open[side] = db
	}
	return open
}

// overBudget pauses the move and lets go of its log: the application's database
// comes before the move. A switch is let through first, since it is over in a
// moment; whatever else runs is interrupted.
func (m *move) overBudget(ctx context.Context, side change.Side, retained, budget int64) {
	err := m.takeOver()
	if err != nil {
		return // at the next look
	}
	defer m.op.Unlock()
	m.settling.Store(true)
	defer m.settling.Store(false)
	err = m.operate(ctx, context.Background(), func(ctx context.Context, m *move) error {
		s := m.current()
		if s.Phase == cutover.Paused && slices.Contains(m.brokenSides(), side) {
			return m.db(side).Release(ctx) // a release that failed before
		}
		why := fmt.Sprintf("the %s's database kept %s of log for the move, more than its budget of %s, and has let it go",
			side, Size(retained), Size(budget))
		if err := m.pause(ctx, side, why); err != nil {
			var refused *cutover.Refused
			if errors.As(err, &refused) {
				return nil // a phase without a log worth keeping, or about to end
			}
			return err
		}
		return m.db(side).Release(ctx)
	})
	if err != nil && ctx.Err() == nil {
		m.trouble(err.Error())
	}
}

func (m *move) brokenSides() []change.Side {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.broken
}

// Size writes a number of bytes for people.
func Size(n int64) string {
	const unit = 1 << 10
	if n < unit {
		return fmt.Sprintf("%d B", n)
	}
	value, prefix := float64(n), 0
	for value >= unit && prefix < 4 {
		value /= unit
		prefix++
	}
	return fmt.Sprintf("%.1f %ciB", value, " KMGT"[prefix])
}
