package upstream

import (
	"sync/atomic"

	"golang.org/x/time/rate"
)

const (
	retryShare = 5   // one retry for so many requests
	retrySaved = 100 // retries that may be saved up
	retryFloor = 3   // retries a second, however few requests there are
)

// budget bounds retries to a share of the requests, so that a backend in
// trouble is not asked for more than usual.
type budget struct {
	saved  atomic.Int64 // in requests
	floor  *rate.Limiter
	used   atomic.Int64
	denied atomic.Int64
}

func newBudget() *budget { return &budget{floor: rate.NewLimiter(retryFloor, retryFloor)} }

// earn counts a request.
func (b *budget) earn() {
	if b.saved.Load() < retrySaved*retryShare {
		b.saved.Add(1)
	}
}

// spend takes a retry, if there is one.
func (b *budget) spend() bool {
	if b.saved.Add(-retryShare) < 0 {
		b.saved.Add(retryShare) // what the floor gives is not owed
		if !b.floor.Allow() {
			b.denied.Add(1)
			return false
		}
	}
	b.used.Add(1)
	return true
}
