// Package pair works on an isolated pair: a second monolith and a second
// service, of the builds in question, whose databases serve nobody. [Pair.Fill]
// gives the service the monolith's rows; [Pair.Mark] and [Pair.Effects] tell in
// what the rows differ that each side writes when both are asked the same.
//
// It never works on the databases of a move: what it installs, it removes.
package pair

import (
	"context"
	"errors"
	"fmt"
	"math"

	"stranglerfig/migrations/backfill"
	"stranglerfig/migrations/change"
	"stranglerfig/migrations/engine"
	"stranglerfig/migrations/mapping"
)

// Pair is both databases, opened.
type Pair struct {
	plan *mapping.Plan
	dbs  map[change.Side]change.Database
	ids  *ids
	from map[change.Side]change.Position
	rows map[string]int64 // compared, by the service's tables
}

// sides in the order in which they are worked on.
var sides = []change.Side{change.Monolith, change.Service}

// Open opens the databases of a pair by their DSNs. The pair must not be part of
// a move: databases that are prepared for one are refused.
func Open(ctx context.Context, plan *mapping.Plan, monolith, service string) (*Pair, error) {
	p := &Pair{plan: plan, dbs: map[change.Side]change.Database{}, from: map[change.Side]change.Position{}, ids: newIDs(plan), rows: map[string]int64{}}
	for side, dsn := range map[change.Side]string{change.Monolith: monolith, change.Service: service} {
		db, err := engine.OpenDatabase(ctx, dsn, plan.Capability, side, engine.Tables(plan, side))
		if err != nil {
			return nil, errors.Join(fmt.Errorf("open the pair's %s: %w", side, err), p.Close())
		}
		p.dbs[side] = db
		_, err = db.Owner(ctx)
		if !errors.Is(err, change.ErrNotPrepared) {
			if err == nil {
				err = errors.New("the database belongs to a move: a pair needs databases of its own")
			}
			return nil, errors.Join(fmt.Errorf("open the pair's %s: %w", side, err), p.Close())
		}
	}
	return p, nil
}

// Close lets go of both databases.
func (p *Pair) Close() error {
	var errs []error
	for _, db := range p.dbs {
		errs = append(errs, db.Close())
	}
	return errors.Join(errs...)
}

// Empty removes the rows of the service's tables, so that it can be filled anew.
// Its key generators go on where they were until then.
func (p *Pair) Empty(ctx context.Context) error {
	if err := p.dbs[change.Service].Unprepare(ctx, true); err != nil {
		return fmt.Errorf("empty the pair's service: %w", err)
	}
	p.ids = newIDs(p.plan)
	return nil
}

// Fill copies the monolith's rows through the mapping into the service's empty
// tables, once, and leaves nothing installed. The service's key generators go on
// after the monolith's. Nobody may write to either side meanwhile.
func (p *Pair) Fill(ctx context.Context, progress func(change.Progress)) (err error) {
	from, to := p.dbs[change.Monolith], p.dbs[change.Service]
	defer func() { err = errors.Join(err, p.unprepare(ctx)) }()
	for side, role := range map[change.Side]change.Role{change.Monolith: change.Leading, change.Service: change.Following} {
		problems, err := p.dbs[side].Preflight(ctx, role)
		if err != nil {
			return fmt.Errorf("fill the pair: %w", err)
		}
		for _, problem := range problems {
			if problem.Fatal {
				return fmt.Errorf("fill the pair: the %s: %s (%s)", side, problem, problem.Hint)
			}
		}
	}
	if err := to.Prepare(ctx, change.Following); err != nil {
		return fmt.Errorf("fill the pair: %w", err)
	}
	if err := from.Prepare(ctx, change.Leading); err != nil {
		return fmt.Errorf("fill the pair: %w", err)
	}
	if err := backfill.Run(ctx, backfill.Options{Plan: p.plan, Source: from, Target: to, Progress: progress}); err != nil {
		return fmt.Errorf("fill the pair: %w", err)
	}
	sequences, err := from.Sequences(ctx)
	if err != nil {
		return fmt.Errorf("fill the pair: %w", err)
	}
	attempt, err := to.BumpAttempt(ctx)
	if err != nil {
		return fmt.Errorf("fill the pair: %w", err)
	}
	// The claim sets the generators past every key and lifts the fence.
	if err := to.Claim(ctx, change.Claim{Epoch: 2, Attempt: attempt, Sequences: sequences}); err != nil {
		return fmt.Errorf("fill the pair: %w", err)
	}
	return nil
}

