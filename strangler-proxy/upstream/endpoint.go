package upstream

import (
	"fmt"
	"math/rand/v2"
	"net/url"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// endpoint is one address of a backend.
type endpoint struct {
	url      *url.URL
	inFlight atomic.Int64
	sick     atomic.Bool  // its checks fail
	ejected  atomic.Int64 // until then, in Unix nanoseconds, because requests to it fail

	outcomes  [outcomes]atomic.Int64 // of requests
	ejections atomic.Int64
	well, ill atomic.Int64 // checks

	mu       sync.Mutex
	failures int // in a row
	times    int // ejected, without going well in between
	idle     []*Conn
}

// usable reports whether an endpoint is to be asked.
func (e *endpoint) usable(now time.Time) bool {
	return !e.sick.Load() && e.ejected.Load() <= now.UnixNano()
}

// note counts how a request to one of several endpoints went.
func (b *Backend) note(e *endpoint, well bool, now time.Time) {
	if len(b.endpoints) == 1 {
		return // there is nobody to ask instead
	}
	if out := b.reckon(e, well, now); out > 0 {
		e.ejections.Add(1)
		b.o.Log.Warn("an endpoint is left out for a while", "backend", b.Name, "endpoint", e.url.String(), "because", fmt.Sprintf("%d requests in a row failed", ejectAfter), "for", out.String())
	}
}

// reckon returns for how long the endpoint is left out from now on; 0: nothing
// has changed.
func (b *Backend) reckon(e *endpoint, well bool, now time.Time) time.Duration {
	e.mu.Lock()
	defer e.mu.Unlock()
	if well {
		e.failures, e.times = 0, 0
		return 0
	}
	if e.failures++; e.failures < ejectAfter || !b.mayEject(e, now) {
		return 0
	}
	e.failures = 0
	e.times = min(e.times+1, ejectMost)
	out := time.Duration(e.times) * ejectFor
	e.ejected.Store(now.Add(out).UnixNano())
	return out
}

// mayEject reports whether an endpoint can be done without: at most half of
// them are ejected.
func (b *Backend) mayEject(e *endpoint, now time.Time) bool {
	out := 0
	for _, other := range b.endpoints {
		if other != e && !other.usable(now) {
			out++
		}
	}
	return 2*(out+1) <= len(b.endpoints)
}

// othersAreWell reports whether another endpoint is asked and has not failed
// since it last went well.
func (b *Backend) othersAreWell(e *endpoint, now time.Time) bool {
	for _, other := range b.endpoints {
		if other != e && other.usable(now) && other.failing() == 0 {
			return true
		}
	}
	return false
}

// pick returns the less loaded of two endpoints drawn at random. Those that are
// sick or ejected are left out, unless all of them are: then it is more likely
// that the checks are wrong than that nobody can answer.
func (b *Backend) pick(now time.Time) *endpoint {
	if len(b.endpoints) == 1 {
		return b.endpoints[0]
	}
	usable := b.usable(make([]*endpoint, 0, 16), now)
	if len(usable) == 1 {
		return usable[0]
	}
	at := rand.IntN(len(usable))
	one, two := usable[at], usable[(at+1+rand.IntN(len(usable)-1))%len(usable)]
	if two.inFlight.Load() < one.inFlight.Load() {
		return two
	}
	return one
}

// usable lists the endpoints that are to be asked.
func (b *Backend) usable(to []*endpoint, now time.Time) []*endpoint {
	for _, e := range b.endpoints {
		if e.usable(now) {
			to = append(to, e)
		}
	}
	if len(to) == 0 {
		return b.endpoints
	}
	return to
}

// pickAgain returns the usable endpoint with the fewest failures in a row.
func (b *Backend) pickAgain(now time.Time) *endpoint {
	all := b.usable(nil, now)
	return slices.MinFunc(all, func(one, two *endpoint) int { return one.failing() - two.failing() })
}

func (e *endpoint) failing() int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.failures
}
