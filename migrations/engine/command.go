package engine

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"stranglerfig/migrations/backfill"
	"stranglerfig/migrations/change"
	"stranglerfig/migrations/cutover"
)

// Watch is told how a long operation comes along; nil is allowed.
type Watch func(change.Progress)

// PreflightError lists what forbids a move.
type PreflightError struct {
	Problems map[change.Side][]change.Problem
}

func (p *PreflightError) Error() string {
	var lines []string
	for _, side := range sides {
		for _, problem := range p.Problems[side] {
			if problem.Fatal {
				lines = append(lines, fmt.Sprintf("%s's database: %s", side, problem))
			}
		}
	}
	return "preflight refuses the move: " + strings.Join(lines, "; ")
}

// Plan is what preparing a move would do, and what is in its way.
type Plan struct {
	Problems   map[change.Side][]change.Problem `json:"problems"`
	Statements map[change.Side][]string         `json:"statements"`
	// Disk is how much room the copy takes, where that can be estimated.
	Disk map[change.Side]change.Footprint `json:"disk,omitempty"`
}

// Preflight looks at both databases without changing anything. It returns
// every problem, and the statements that Prepare would run.
func (e *Engine) Preflight(ctx context.Context, capability string) (Plan, error) {
	var plan Plan
	err := e.exclusively(ctx, capability, func(_ context.Context, m *move) error {
		if err := m.reconnect(ctx); err != nil {
			return err
		}
		var err error
		if plan, err = m.look(ctx); err != nil {
			return err
		}
		plan.Statements = map[change.Side][]string{}
		for side, role := range roles {
			if plan.Statements[side], err = m.db(side).PrepareStatements(ctx, role); err != nil {
				return fmt.Errorf("plan the %s's database: %w", side, err)
			}
		}
		return nil
	})
	return plan, err
}

// roles at the start of every move.
var roles = map[change.Side]change.Role{change.Monolith: change.Leading, change.Service: change.Following}

// Prepare instruments both databases: capture and an open fence on the
// monolith's, capture and a closed fence on the service's. It refuses with a
// *PreflightError and changes nothing where preflight finds a fatal problem.
func (e *Engine) Prepare(asked context.Context, capability string) error {
	return e.exclusively(asked, capability, func(ctx context.Context, m *move) error {
		return m.command(ctx, cutover.Prepare, nil)
	})
}

// Copy copies what is missing and then follows both sides from there on. A
// copy that was interrupted goes on where it was.
func (e *Engine) Copy(asked context.Context, capability string, watch Watch) error {
	return e.exclusively(asked, capability, func(ctx context.Context, m *move) error {
		return m.command(ctx, cutover.Copy, watch)
	})
}

// Cancel undoes a move that has not moved: it stops both streams, removes
// everything that was installed and empties the service's tables.
//
// A copy or a verification that runs is interrupted for it.
func (e *Engine) Cancel(asked context.Context, capability string) error {
	m, err := e.move(capability)
	if err != nil {
		return err
	}
	leave, err := e.enter()
	if err != nil {
		return err
	}
	defer leave()
	if _, _, err := m.current().Step(cutover.Cancel, ""); err != nil {
		return err
	}
	if err := m.takeOver(); err != nil {
		return err
	}
	defer m.op.Unlock()
	return m.operate(e.ctx, asked, func(ctx context.Context, m *move) error {
		return m.command(ctx, cutover.Cancel, nil)
	})
}

// ErrUnconfirmed is returned by Complete without its typed confirmation.
var ErrUnconfirmed = errors.New("completing is one-way and was not confirmed")

// Complete ends a moved move for good: it stops the streams, renames the
// monolith's tables out of the way and removes what was installed. There is no
// rollback after it, so confirm must spell the capability's name.
func (e *Engine) Complete(asked context.Context, capability, confirm string) error {
	if confirm != capability {
		return fmt.Errorf("%s: %w: confirm by typing the capability's name", capability, ErrUnconfirmed)
	}
	return e.exclusively(asked, capability, func(ctx context.Context, m *move) error {
		return m.command(ctx, cutover.Finish, nil)
	})
}

// command steps the machine by a person's word, performs the actions, and
// records the intent before and the outcome after.
func (m *move) command(ctx context.Context, e cutover.Event, watch Watch) error {
	next, do, err := m.current().Step(e, "")
	if err != nil {
		return err
	}
	if err := m.reconnect(ctx); err != nil {
		return err
	}
	if e == cutover.Prepare {
		if err := m.preflight(ctx); err != nil {
			return err
		}
	}
	m.set(next)
	if err := m.save(ctx, string(e), fmt.Sprintf("%s begins", e), nil); err != nil {
		return err
	}
	pass := func(point string) { m.e.o.At(string(e) + "." + point) }
	pass("begun")
	for {
		for _, a := range do {
			if err := m.performAtRest(ctx, a, watch, pass); err != nil {
				return fmt.Errorf("%s %s: %w", e, m.spec.Capability, err)
			}
			pass("after-" + slugs[a])
		}
		if next, do, err = m.current().Step(cutover.Done, ""); err != nil {
			pass("settled")
			return nil // at rest
		}
		m.set(next)
		if err := m.save(ctx, string(e), fmt.Sprintf("%s: now %s", e, next.Settled()), nil); err != nil {
			return err
		}
	}
}

