package engine

import (
	"context"
	"errors"
	"time"
)

const (
	batchLimit   = 2000             // changes read at once
	mostAtOnce   = 16 * batchLimit  // of batches that were refused
	applyTimeout = 30 * time.Second // of one batch, or of taking the stream
	longestApply = time.Hour
)

// effort is how many changes a stream reads at once, and how long the follower
// may take to store them. What has failed is not tried in the same way for ever.
type effort struct {
	limit  int
	within time.Duration
}

// usual is the effort to begin with.
var usual = effort{batchLimit, applyTimeout}

// stored is the effort after a batch that took so long. A follower that has come
// to be slow is not given up on in the middle of each batch.
func (e effort) stored(took time.Duration) effort {
	return effort{batchLimit, min(max(applyTimeout, 2*took), longestApply)}
}

// failed is the effort after a batch that was not stored. Time is what a slow
// follower needs, and what bounds it is there for one that is gone without a word.
//
// A follower that is there and refuses is offered more: where a row has a value of
// a later time than the batch (see [change.Database], Read), what makes the rows
// fit is further on in the log.
func (e effort) failed(err error, away bool) effort {
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		e.within = min(2*e.within, longestApply)
	case !away:
		e.limit = min(2*e.limit, mostAtOnce)
	}
	return e
}
