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
	ring  ring                  // makes those of a lot; nil: each call is made by itself
	from  int                   // how many have to go on for calls to be made together
	many  bool                  // as many go on now
	asks  []*Task               // in the order in which they asked
	lot   []*Task               // those whose calls are being made
	calls [lotSize]*kernel.Call // theirs
}

// ring is a [kernel.Ring].
type ring interface {
	Do([]*kernel.Call)
	Close()
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

func (l *lots) close() {
	if l.ring != nil {
		l.ring.Close()
	}
}

// asked reports whether somebody waits for a call to be made.
func (l *lots) asked() bool { return len(l.asks) > 0 }

// expect notes how many tasks go on now, besides those who wait for a call.
func (l *lots) expect(tasks int) { l.many = l.ring != nil && tasks+len(l.asks) >= l.from }

// call makes a call of the running task's, which must not wait: at once, or
// together with others where several go on.
func (s *Source) call(c kernel.Call, atOnce bool) (int, syscall.Errno) {
	l := s.loop
	if s.fd == nowhere {
		return 0, syscall.EBADF
	}
	if atOnce || !l.lots.many || len(c.Bytes) > lotBytes {
		c.FD = uintptr(s.fd)
		c.Do()
		return c.N, c.Err
	}
	t := l.running
	t.call, t.asks = c, s
	l.lots.asks = append(l.lots.asks, t)
	t.pause()
	c, t.call, t.asks = t.call, kernel.Call{}, nil
	return c.N, c.Err
}

// makeLots makes the calls that were asked for, and those that are asked for by
// whoever goes on then: what comes of a read is written at once. Who asks again
// after that has others go first.
func (l *Loop) makeLots() {
	for range 2 {
		for n := len(l.lots.asks); n > 0; n -= lotSize {
			l.makeLot()
		}
	}
}

// makeLot makes the calls of those who asked first, and lets them go on.
func (l *Loop) makeLot() {
	o := &l.lots
	n := min(len(o.asks), lotSize)
	o.lot = append(o.lot[:0], o.asks[:n]...)
	o.asks = slices.Delete(o.asks, 0, n)
	calls := o.calls[:n]
	for i, t := range o.lot {
		t.call.FD = uintptr(t.asks.fd)
		calls[i] = &t.call
	}
	o.ring.Do(calls)
	clear(calls)
	for i, t := range o.lot {
		o.lot[i] = nil
		l.resume(t, nil)
	}
}
