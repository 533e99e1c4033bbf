package shadow

import (
	"bytes"
	"errors"
	"runtime/debug"
	"sync/atomic"
	"time"

	"stranglerfig/contract-tests/compare"
	"stranglerfig/migrations/change"
	"stranglerfig/strangler-proxy/loop"
	"stranglerfig/strangler-proxy/proxy"
	"stranglerfig/strangler-proxy/trace"
)

// A mirrored read passes through several hands. Who asks the other side does so on
// the loop of a client's connection, where that is on one: a goroutine would have
// to be woken twice, which costs more than the question. Who compares is a
// goroutine. Answers that look alike are left to come together first; those that
// do not are looked at right away, since they count only if they stay different,
// and by others, since that may take a while.

// reads are those that are mirrored and under way.
type reads struct {
	open      atomic.Int64         // how many there are
	queue     chan *proxy.Exchange // that wait to be asked
	askers    crew
	alike     chan *mirrored // that wait to be compared
	judges    crew
	unalike   chan *mirrored // that wait to be looked at again, if need be
	doubters  crew
	gathering atomic.Bool   // somebody waits until several are alike
	hurry     chan struct{} // tells him that they are
}

// newReads makes room for so many that wait.
func newReads(waiting int) reads {
	most := waiting + workers
	return reads{queue: make(chan *proxy.Exchange, most), alike: make(chan *mirrored, most), unalike: make(chan *mirrored, most), hurry: make(chan struct{}, 1)}
}

// full reports whether there are as many as may be.
func (r *reads) full() bool { return r.open.Load() >= int64(cap(r.queue)) }

// workers is how many of each crew there are, at most.
const workers = 4

// crew counts hands, who come when there is something to do and leave when there
// is nothing.
type crew struct{ hands atomic.Int64 }

// join reports whether one more has come.
func (c *crew) join() bool {
	for {
		n := c.hands.Load()
		if n >= workers {
			return false
		}
		if c.hands.CompareAndSwap(n, n+1) {
			return true
		}
	}
}

// leave reports whether one has left. Where something waits by then he may have to
// stay: whoever brought it may have seen that there were enough.
func (c *crew) leave(waits func() bool) bool {
	c.hands.Add(-1)
	return !waits() || !c.join()
}

// mirrored is a read that the other side was asked.
type mirrored struct {
	x            *proxy.Exchange
	direction    Direction
	span         *trace.Span
	got          compare.Message
	took, waited time.Duration // for its answer; until it was known that there is one, or none
	err          error         // why there is none
}

// enqueue has a read mirrored, unless as many wait as may. Where its client is
// served on a loop, on is the task that does.
func (s *Shadow) enqueue(x *proxy.Exchange, on *loop.Task) (room bool) {
	if s.reads.open.Add(1) > int64(cap(s.reads.queue)) {
		s.reads.open.Add(-1)
		return false
	}
	s.take(x)
	s.reads.queue <- x // there is room for all of them
	if s.reads.askers.join() {
		s.begin(on, s.askAll)
	}
	return true
}

// begin has work done by a task beside another one on a loop, or by a goroutine.
func (s *Shadow) begin(on *loop.Task, work func(*loop.Task)) {
	s.beginning.Lock()
	defer s.beginning.Unlock()
	if s.ctx.Err() != nil {
		return
	}
	if on.Loop() == nil {
		s.wg.Go(func() { work(nil) })
		return
	}
	s.wg.Add(1)
	on.Go(func(t *loop.Task) {
		defer s.wg.Done()
		work(t)
	})
}

// askAll asks the other side what waits to be asked, until nothing does.
func (s *Shadow) askAll(t *loop.Task) {
	waits := func() bool { return len(s.reads.queue) > 0 }
	for s.ctx.Err() == nil {
		select {
		case x := <-s.reads.queue:
			s.askOne(x, t)
		default:
			if s.reads.askers.leave(waits) {
				return
			}
		}
	}
}

func (s *Shadow) askOne(x *proxy.Exchange, t *loop.Task) {
	m := &mirrored{x: x, direction: directionOf(x.Decision), err: errDefect}
	if s.late(x) {
		s.drop(x.Route, m.direction, Waited)
		s.doneRead(m)
		return
	}
	m.span = x.Span.Part("mirror")
	s.survive(func() { s.askOther(m, t) })
	s.held.Add(int64(len(m.got.Body)))
	if m.looksAlike() {
		s.reads.alike <- m // there is room for all of them
		s.haveJudged()
	} else {
		s.doubt(m)
	}
}

// looksAlike reports whether there is hardly a difference to be found.
func (m *mirrored) looksAlike() bool {
	return m.err != nil || m.got.Status == m.x.Status && bytes.Equal(m.got.Body, m.x.AnswerBody)
}

// doubt has answers that differ looked at.
func (s *Shadow) doubt(m *mirrored) {
	s.reads.unalike <- m // there is room for all of them
	if s.reads.doubters.join() {
		s.begin(nil, s.doubtAll)
	}
}

