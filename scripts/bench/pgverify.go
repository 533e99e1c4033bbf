package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"

	"stranglerfig/migrations/engine"
)

// hashScans is the competitor of the verification: one bare hash scan of each
// side, both at once.
const hashScans = "two-hash-scans"

func (b *postgresBench) verifyRounds() ([]measure, error) {
	s, err := b.moving("pg-copy-and-verify")
	if err != nil {
		return nil, err
	}
	s.Rounds = b.rounds
	r, peak, err := runStep(b.ctx, s)
	if err != nil {
		return nil, err
	}
	return append(versus("verify", hashScans, "rows/s", b.rows, r.Mine, r.Theirs), single("peak memory of a verification", ours, "bytes", b.rows, float64(peak))), nil
}

// pgVerifyStep copies once and then compares both sides, in turns with the bare
// scans.
func pgVerifyStep(ctx context.Context, s step, tell func(int64)) (r result, err error) {
	if err := execute(ctx, s.Service, salesTable, fmt.Sprintf(ordersIndex, "sales")); err != nil {
		return r, err
	}
	m, err := openOrders(ctx, s)
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, m.close(), forgetMove(ctx, s)) }()
	if _, _, err := m.copy(ctx, nil); err != nil {
		return r, err
	}
	if err := execute(ctx, s.Service, "VACUUM ANALYZE sales", "CHECKPOINT"); err != nil {
		return r, err
	}
	for i := range s.Rounds {
		for _, who := range inTurn(i, ours, hashScans) {
			begun := time.Now()
			if who == hashScans {
				if err := bareScans(ctx, s); err != nil {
					return r, err
				}
				r.Theirs = append(r.Theirs, float64(s.Rows)/time.Since(begun).Seconds())
				continue
			}
			report, err := m.engine.Verify(ctx, capability, engine.VerifyRequest{}, nil)
			if err != nil {
				return r, err
			}
			if !report.Clean || report.Rows < int64(s.Rows) {
				return r, fmt.Errorf("%d rows were compared of %d, and %d differ", report.Rows, s.Rows, len(report.Differences))
			}
			r.Mine = append(r.Mine, float64(s.Rows)/time.Since(begun).Seconds())
			tell(report.Rows)
		}
	}
	return r, nil
}

func bareScans(ctx context.Context, s step) error {
	both, ctx := errgroup.WithContext(ctx)
	for dsn, table := range map[string]string{s.Monolith: "orders", s.Service: "sales"} {
		both.Go(func() error {
			_, err := query[int64](ctx, dsn, fmt.Sprintf("SELECT count(*) + 0 * bit_xor(hashtextextended(t::text, 0)) FROM %s AS t", table))
			return err
		})
	}
	return both.Wait()
}
