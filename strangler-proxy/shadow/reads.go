package shadow

import (
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

// A mirrored read passes through two pairs of hands. Whoever asks the other side
// does so on the loop of the client's connection, where that is on one: a
// goroutine would have to be woken twice, which costs more than the question.
// Whoever compares is a goroutine, because that may take a while.

// reads are those that are mirrored and under way.
type reads struct {
	open      atomic.Int64         // how many there are
	queue     chan *proxy.Exchange // that wait to be asked
	askers    crew
	answered  chan *mirrored // that wait to be compared
	judges    crew
	gathering atomic.Bool   // somebody waits until several are answered
	hurry     chan struct{} // tells him that they are
}

// newReads makes room for so many that wait.
func newReads(waiting int) reads {
	most := waiting + workers
	return reads{queue: make(chan *proxy.Exchange, most), answered: make(chan *mirrored, most), hurry: make(chan struct{}, 1)}
}

// full reports whether there are as many as may be.
func (r *reads) full() bool { return r.open.Load() >= int64(cap(r.queue)) }

// workers is how many reads are asked at a time, and how many are compared.
const workers = 4

// crew counts hands, who come when there is something to do and leave when there
// is nothing.
type crew struct{ hands atomic.Int64 }

// join reports whether one more has come.
func (c *crew) join() bool {
	if c.hands.Add(1) > workers {
		c.hands.Add(-1)
		return false
	}
	return true
}

func (c *crew) leave() { c.hands.Add(-1) }

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
	for s.ctx.Err() == nil {
		select {
		case x := <-s.reads.queue:
			s.askOne(x, t)
		default:
			s.reads.askers.leave()
			// Whoever came in between has seen that there were enough.
			if len(s.reads.queue) == 0 || !s.reads.askers.join() {
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
	s.reads.answered <- m // there is room for all of them
	s.haveJudged()
}

const (
	// gatherFor is how long answers are left to come together before they are
	// compared, and enough how many of them are not left any longer. Waking
	// somebody for each of them would cost as much as asking.
	gatherFor = 20 * time.Millisecond
	enough    = 32
	// patientFor is how many answers may wait for each who compares before another
	// one does: a comparison may have to wait for data that follows.
	patientFor = 8
)

// haveJudged sees to it that somebody compares what was answered.
func (s *Shadow) haveJudged() {
	waiting, busy := len(s.reads.answered), int(s.reads.judges.hands.Load())
	switch {
	case s.reads.gathering.Load():
		if waiting >= enough {
			select {
			case s.reads.hurry <- struct{}{}:
			default:
			}
		}
	case (busy == 0 || waiting > busy*patientFor) && s.reads.judges.join():
		s.begin(nil, s.judgeAll)
	}
}

// judgeAll compares what was answered, until nothing is any more.
func (s *Shadow) judgeAll(*loop.Task) {
	for {
		s.gather()
		if s.ctx.Err() != nil {
			return
		}
		judged := false
		for m := s.anAnswer(); m != nil && s.ctx.Err() == nil; m = s.anAnswer() {
			s.judgeOne(m)
			judged = true
		}
		if judged {
			continue
		}
		s.reads.judges.leave()
		// Whoever came in between has seen that somebody was there.
		if len(s.reads.answered) == 0 || !s.reads.judges.join() {
			return
		}
	}
}

// gather waits until several answers have come, unless somebody else does.
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

// anAnswer returns one that waits to be compared; nil: none does.
func (s *Shadow) anAnswer() *mirrored {
	select {
	case m := <-s.reads.answered:
		return m
	default:
		return nil
	}
}

func (s *Shadow) judgeOne(m *mirrored) {
	defer s.doneRead(m)
	defer m.span.End()
	f := incomparable(Defect)
	s.survive(func() { f = s.judge(m) })
	m.span.Text("strangler.verdict", string(f.verdict))
	s.file(m.x, m.direction, f)
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
