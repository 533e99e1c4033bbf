package proxy

import (
	"sync"
	"time"
)

// fresh remembers who has written lately, so that a client reads what it has
// written while the follower may not have it yet.
type fresh struct {
	mu     sync.Mutex
	wrote  map[uint64]time.Time
	forgot time.Time // writers up to here may have been forgotten
	swept  time.Time
}

// freshLimit bounds how many writers are remembered. When there are more, the
// follower is taken to lack everyone's writes until it has caught up.
const freshLimit = 1 << 16

func newFresh() *fresh { return &fresh{wrote: map[uint64]time.Time{}} }

// note records that a client's write was answered at a moment.
func (f *fresh) note(client []uint64, at, synced time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.wrote) >= freshLimit || at.Sub(f.swept) > time.Minute {
		f.sweep(synced)
		f.swept = at
	}
	if len(f.wrote) >= freshLimit {
		f.forgot = at
		clear(f.wrote)
	}
	for _, id := range client {
		f.wrote[id] = at
	}
}

// sweep forgets whose writes the follower has.
func (f *fresh) sweep(synced time.Time) {
	for client, at := range f.wrote {
		if at.Before(synced) {
			delete(f.wrote, client)
		}
	}
}

// is reports whether a client may have written something after the moment up
// to which the follower has everything.
func (f *fresh) is(client []uint64, synced time.Time) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, id := range client {
		if at, ok := f.wrote[id]; ok && !at.Before(synced) {
			return true
		}
	}
	return f.forgot.After(synced)
}
