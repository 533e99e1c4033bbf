package engine

import (
	"context"
	"errors"
	"fmt"
	"time"

	"stranglerfig/migrations/change"
	"stranglerfig/migrations/cutover"
	"stranglerfig/migrations/mapping"
	"stranglerfig/migrations/verify"
)

// provenRows is how many rows of each table a rehearsal proves the inverse on.
const provenRows = 200

// ErrUnverified is returned where too little is known to be equal to switch.
var ErrUnverified = errors.New("the sides have to be verified anew: run data verify")

// ErrDiverged is returned when the two sides were found to differ.
var ErrDiverged = errors.New("the two sides differ: run data verify to see where")

// proveInverse proves on real rows that rolling back would work: the first rows
// of each of the monolith's tables, provenRows at most, survive the way there
// and back unchanged, and the monolith accepts the result in a transaction that
// is rolled back.
func (m *move) proveInverse(ctx context.Context, owner change.Side) (int64, error) {
	var proven int64
	for i, t := range m.spec.Plan.Tables {
		rows, err := m.db(change.Monolith).Scan(ctx, i, nil, provenRows)
		if err != nil {
			return proven, fmt.Errorf("read rows of %s to prove the inverse: %w", t.From, err)
		}
		back := make([]change.Row, len(rows))
		for j, row := range rows {
			if back[j], err = thereAndBack(t, row); err != nil {
				return proven, fmt.Errorf("the mapping of %s is not inverted on real rows: %w", t.From, err)
			}
		}
		n, err := m.db(change.Monolith).Prove(ctx, i, back)
		switch {
		case errors.Is(err, change.ErrFenceTimeout):
			return proven, fmt.Errorf("prove the inverse on rows of %s: %w; try again when less is written", t.From, err)
		case err != nil:
			return proven, fmt.Errorf("the monolith would refuse rows of %s on the way back: %w", t.From, err)
		}
		proven += int64(n)
	}
	return proven, nil
}

// thereAndBack maps a row forward and back and says where it changed.
func thereAndBack(t *mapping.Table, row change.Row) (change.Row, error) {
	there, err := t.Forward(row)
	if err != nil {
		return nil, err
	}
	back, err := t.Inverse(there)
	if err != nil {
		return nil, err
	}
	for i, v := range back {
		if !v.Equal(row[i]) {
			return nil, fmt.Errorf("column %s: %v comes back as %v", t.SourceColumns()[i], row[i], v)
		}
	}
	return back, nil
}

// verifyTouched verifies the keys the owner has touched since the last clean
// verification and moves that verification on. More than limit of them, or a
// difference, is an error.
func (m *move) verifyTouched(ctx context.Context, owner change.Side, limit int) (int64, error) {
	m.mu.Lock()
	since := m.verified
	m.mu.Unlock()
	if since.Owner != owner {
		return 0, fmt.Errorf("%w: there is no verification of the %s's rows", ErrUnverified, owner)
	}
	// The head first: a key touched after it belongs to the next verification,
	// whether it is listed here or not.
	head, err := m.db(owner).Head(ctx)
	if err != nil {
		return 0, fmt.Errorf("read the %s's log: %w", owner, err)
	}
	touched, all, err := m.db(owner).Touched(ctx, since.At, limit)
	if err != nil {
		return 0, fmt.Errorf("list touched keys: %w", err)
	}
	if !all {
		return 0, fmt.Errorf("%w: more than %d keys were touched since the last verification, or the log does not reach back to it", ErrUnverified, limit)
	}
	report, err := verify.Keys(ctx, m.verifyOptions(owner), touched)
	if err != nil {
		return 0, fmt.Errorf("verify touched keys: %w", err)
	}
	if !report.Clean {
		first := report.Differences[0]
		return report.Rows, fmt.Errorf("%d of %d touched keys, the first of which is %s of %s (%s): %w",
			len(report.Differences)+int(report.Dropped), len(touched), first.Key, first.Table, first.Kind, ErrDiverged)
	}
	m.mu.Lock()
	m.verified.At = max(head, since.At)
	m.mu.Unlock()
	return int64(len(touched)), nil
}

// audit verifies touched keys in the background while the move rests, so that
// a divergence is known within seconds and the pause of a switch has little
// left to verify.
func (m *move) audit(ctx context.Context) {
	tick := time.NewTicker(m.e.o.Audit)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		if !m.work.TryLock() {
			continue
		}
		bounded, cancel := context.WithTimeout(ctx, warmUpWait)
		m.mu.Lock()
		m.stopAudit = cancel
		m.mu.Unlock()
		m.auditOnce(bounded)
		cancel()
		m.work.Unlock()
	}
}

func (m *move) auditOnce(ctx context.Context) {
	s := m.current()
	if s.Phase != cutover.Ready {
		return
	}
	_, err := m.verifyTouched(ctx, s.Owner, 40*touchedLimit)
	switch {
	case err == nil:
		m.trouble("")
		if err := m.rememberNew(ctx); err != nil {
			m.trouble(err.Error())
		}
	case ctx.Err() != nil:
	case errors.Is(err, ErrDiverged):
		m.trouble(err.Error())
		if next, _, stepErr := s.Step(cutover.Diverged, ""); stepErr == nil {
			m.set(next)
			if err := m.save(ctx, string(cutover.Diverged), err.Error(), nil); err != nil {
				m.trouble(err.Error())
			}
		}
	default:
		m.trouble("background verification: " + err.Error())
	}
}

// rememberNew records a verification that has got further than the last one
// recorded.
func (m *move) rememberNew(ctx context.Context) error {
	m.mu.Lock()
	same := m.kept.Owner == m.verified.Owner && m.kept.At == m.verified.At
	m.mu.Unlock()
	if same {
		return nil
	}
	return m.remember(ctx)
}
