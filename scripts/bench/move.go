package main

import (
	"context"
	"errors"
	"time"

	"stranglerfig/migrations/change"
	"stranglerfig/migrations/engine"
	"stranglerfig/migrations/ledger"
	"stranglerfig/migrations/mapping"
	"stranglerfig/migrations/sqlite"
)

// move is one move of the shop's billing, run as the proxy runs it.
type move struct {
	ledger *ledger.Ledger
	engine *engine.Engine
}

// openMove opens the ledger and an engine over two databases. A copy that was
// interrupted is finished before it returns.
func openMove(ctx context.Context, s step, plan *mapping.Plan) (*move, error) {
	journal, err := ledger.Open(s.State, time.Now)
	if err != nil {
		return nil, err
	}
	m := &move{ledger: journal, engine: engine.New(engine.Options{Ledger: journal, Routes: noClients{}})}
	err = m.engine.Open(ctx, engine.Spec{
		Capability: capability, Plan: plan, Monolith: "sqlite:" + s.Monolith, Service: "sqlite:" + s.Service,
	})
	if err != nil {
		return nil, errors.Join(err, m.close())
	}
	return m, nil
}

func (m *move) close() error { return errors.Join(m.engine.Close(), m.ledger.Close()) }

// copy prepares a new move and copies it. It returns the time of the copy, which
// is all that a user waits for: counting, copying, recording, and the start of
// following.
func (m *move) copy(ctx context.Context, watch engine.Watch) (took, cpu time.Duration, err error) {
	if err := m.engine.Prepare(ctx, capability); err != nil {
		return 0, 0, err
	}
	return timed(func() error { return m.engine.Copy(ctx, capability, watch) })
}

// loaded reads how far the copy of the plan's first table has come by its
// record in the service's database.
func loaded(ctx context.Context, plan *mapping.Plan, service string) (change.Loaded, error) {
	// Not exclusively: the engine that is looked at runs in this process.
	db, err := sqlite.Open(ctx, service, capability, change.Service, engine.Tables(plan, change.Service))
	if err != nil {
		return change.Loaded{}, err
	}
	l, err := db.Loaded(ctx, 0)
	return l, errors.Join(err, db.Close())
}

// noClients stands in for the proxy: nobody writes during the bench, so there
// is nobody to hold.
type noClients struct{}

func (noClients) Hold(context.Context, string, engine.Bounds) (engine.Held, error) {
	return engine.Held{}, errors.New("the bench copies and never switches")
}

func (noClients) Flip(string, change.Side, uint64) error { return nil }

func (noClients) Release(string) {}
