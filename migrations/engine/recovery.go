package engine

import (
	"context"
	"errors"
	"fmt"

	"stranglerfig/migrations/change"
	"stranglerfig/migrations/cutover"
)

// resume puts a move back to work at the start of an engine: it finishes or
// undoes what was under way, and follows again. Faults are retried until the
// engine ends; between the tries a person may step in. Meanwhile writes stay
// held as long as nobody can name an owner.
func (m *move) resume(ctx context.Context) {
	for delay := retryDelay; ; delay = min(2*delay, maxRetry) {
		m.op.Lock()
		err := m.operate(ctx, context.Background(), func(ctx context.Context, m *move) error { return m.resumeOnce(ctx) })
		m.op.Unlock()
		if err == nil || ctx.Err() != nil {
			m.trouble("")
			return
		}
		m.trouble(err.Error())
		m.e.o.Log.Warn("move cannot be resumed yet", "capability", m.spec.Capability, "error", err)
		if errors.Is(err, errNeedsPerson) {
			return
		}
		wait(ctx, delay, nil)
	}
}

// errNeedsPerson marks a command that was under way and failed again: trying
// once more is for a person to decide, or to cancel.
var errNeedsPerson = errors.New("run it again, or cancel")

func (m *move) resumeOnce(ctx context.Context) error {
	if !installed(m.current().Phase) {
		if err := m.adoptPrepared(ctx); err != nil {
			return err
		}
	}
	s := m.current()
	if !s.Phase.Switching() {
		// No switch was under way, so the ledger's owner is the owner even
		// while a database is away.
		if err := m.e.o.Routes.Flip(m.spec.Capability, s.Owner, s.Epoch); err != nil {
			return err
		}
	}
	if !installed(s.Phase) {
		return nil
	}
	if err := m.wake(ctx); err != nil {
		return err
	}
	if s.Phase.Switching() {
		_, err := m.runSwitch(ctx, cutover.Crashed, "the engine stopped during the switch")
		if errors.Is(err, ErrSwitchAborted) {
			return nil // it was undone, which settles it
		}
		return err
	}
	if again, ok := repeats[s.Phase]; ok {
		if err := m.command(ctx, again, nil); err != nil {
			return fmt.Errorf("%w: %w", err, errNeedsPerson)
		}
		return nil
	}
	if s.Phase.Following() {
		return m.checkOwner(ctx)
	}
	return nil
}

// wake connects to both databases and follows them where the phase wants that.
// It does nothing where both is so; where an engine started while a database was
// away it may not be yet.
func (m *move) wake(ctx context.Context) error {
	if err := m.connect(ctx); err != nil {
		return err
	}
	if m.current().Phase.Following() {
		return m.follow(ctx, false)
	}
	return nil
}

// adoptPrepared asks databases of which the ledger knows nothing whether a move
// has left something in them: then the ledger was lost, and learns. What cannot
// be asked is taken to know nothing, because it usually does not exist yet;
// should that be wrong, its fence refuses writers all the same.
func (m *move) adoptPrepared(ctx context.Context) error {
	if m.connect(ctx) != nil {
		return nil
	}
	monolith, errM := m.db(change.Monolith).Owner(ctx)
	service, errS := m.db(change.Service).Owner(ctx)
	if errM != nil || errS != nil {
		return m.disconnect()
	}
	s := cutover.New()
	s.Phase, s.Owner, s.Epoch = cutover.CatchingUp, change.Monolith, monolith.Epoch
	if service.Epoch > monolith.Epoch {
		s.Owner, s.Epoch = change.Service, service.Epoch
	}
	for i := range m.spec.Plan.Tables {
		l, err := m.db(change.Service).Loaded(ctx, i)
		if err != nil {
			return err
		}
		if !l.Done && s.Owner == change.Monolith {
			s.Phase = cutover.Prepared
		}
	}
	m.set(s)
	return m.save(ctx, "move-adopted", fmt.Sprintf("the databases hold a move that the ledger does not know: the %s owns at epoch %d", s.Owner, s.Epoch), nil)
}

// repeats names, for a phase that is under way, the command that performs its
// actions again. All of them are safe to repeat.
var repeats = map[cutover.Phase]cutover.Event{
	cutover.Preparing:  cutover.Prepare,
	cutover.Copying:    cutover.Copy,
	cutover.Cancelling: cutover.Cancel,
	cutover.Completing: cutover.Finish,
}

// checkOwner compares the ledger with the databases. The higher epoch owns:
// where the ledger knows less, it was lost or restored, and learns.
func (m *move) checkOwner(ctx context.Context) error {
	owner, epoch := change.Side(""), uint64(0)
	for side, db := range map[change.Side]change.Database{change.Monolith: m.db(change.Monolith), change.Service: m.db(change.Service)} {
		o, err := db.Owner(ctx)
		if err != nil {
			return fmt.Errorf("ask the %s's database who owns: %w", side, err)
		}
		if o.Epoch > epoch {
			owner, epoch = side, o.Epoch
		}
	}
	s := m.current()
	if owner == s.Owner && epoch == s.Epoch {
		return nil
	}
	s.Owner, s.Epoch = owner, epoch
	m.set(s)
	if err := m.e.o.Routes.Flip(m.spec.Capability, owner, epoch); err != nil {
		return err
	}
	return m.save(ctx, "owner-adopted", fmt.Sprintf("the databases say that the %s owns at epoch %d", owner, epoch), nil)
}
