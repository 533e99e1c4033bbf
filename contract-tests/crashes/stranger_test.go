package crashes

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync/atomic"

	"github.com/jackc/pgx/v5"

	"stranglerfig/contract-tests/history"
	"stranglerfig/migrations/change"
)

// stranger writes past the gate, to either side, as a forgotten job would. One
// of them must refuse; what it was told yes for must stay.
type stranger struct {
	c       *crew
	dice    *rand.Rand
	conns   conns
	busy    atomic.Bool
	known   map[int64]string // what it was told yes for
	perhaps map[string]bool  // what nobody could tell of
	n       int
}

func (s *stranger) run(ctx context.Context) {
	for ctx.Err() == nil {
		s.c.work.RLock()
		if s.busy.Load() {
			s.perform(ctx)
		}
		s.c.work.RUnlock()
		if pace(ctx) != nil {
			return
		}
	}
}

// perform tries both sides in turns until one says yes, or cannot be heard.
func (s *stranger) perform(ctx context.Context) {
	s.n++
	a := account{code: fmt.Sprintf("s-%d", s.n), cents: s.dice.Int64N(1000), status: "open", memo: "past the gate"}
	ended := s.c.log.Begin("operation", a.code)
	side := []change.Side{change.Monolith, change.Service}[s.dice.IntN(2)]
	for ; ; side = side.Other() {
		var id int64
		outcome, err := s.conns.write(side, a.code, func(ctx context.Context, tx pgx.Tx, d dialect, _ book) error {
			return tx.QueryRow(ctx, d.insert, a.code, a.cents, a.status, a.memo).Scan(&id)
		}, nil)
		switch outcome {
		case history.OK:
			s.known[id] = a.String()
			ended(outcome, "")
			return
		case history.Unknown:
			s.perhaps[a.String()] = true
			ended(outcome, err.Error())
			return
		}
		s.c.complain("the stranger", err)
		if pace(ctx) != nil || !s.busy.Load() {
			ended(history.Failed, "gave up")
			return
		}
	}
}