// doubtAll judges answers that differ, until none are left.
func (s *Shadow) doubtAll(*loop.Task) {
	waits := func() bool { return len(s.reads.unalike) > 0 }
	for s.ctx.Err() == nil {
		select {
		case m := <-s.reads.unalike:
			s.conclude(m, func() finding {
				f, settled := s.compare(m)
				if settled {
					return f
				}
				return s.compareAgain(m, f)
			})
		default:
			if s.reads.doubters.leave(waits) {
				return
			}
		}
	}
}

const (
	// gatherFor is how long answers that look alike are left to come together
	// before they are compared, and gathered how many of them are not left any
	// longer. Waking somebody for each of them would cost as much as asking.
	gatherFor = 20 * time.Millisecond
	gathered  = 32
	// patientFor is how many may wait for each who compares before another one
	// does.
	patientFor = 8
)

// haveJudged sees to it that somebody compares what looks alike.
func (s *Shadow) haveJudged() {
	waiting, busy := len(s.reads.alike), int(s.reads.judges.hands.Load())
	switch {
	case s.reads.gathering.Load():
		if waiting >= min(gathered, cap(s.reads.alike)/4) {
			select {
			case s.reads.hurry <- struct{}{}:
			default:
			}
		}
	case (busy == 0 || waiting > busy*patientFor) && s.reads.judges.join():
		s.begin(nil, s.judgeAll)
	}
}

// judgeAll compares what looks alike, until there is nothing any more.
func (s *Shadow) judgeAll(*loop.Task) {
	waits := func() bool { return len(s.reads.alike) > 0 }
	for {
		s.gather()
		judged := false
		for waits() && s.ctx.Err() == nil {
			select {
			case m := <-s.reads.alike:
				s.judgeOne(m)
				judged = true
			default:
			}
		}
		if s.ctx.Err() != nil || !judged && s.reads.judges.leave(waits) {
			return
		}
	}
}

// gather waits until several have come, unless somebody else does.
func (s *Shadow) gather() {
	if !s.reads.gathering.CompareAndSwap(false, true) {
		return
	}
	timer := time.NewTimer(gatherFor)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-s.reads.hurry:
	case <-s.ctx.Done():
	}
	s.reads.gathering.Store(false)
}

// judgeOne compares what looks alike, and leaves it to others where it is not.
func (s *Shadow) judgeOne(m *mirrored) {
	settled, f := true, incomparable(Defect)
	s.survive(func() { f, settled = s.compare(m) })
	if !settled {
		s.doubt(m)
		return
	}
	s.conclude(m, func() finding { return f })
}

// conclude files what was found.
func (s *Shadow) conclude(m *mirrored, judge func() finding) {
	defer s.doneRead(m)
	defer m.span.End()
	f := incomparable(Defect)
	s.survive(func() { f = judge() })
	m.span.Text("strangler.verdict", string(f.verdict))
	s.file(m.x, m.direction, f)
}

// endSpans ends those of what will not be judged any more.
func (r *reads) endSpans() {
	for {
		select {
		case m := <-r.alike:
			m.span.End()
		case m := <-r.unalike:
			m.span.End()
		default:
			return
		}
	}
}

func (s *Shadow) doneRead(m *mirrored) {
	s.held.Add(-int64(len(m.got.Body)))
	s.reads.open.Add(-1)
	s.done(m.x)
}

// late reports whether an exchange has waited for longer than a request may take.
func (s *Shadow) late(x *proxy.Exchange) bool { return time.Since(x.At) > s.o.Timeout+x.Took }

// errDefect stands for an answer that a defect of ours was met instead of, and
// errNoBackend for that of nobody.
var (
	errDefect    = errors.New("a defect was met")
	errNoBackend = errors.New("there is nobody to ask")
)

// askOther asks the side that did not answer the client.
func (s *Shadow) askOther(m *mirrored, t *loop.Task) {
	monolith, service := s.o.Backends(m.x.Route.Capability)
	if monolith == nil || service == nil {
		m.err = errNoBackend
		return
	}
	other := service
	if m.x.Decision.Side == change.Service {
		other = monolith
	}
	begun := time.Now()
	m.got, m.took, m.err = s.ask(t, other, m.x, m.span)
	m.waited = time.Since(begun)
	if m.err == nil && other == service {
		s.lags.note(max(time.Since(m.x.At)-m.took-m.x.Took, 1))
	}
}

// compared judges a write, or drops it where it has waited for too long.
func (s *Shadow) compared(x *proxy.Exchange) (f finding, taken bool) {
	if s.late(x) {
		s.noteWrite(x, true)
		s.drop(x.Route, Isolated, Waited)
		return f, false
	}
	span := x.Span.Part("mirror")
	defer span.End()
	f = incomparable(Defect)
	s.survive(func() { f = s.judgeWrite(x, span) })
	span.Text("strangler.verdict", string(f.verdict))
	return f, true
}

// file counts what was found.
func (s *Shadow) file(x *proxy.Exchange, d Direction, f finding) {
	if !s.survive(func() { s.count(x, d, f) }) {
		s.survive(func() { s.count(x, d, incomparable(Defect)) })
	}
}

// survive does what may meet a defect of ours, and reports whether none was met.
// Clients are served by this process, which a comparison must not end.
func (s *Shadow) survive(do func()) (well bool) {
	defer func() {
		if reason := recover(); reason != nil {
			s.o.Panicked(reason, debug.Stack())
		}
	}()
	do()
	return true
}
