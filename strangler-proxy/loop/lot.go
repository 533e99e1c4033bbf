package loop

import (
	"slices"
	"syscall"

	"stranglerfig/strangler-proxy/kernel"
)

const (
	// lotSize is how many calls are made together. With more of them those who
	// asked first wait longer, and little is saved.
	lotSize = 16
	// lotBytes is how much a call may move to be made with others: what takes the
	// kernel long enough saves nothing and keeps them waiting.
	lotBytes = 16 << 10
)

// lots are the calls of the kernel that tasks have asked for. A task that reads
// or writes while others go on as well has its call made along with theirs, and
// goes on when that is done.
type lots struct {
	ring  *kernel.Ring // nil: there are none
	from  int          // how many have to go on for it
	now   bool         // so many do
	asks  []*Task      // in the order in which they asked
	lot   []*Task      // those whose calls are being made
	calls []*kernel.Call
}

// newLots returns lots that are made where so many tasks go on. On an error there
// are none.
func newLots(from int) (lots, error) {
	ring, err := kernel.NewRing(lotSize)
	if err != nil {
		return lots{}, err
	}
	return lots{ring: ring, from: from}, nil
}

// asked reports whether somebody waits for a call to be made.
func (l *lots) asked() bool { return len(l.asks) > 0 }

// expect notes how many tasks go on now, besides those who wait for a call.
func (l *Loop) expect(tasks int) {
	l.lots.now = l.lots.ring != nil && tasks+len(l.lots.asks) >= l.lots.from
}

// call makes a call of the running task's, which must not wait.
func (l *Loop) call(c kernel.Call) (int, syscall.Errno) {
	if !l.lots.now || len(c.Bytes) > lotBytes {
		c.Do()
		return c.N, c.Err
	}
	t := l.running
	t.call = c
	l.lots.asks = append(l.lots.asks, t)
	t.yield(struct{}{})
	c, t.call = t.call, kernel.Call{}
	return c.N, c.Err
}

// makeLots makes the calls that were asked for, and those that are asked for by
// whoever goes on then: what comes of a read is written at once, and who never
// waits has others go first.
func (l *Loop) makeLots() {
	for range 2 {
		for n := len(l.lots.asks); n > 0; n -= lotSize {
			l.makeLot()
		}
	}
}

// makeFullLot makes as many calls as are made together, if there are as many.
func (l *Loop) makeFullLot() {
	if len(l.lots.asks) >= lotSize {
		l.makeLot()
	}
}

// makeLot makes the calls of those who asked first, and lets them go on.
func (l *Loop) makeLot() {
	o := &l.lots
	o.lot = append(o.lot[:0], o.asks[:min(len(o.asks), lotSize)]...)
	o.asks = slices.Delete(o.asks, 0, len(o.lot))
	o.calls = o.calls[:0]
	for _, t := range o.lot {
		o.calls = append(o.calls, &t.call)
	}
	o.ring.Do(o.calls)
	for i, t := range o.lot {
		o.lot[i] = nil
		l.resume(t, nil)
	}
}
