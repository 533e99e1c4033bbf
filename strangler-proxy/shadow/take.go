package shadow

import (
	"runtime/debug"
	"time"

	"stranglerfig/strangler-proxy/proxy"
	"stranglerfig/strangler-proxy/trace"
)

func (s *Shadow) work() {
	for {
		select {
		case <-s.ctx.Done():
			return
		case x := <-s.queue:
			s.take(x)
		}
	}
}

// take compares one read.
func (s *Shadow) take(x *proxy.Exchange) {
	defer s.done(x)
	direction := directionOf(x.Decision)
	if f, taken := s.compared(x, direction, s.judge); taken {
		s.file(x, direction, f)
	}
}

// compared judges an exchange, or drops it where it has waited for too long.
func (s *Shadow) compared(x *proxy.Exchange, d Direction, judge func(*proxy.Exchange, *trace.Span) finding) (f finding, taken bool) {
	if time.Since(x.At) > s.o.Timeout+x.Took {
		if d == Isolated {
			s.noteWrite(x, true)
		}
		s.drop(x.Route, d, Waited)
		return f, false
	}
	span := x.Span.Part("mirror")
	defer span.End()
	f = incomparable(Defect)
	s.survive(func() { f = judge(x, span) })
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
