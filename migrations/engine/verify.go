package engine

import (
	"context"
	"errors"
	"fmt"

	"stranglerfig/migrations/change"
	"stranglerfig/migrations/cutover"
	"stranglerfig/migrations/verify"
)

// Verify compares every row of both sides and makes the move ready if they are
// equal. With repair, stable differences are mended on the follower and the
// keys verified again. One that was interrupted goes on where it was, unless it
// is to begin anew.
func (e *Engine) Verify(asked context.Context, capability string, q VerifyRequest, watch Watch) (verify.Report, error) {
	var report verify.Report
	err := e.exclusively(asked, capability, func(ctx context.Context, m *move) (err error) {
		// Nobody is served by a verification that nobody waits for.
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		defer context.AfterFunc(asked, cancel)()
		report, err = m.verify(ctx, q, watch)
		return err
	})
	return report, err
}

// VerifyRequest says how to verify.
type VerifyRequest struct {
	Repair bool // mend stable differences on the follower
	Anew   bool // do not go on where an earlier one was interrupted
	// Listed is called with every difference; nil is allowed.
	Listed func(verify.Difference)
}

func (m *move) verify(ctx context.Context, q VerifyRequest, watch Watch) (verify.Report, error) {
	s := m.current()
	if !s.Phase.Following() || s.Phase.Switching() {
		_, _, err := s.Step(cutover.Verified, "")
		return verify.Report{}, err
	}
	if err := m.wake(ctx); err != nil {
		return verify.Report{}, err
	}
	err := m.finishLoad(ctx, s.Owner)
	if err != nil {
		return verify.Report{}, err
	}
	m.e.o.At("verify.begun")
	o := m.verifyOptions(s.Owner)
	o.Repair, o.Progress, o.Each = q.Repair, watch, q.Listed
	if o.From, err = m.interrupted(q.Anew); err != nil {
		return verify.Report{}, err
	}
	o.Reached = m.reached(ctx)
	report, err := verify.Run(ctx, o)
	if err != nil {
		return report, errors.Join(fmt.Errorf("verify %s: %w", m.spec.Capability, err), m.remember(context.WithoutCancel(ctx)))
	}
	m.mu.Lock()
	m.partial = nil
	m.mu.Unlock()
	event := cutover.Diverged
	if report.Clean {
		event = cutover.Verified
		m.confirm(s.Owner, report)
	}
	next, _, err := s.Step(event, "")
	if err != nil {
		return report, err
	}
	m.set(next)
	err = m.save(ctx, string(event), fmt.Sprintf("%d rows compared, %d differ", report.Rows, len(report.Differences)+int(report.Dropped)), nil)
	if err == nil {
		m.e.o.At("verify.settled")
	}
	return report, err
}

// finishLoad builds what the copy has left to be built, once the follower has
// caught up. No move is ready before that.
func (m *move) finishLoad(ctx context.Context, owner change.Side) error {
	service := m.db(change.Service)
	if err := finishLoad(ctx, service); !errors.Is(err, change.ErrUnfinished) {
		return err
	}
	head, err := m.db(owner).Head(ctx)
	if err != nil {
		return err
	}
	if err := m.stream(owner).settle(ctx, head); err != nil {
		return err
	}
	if err := finishLoad(ctx, service); err != nil {
		return fmt.Errorf("the rows do not fulfil what a table of the service demands: correct them where they are owned, or the table: %w", err)
	}
	return nil
}

// confirm remembers a clean verification up to the report's position.
func (m *move) confirm(owner change.Side, report verify.Report) {
	m.mu.Lock()
	defer m.mu.Unlock()
	at := report.OwnerAt
	if m.verified.Owner == owner {
		at = max(at, m.verified.At) // the audits of touched keys are further on
	}
	m.verified = verification{Owner: owner, At: at, Time: m.e.o.Now(), Rows: report.Rows}
	m.missed = false
}

func (m *move) verifyOptions(owner change.Side) verify.Options {
	return verify.Options{
		Plan: m.spec.Plan, Owner: m.db(owner), Follower: m.db(owner.Other()), OwnerSide: owner,
		Settle: m.stream(owner).settle,
	}
}
