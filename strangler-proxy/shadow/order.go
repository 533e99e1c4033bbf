package shadow

import (
	"slices"
	"time"

	"stranglerfig/strangler-proxy/proxy"
)

const (
	// settled is how long after its answer a write is kept back: by then the
	// writes that were answered before it have come, whichever connection of the
	// proxy they were on.
	settled   = 50 * time.Millisecond
	keptBack  = 32 // writes, at most; beyond it the oldest goes at once
	soonAgain = 5 * time.Millisecond
)

// inOrder takes writes one after the other, in the order in which they came: one
// may be about what another has made, whose answer its client had before it asked.
func (s *Shadow) inOrder() {
	var back []*proxy.Exchange
	tick := time.NewTicker(soonAgain)
	defer tick.Stop()
	for {
		var more chan *proxy.Exchange
		if len(back) < keptBack {
			more = s.writes
		}
		if len(back) == 0 && len(s.open) == 0 {
			tick.Stop() // nothing becomes due
		} else {
			tick.Reset(soonAgain)
		}
		select {
		case <-s.ctx.Done():
			return
		case x := <-more:
			s.survive(func() { s.noteWrite(x, false) })
			at, _ := slices.BinarySearchFunc(back, x.At, func(x *proxy.Exchange, at time.Time) int { return x.At.Compare(at) })
			back = slices.Insert(back, at, x)
		case <-tick.C:
		}
		for len(back) > 0 && (len(back) == keptBack || time.Since(answered(back[0])) > settled) {
			x := back[0]
			back = slices.Delete(back, 0, 1)
			s.takeWrite(x)
		}
		s.settle(len(back) == 0 && len(s.writes) == 0)
	}
}

// answered is when an exchange's client had its answer.
func answered(x *proxy.Exchange) time.Time { return x.At.Add(x.Took) }
