package shadow

import (
	"errors"
	"sync/atomic"
	"time"

	"stranglerfig/migrations/change"
	"stranglerfig/strangler-proxy/loop"
	"stranglerfig/strangler-proxy/proxy"
	"stranglerfig/strangler-proxy/trace"
)

// A mirrored read passes through several hands. Who asks the other side does so on
// a loop of clients' connections, where there is one: a goroutine would have to be
// woken twice, which costs more than the question. Who compares is a goroutine.
// Answers that look alike are left to come together first; those that do not are
// looked at right away, since they count only if they stay different, and by others,
// since that may take a while.

// reads are those that are mirrored and under way.
type reads struct {
	open    atomic.Int64         // how many there are
	queue   chan *proxy.Exchange // that wait to be asked
	asking  atomic.Int64         // by how many they are
	alike   chan *mirrored       // whose answers look alike, and wait to be compared
	several chan struct{}        // told when so many do that they are not to wait longer
	differ  chan *mirrored       // whose answers do not
}

// newReads makes room for so many that wait.
func newReads(waiting int) reads {
	most := waiting + workers
	return reads{queue: make(chan *proxy.Exchange, most), alike: make(chan *mirrored, most), several: make(chan struct{}, 1), differ: make(chan *mirrored, most)}
}

// full reports whether there are as many as may be.
func (r *reads) full() bool { return r.open.Load() >= int64(cap(r.queue)) }

// workers is how many reads are asked at a time, and how many answers that differ
// are looked at.
const workers = 4

// join reports whether one more may ask.
func (r *reads) join() bool {
	for {
		n := r.asking.Load()
		if n >= workers {
			return false
		}
		if r.asking.CompareAndSwap(n, n+1) {
			return true
		}
	}
}

// leave reports whether one who asked has left. Where something waits by then he may
// have to stay: whoever brought it may have seen that enough were there.
func (r *reads) leave() bool {
	r.asking.Add(-1)
	return len(r.queue) == 0 || !r.join()
}

// mirrored is a read that the other side was asked.
type mirrored struct {
	x            *proxy.Exchange
	direction    Direction
	span         *trace.Span
	got          answer
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
	s.enter(x)
	s.reads.queue <- x // there is room for all of them
	if s.reads.join() {
		s.begin(on)
	}
	return true
}

// begin has what waits asked by a task beside another one on a loop, or by a
// goroutine.
func (s *Shadow) begin(on *loop.Task) {
	s.beginning.Lock()
	defer s.beginning.Unlock()
	if s.ctx.Err() != nil {
		return
	}
	s.wg.Add(1)
	on.Go(func(t *loop.Task) {
		defer s.wg.Done()
		s.askAll(t)
	})
}

// askAll asks the other side what waits to be asked, until nothing does.
func (s *Shadow) askAll(t *loop.Task) {
	for s.ctx.Err() == nil {
		select {
		case x := <-s.reads.queue:
			s.askOne(x, t)
		default:
			if s.reads.leave() {
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
	s.held.Add(int64(len(m.got.body)))
	if m.err == nil && !m.got.alike(answerOf(x)) {
		s.reads.differ <- m // there is room for all of them
		return
	}
	s.reads.alike <- m // and here
	if len(s.reads.alike) >= min(gathered, cap(s.reads.alike)/4) {
		select {
		case s.reads.several <- struct{}{}:
		default:
		}
	}
}

const (
	// gatherFor is how long answers that look alike are left to come together
	// before they are compared, and gathered how many of them are not left any
	// longer. Waking somebody for each of them would cost as much as asking.
	gatherFor = 20 * time.Millisecond
	gathered  = 32
)

// judge compares answers that look alike.
func (s *Shadow) judge() {
	for {
		select {
		case m := <-s.reads.alike:
			s.judgeOne(m)
		case <-s.ctx.Done():
			return
		}
		for s.gather() {
		}
	}
}

// gather waits until several answers have come, compares them, and reports whether
// any had.
func (s *Shadow) gather() (some bool) {
	timer := time.NewTimer(gatherFor)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-s.reads.several:
	case <-s.ctx.Done():
	}
	for s.ctx.Err() == nil {
		select {
		case m := <-s.reads.alike:
			s.judgeOne(m)
			some = true
			continue
		default:
		}
		break
	}
	return some
}

// judgeOne compares answers that look alike, and leaves them to others where they
// are not.
func (s *Shadow) judgeOne(m *mirrored) {
	settled, f := true, incomparable(Defect)
	s.survive(func() { f, settled = s.compare(m) })
	if !settled {
		s.reads.differ <- m
		return
	}
	s.conclude(m, func() finding { return f })
}

// doubt looks at answers that differ, again if need be.
func (s *Shadow) doubt() {
	for {
		select {
		case m := <-s.reads.differ:
			s.conclude(m, func() finding {
				f, settled := s.compare(m)
				if settled {
					return f
				}
				return s.compareAgain(m, f)
			})
		case <-s.ctx.Done():
			return
		}
	}
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
		case m := <-r.differ:
			m.span.End()
		default:
			return
		}
	}
}

func (s *Shadow) doneRead(m *mirrored) {
	s.held.Add(-int64(len(m.got.body)))
	s.reads.open.Add(-1)
	s.done(m.x)
}

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
