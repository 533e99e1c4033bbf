package orders

import (
	"context"
	"time"
)

const (
	sweepEvery = 2 * time.Second
	sweepBatch = 50
)

// Sweep has orders invoiced that billing did not answer for, every two
// seconds until ctx ends.
func (s *Service) Sweep(ctx context.Context) {
	ticker := time.NewTicker(sweepEvery)
	defer ticker.Stop()
	after := int64(0)
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			after = s.sweepOnce(ctx, after)
		}
	}
}

// sweepOnce goes through the orders without an invoice from an id on, and
// stops at the first that fails: billing is likely out of reach. The next
// pass goes on behind it, so that one bad order does not hold up the others.
func (s *Service) sweepOnce(ctx context.Context, after int64) int64 {
	for {
		missing, err := s.uninvoiced(ctx, after)
		if err != nil {
			s.logUnless(ctx, "sweep failed", 0, err)
			return after
		}
		for _, order := range missing {
			after = order.ID
			if err := s.invoice(ctx, &order); err != nil {
				s.logUnless(ctx, "order still not invoiced", order.ID, err)
				return after
			}
		}
		if len(missing) < sweepBatch {
			return 0
		}
	}
}

func (s *Service) uninvoiced(ctx context.Context, after int64) ([]Order, error) {
	var missing []Order
	err := s.db.WithContext(ctx).Where("invoice_id IS NULL AND id > ? AND st <> ?", after, Cancelled).
		Order("id").Limit(sweepBatch).Find(&missing).Error
	return missing, err
}

// logUnless logs an error unless it only says that the shop is stopping.
func (s *Service) logUnless(ctx context.Context, message string, order int64, err error) {
	if ctx.Err() == nil {
		s.log.Error(message, "order", order, "error", err.Error())
	}
}