// performAtRest performs an action outside a switch, and tells pass of the named
// points within it.
func (m *move) performAtRest(ctx context.Context, a cutover.Action, watch Watch, pass func(point string)) error {
	switch a {
	case cutover.PrepareBoth:
		// The follower first: its fence must be closed before anything else.
		if err := m.db(change.Service).Prepare(ctx, change.Following); err != nil {
			return fmt.Errorf("prepare the service's database: %w", err)
		}
		pass("after-service")
		if err := m.db(change.Monolith).Prepare(ctx, change.Leading); err != nil {
			return fmt.Errorf("prepare the monolith's database: %w", err)
		}
		pass("after-monolith")
		return m.raiseEpoch(ctx)
	case cutover.Recut:
		return m.recut(ctx)
	case cutover.Backfill:
		return m.backfill(ctx, watch, pass)
	case cutover.Follow:
		return m.follow(ctx, true)
	case cutover.StopStreams:
		m.quiet()
	case cutover.Retire:
		return m.db(change.Monolith).Retire(ctx, fmt.Sprintf("strangled_%d", m.current().Epoch))
	case cutover.Dismantle:
		return m.dismantle(ctx, pass)
	default:
		return fmt.Errorf("%q is not an action at rest", a)
	}
	return nil
}

// dismantle removes what was installed; the tables of a side that does not own
// are emptied when the move is cancelled.
func (m *move) dismantle(ctx context.Context, pass func(point string)) error {
	cancelled := m.current().Phase == cutover.Cancelling
	if cancelled {
		if err := m.mayBeEmptied(ctx); err != nil {
			return err
		}
	}
	if err := m.db(change.Service).Unprepare(ctx, cancelled); err != nil {
		return fmt.Errorf("dismantle the service's database: %w", err)
	}
	pass("after-service")
	if err := m.db(change.Monolith).Unprepare(ctx, false); err != nil {
		return fmt.Errorf("dismantle the monolith's database: %w", err)
	}
	pass("after-monolith")
	m.mu.Lock()
	m.verified, m.broken, m.missed, m.partial = verification{}, nil, false, nil
	m.retained = map[change.Side]int64{}
	m.tables = map[string]change.Progress{}
	m.mu.Unlock()
	return nil
}

// backfill copies what is missing. What the target can do without meanwhile is
// set aside, and built again at once where that is possible: where parts of the
// copy were cut at different times it may not be yet.
func (m *move) backfill(ctx context.Context, watch Watch, pass func(point string)) error {
	target := m.db(change.Service)
	if loader, ok := target.(change.Loader); ok {
		if err := loader.BeginLoad(ctx); err != nil {
			return err
		}
	}
	progress, limits := m.progress(watch), m.limits()
	err := backfill.Run(ctx, backfill.Options{
		Plan: m.spec.Plan, Source: m.db(change.Monolith), Target: target,
		Workers: limits.Workers, RowsPerSecond: limits.RowsPerSecond, MaxLag: limits.MaxLag,
		Progress: func(p change.Progress) { progress(p); pass("after-chunk") },
	})
	if err != nil {
		return err
	}
	if err := finishLoad(ctx, target); !errors.Is(err, change.ErrUnfinished) {
		return err
	}
	return nil
}

func (m *move) limits() CopyLimits {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.spec.Copy
}

func finishLoad(ctx context.Context, db change.Database) error {
	if loader, ok := db.(change.Loader); ok {
		return loader.FinishLoad(ctx)
	}
	return nil
}

// progress keeps the latest progress for status and passes it on.
func (m *move) progress(watch Watch) func(change.Progress) {
	return func(p change.Progress) {
		m.mu.Lock()
		m.tables[p.Table] = p
		m.mu.Unlock()
		if watch != nil {
			watch(p)
		}
	}
}

// raiseEpoch brings a monolith that was prepared anew to the epoch that an
// earlier life of the move had reached: epochs never fall, or routes would
// refuse to follow.
func (m *move) raiseEpoch(ctx context.Context) error {
	db, epoch := m.db(change.Monolith), m.current().Epoch
	o, err := db.Owner(ctx)
	if err != nil || o.Epoch >= epoch {
		return err
	}
	attempt, err := db.BumpAttempt(ctx)
	if err != nil {
		return fmt.Errorf("raise the monolith's epoch: %w", err)
	}
	sequences, err := db.Sequences(ctx)
	if err != nil {
		return fmt.Errorf("raise the monolith's epoch: %w", err)
	}
	return db.Claim(ctx, change.Claim{Epoch: epoch, Attempt: attempt, Sequences: sequences})
}

// mayBeEmptied makes sure, by the databases' word, that the service's tables
// are not the ones that count.
func (m *move) mayBeEmptied(ctx context.Context) error {
	service, err := m.db(change.Service).Owner(ctx)
	if errors.Is(err, change.ErrNotPrepared) {
		return nil // it has been done before
	}
	if err != nil {
		return fmt.Errorf("ask the service's database who owns: %w", err)
	}
	monolith, err := m.db(change.Monolith).Owner(ctx)
	if err != nil && !errors.Is(err, change.ErrNotPrepared) {
		return fmt.Errorf("ask the monolith's database who owns: %w", err)
	}
	if !service.Fenced || service.Epoch > monolith.Epoch {
		return fmt.Errorf("the service's database says that it owns at epoch %d, so its tables are not emptied", service.Epoch)
	}
	return nil
}
