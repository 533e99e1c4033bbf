package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"

	"stranglerfig/migrations/change"
	"stranglerfig/migrations/engine"
	"stranglerfig/migrations/ledger"
)

const (
	pauseSwitches = 50
	pauseClients  = 8
	// pauseThink is how long a client waits between two writes: together they
	// write several thousand times a second, which is much for one capability.
	pauseThink = 2 * time.Millisecond
	// pauseBetween lets the follower catch up and clients work between switches.
	pauseBetween = 200 * time.Millisecond
)

// pauseRounds switches there and back under load, and measures what its clients
// feel: for each switch, the longest that one of their writes took which was
// under way during it.
func (b *postgresBench) pauseRounds() ([]measure, error) {
	s, err := b.moving("pg-pause")
	if err != nil {
		return nil, err
	}
	r, _, err := runStep(b.ctx, s)
	if err != nil {
		return nil, err
	}
	pauses := spread("pause", ours, "ms", b.rows, r.Mine)
	p99 := single("pause p99", ours, "ms", b.rows, pauses.Rounds[(len(pauses.Rounds)*99-1)/100])
	normal := single("longest write between switches, median", ours, "ms", b.rows, median(r.Theirs))
	return []measure{pauses, p99, normal, single("writes acknowledged", ours, "writes", b.rows, float64(r.Rows))}, nil
}

// clients are applications that write to whoever owns, through a gate that can
// be held. It stands in for the proxy.
type clients struct {
	gate  sync.RWMutex // held for writing during a hold
	owner change.Side

	mu    sync.Mutex
	slow  time.Duration // the longest write that ended since it was asked last
	acked int64
	err   error
}

func (c *clients) Hold(context.Context, string, engine.Bounds) (engine.Held, error) {
	c.gate.Lock()
	return engine.Held{Waiting: func() int { return 0 }}, nil
}

// Flip is called while the gate is held, or before anyone writes.
func (c *clients) Flip(_ string, owner change.Side, _ uint64) error {
	c.owner = owner
	return nil
}

func (c *clients) Release(string) { c.gate.Unlock() }

// longest returns the longest write that ended since the last call.
func (c *clients) longest() time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	d := c.slow
	c.slow = 0
	return d
}

// write is one client: it writes until ctx ends.
func (c *clients) write(ctx context.Context, dsns map[change.Side]string, rows int, seed uint64) {
	random := rand.New(rand.NewPCG(seed, 1))
	conns := map[change.Side]*pgx.Conn{}
	for side, dsn := range dsns {
		conn, err := pgx.Connect(ctx, dsn)
		if err != nil {
			c.failed(err)
			return
		}
		defer conn.Close(context.WithoutCancel(ctx))
		conns[side] = conn
	}
	statements := map[change.Side]string{
		change.Monolith: "UPDATE orders SET amount = amount + 0.01, status = (status + 1) % 3 WHERE id = $1",
		change.Service:  "UPDATE sales SET cents = cents + 1, note = 'by the service' WHERE id = $1",
	}
	for ctx.Err() == nil {
		begun := time.Now()
		c.gate.RLock()
		_, err := conns[c.owner].Exec(context.WithoutCancel(ctx), statements[c.owner], 1+random.IntN(rows))
		c.gate.RUnlock()
		took := time.Since(begun)
		c.mu.Lock()
		c.slow, c.acked = max(c.slow, took), c.acked+1
		c.mu.Unlock()
		if err != nil {
			c.failed(err)
			return
		}
		time.Sleep(pauseThink)
	}
}

func (c *clients) failed(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.err = errors.Join(c.err, err)
}

func pgPauseStep(ctx context.Context, s step, _ func(int64)) (r result, err error) {
	if err := execute(ctx, s.Service, salesTable, fmt.Sprintf(ordersIndex, "sales")); err != nil {
		return r, err
	}
	plan, err := ordersPlan()
	if err != nil {
		return r, err
	}
	journal, err := ledger.Open(s.State, time.Now)
	if err != nil {
		return r, err
	}
	c := &clients{}
	m := &move{ledger: journal, engine: engine.New(engine.Options{Ledger: journal, Routes: c})}
	defer func() { err = errors.Join(err, m.close(), forgetMove(ctx, s)) }()
	if err := m.engine.Open(ctx, engine.Spec{Capability: capability, Plan: plan, Monolith: s.Monolith, Service: s.Service}); err != nil {
		return r, err
	}
	if _, _, err := m.copy(ctx, nil); err != nil {
		return r, err
	}
	working, stop := context.WithCancel(ctx)
	var writers sync.WaitGroup
	defer writers.Wait()
	defer stop()
	for i := range pauseClients {
		writers.Go(func() {
			c.write(working, map[change.Side]string{change.Monolith: s.Monolith, change.Service: s.Service}, s.Rows, uint64(i))
		})
	}
	report, err := m.engine.Verify(ctx, capability, engine.VerifyRequest{}, nil)
	if err != nil || !report.Clean {
		return r, fmt.Errorf("the sides differ after the copy: %+v (%w)", report, err)
	}
	sides := []change.Side{change.Service, change.Monolith}
	for i := range pauseSwitches {
		time.Sleep(pauseBetween)
		r.Theirs = append(r.Theirs, milliseconds(c.longest()))
		if _, err := m.engine.Switch(ctx, capability, sides[i%2], "", nil); err != nil {
			return r, err
		}
		time.Sleep(pauseBetween / 10) // those that were held have ended
		r.Mine = append(r.Mine, milliseconds(c.longest()))
	}
	stop()
	writers.Wait()
	report, err = m.engine.Verify(ctx, capability, engine.VerifyRequest{}, nil)
	if err != nil || !report.Clean {
		return r, fmt.Errorf("the sides differ in the end: %+v (%w)", report, err)
	}
	r.Rows = c.acked
	slices.Sort(r.Mine)
	return r, c.err
}

func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
