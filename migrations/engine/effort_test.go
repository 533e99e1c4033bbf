package engine

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"
)

// TestNoBatchIsTriedInTheSameWayForEver, neither one that takes long nor one that
// is refused; both are tried as usual again once one was stored.
func TestNoBatchIsTriedInTheSameWayForEver(t *testing.T) {
	late, refused, gone := fmt.Errorf("apply: %w", context.DeadlineExceeded), errors.New("duplicate key"), errors.New("connection refused")
	e := usual
	for range 20 {
		e = e.failed(gone, true)
	}
	if e != usual {
		t.Errorf("%+v after a follower that was away", e)
	}
	if e = e.failed(late, true); e != (effort{batchLimit, 2 * applyTimeout}) {
		t.Errorf("%+v after a batch that took too long", e)
	}
	if e = e.failed(refused, false); e != (effort{2 * batchLimit, 2 * applyTimeout}) {
		t.Errorf("%+v after a batch that was refused", e)
	}
	for range 20 {
		e = e.failed(late, false).failed(refused, false)
	}
	if e != (effort{mostAtOnce, longestApply}) {
		t.Errorf("%+v in the end", e)
	}
	if e = e.stored(time.Minute); e != (effort{batchLimit, 2 * time.Minute}) {
		t.Errorf("%+v after one that took a minute", e)
	}
	if e = e.stored(time.Second); e != usual {
		t.Errorf("%+v after one that took a second", e)
	}
}
