package shadow

import (
	"runtime/debug"
	"time"

	"stranglerfig/strangler-proxy/proxy"
)

// late reports whether an exchange has waited for longer than a request may take.
func (s *Shadow) late(x *proxy.Exchange) bool { return time.Since(x.At) > s.o.Timeout+x.Took }

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
