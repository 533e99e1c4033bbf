package engine

import (
	"context"
	"time"

	"stranglerfig/migrations/change"
)

// Routes is what the engine needs of whatever sends clients to an owner. The
// proxy implements it; with several replicas an implementation returns from
// Hold and Flip only when every replica has acknowledged.
type Routes interface {
	// Hold makes new writes of a capability wait and returns once those
	// already under way have been answered, or with ctx's error, in which
	// case nothing is held any more. The returned Held reports a bound being
	// reached while the hold lasts.
	Hold(ctx context.Context, capability string, b Bounds) (Held, error)
	// Flip names the side that owns a capability's writes from an epoch on.
	// It refuses an epoch lower than the one it has, and the same epoch with
	// another owner; repeating it is harmless.
	Flip(capability string, owner change.Side, epoch uint64) error
	// Release lets the held writes go to the present owner. Idempotent.
	Release(capability string)
}

// Bounds limit what a hold may keep waiting. When one is reached the switch
// is aborted and everyone is released to the old owner.
type Bounds struct {
	Requests int           // writes waiting at once
	Bytes    int64         // their declared bodies together, in bytes
	Wait     time.Duration // of the longest-waiting one
}

// Held is a hold in force.
type Held struct {
	Waiting  func() int   // writes waiting now
	Overflow <-chan error // receives one error when a bound is reached
}

// DefaultBounds are used where the config says nothing.
func DefaultBounds() Bounds {
	return Bounds{Requests: 1000, Bytes: 64 << 20, Wait: 5 * time.Second}
}