// Watch has both databases note which rows are written, until Unwatch.
func (p *Pair) Watch(ctx context.Context) error {
	for _, side := range sides {
		if err := p.dbs[side].Prepare(ctx, change.Leading); err != nil {
			return errors.Join(fmt.Errorf("watch the pair's %s: %w", side, err), p.unprepare(ctx))
		}
	}
	return nil
}

// Unwatch removes what Watch has installed.
func (p *Pair) Unwatch(ctx context.Context) error { return p.unprepare(ctx) }

// unprepare happens whatever happened before: the next run must find nothing.
func (p *Pair) unprepare(ctx context.Context) error {
	var errs []error
	for _, side := range sides {
		errs = append(errs, p.dbs[side].Unprepare(context.WithoutCancel(ctx), false))
	}
	return errors.Join(errs...)
}

// Mark begins to look at what a side writes from now on.
func (p *Pair) Mark(ctx context.Context, side change.Side) error {
	at, err := p.dbs[side].Head(ctx)
	if err != nil {
		return fmt.Errorf("look at what the %s writes: %w", side, err)
	}
	p.from[side] = at
	return nil
}

// read returns the rows that a side has written since its mark, each as it is
// now, in the service's schema.
func (p *Pair) read(ctx context.Context, side change.Side) ([]written, error) {
	changes, _, err := changesSince(ctx, p.dbs[side], p.from[side], math.MaxInt)
	if err != nil {
		return nil, fmt.Errorf("look at what the %s has written: %w", side, err)
	}
	all := make([]written, len(changes))
	for n, c := range changes {
		if all[n], err = p.mapped(side, c); err != nil {
			return nil, err
		}
	}
	return all, nil
}

// changesSince reads what was written to a database after a position: each row
// once, as it is at the end, in the order in which they were first written; more
// than most of them are an error. It also returns the position up to which it has
// read.
func changesSince(ctx context.Context, db change.Database, from change.Position, most int) ([]change.Change, change.Position, error) {
	head, err := db.Head(ctx)
	if err != nil {
		return nil, from, err
	}
	var all []change.Change
	at := map[string]int{}
	for from < head {
		batch, err := db.Read(ctx, from, 1000)
		if err != nil {
			return nil, from, err
		}
		for _, c := range batch.Changes {
			id := fmt.Sprint(c.Table, mapping.EncodeKey(c.Key))
			if n, known := at[id]; known {
				all[n] = c
				continue
			}
			at[id] = len(all)
			all = append(all, c)
		}
		if len(all) > most {
			return nil, from, fmt.Errorf("more than %d rows were written", most)
		}
		if batch.To <= from {
			break
		}
		from = batch.To
	}
	return all, from, nil
}

// written is a row that was written, in the service's schema; row is nil where
// it was deleted.
type written struct {
	table int
	key   change.Key
	row   change.Row
}

func (p *Pair) mapped(side change.Side, c change.Change) (written, error) {
	w := written{table: c.Table, key: c.Key, row: c.Row}
	if side == change.Service {
		return w, nil
	}
	t := p.plan.Tables[c.Table]
	var err error
	if w.key, err = t.ForwardKey(c.Key); err != nil {
		return w, fmt.Errorf("what the monolith has written: %w", err)
	}
	if c.Kind == change.Put {
		if w.row, err = t.Forward(c.Row); err != nil {
			return w, fmt.Errorf("what the monolith has written: %w", err)
		}
	}
	return w, nil
}
