package listener

import (
	"context"
	"net"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// A drain lets connections that wait ask once more, for this part of the
	// time that it is given: the answer tells them to go. A client that uses its
	// connection all the time would otherwise often find it closed just as it
	// asks, and could not know whether it was heard.
	onceMore     = 10
	onceMoreMost = 2 * time.Second
	// backlogWait bounds an accept of a connection that the kernel has just
	// shown, should its client have gone since.
	backlogWait = 50 * time.Millisecond
	// rounds is how many times the sweeper comes by in the idle time.
	rounds = 8
)

// Shutdown drains. Nothing new is accepted but what the kernel had accepted
// already. Busy connections are waited for until ctx is done, whose error is
// then returned and Close is left to cut them. Those that wait may ask once
// more for a tenth of ctx's time, two seconds at most, and then end.
//
// A request that has arrived when its connection is looked at for the last time
// is answered. What can still be lost is what is on its way just then, and a
// connection that the kernel accepts between our last look and the end of the
// listening socket; both are reset before a byte of an answer.
//
// HTTP/2 connections are told to go away once each of them has asked, or had
// its moment. What a client sends after that it must ask again elsewhere, as
// HTTP/2 has it.
func (s *Server) Shutdown(ctx context.Context) error {
	until := time.Now().Add(onceMoreMost)
	if end, bounded := ctx.Deadline(); bounded {
		until = time.Now().Add(min(time.Until(end)/onceMore, onceMoreMost))
	}
	s.drain(until)
	moment, cancel := context.WithDeadline(ctx, until)
	// Whoever has not asked by then is not waited for.
	_ = s.await(moment, func() bool { return len(s.listeners) == 0 && s.beginning == 0 })
	cancel()
	if err := s.http2.Shutdown(ctx); err != nil {
		return err
	}
	if err := s.await(ctx, func() bool { return len(s.listeners) == 0 && len(s.conns) == 0 && s.streams == 0 }); err != nil {
		return err
	}
	return s.Close()
}

// Close ends everything at once and waits until it has ended.
func (s *Server) Close() error {
	s.drain(longAgo)
	s.close()
	s.mu.Lock()
	for l := range s.listeners {
		l.Close()
	}
	s.mu.Unlock()
	if err := s.await(context.Background(), func() bool { return len(s.listeners) == 0 }); err != nil {
		return err
	}
	s.mu.Lock()
	for c := range s.conns {
		c.cut()
	}
	s.mu.Unlock()
	err := s.http2.Server.Close()
	s.http2.Close()
	s.wg.Wait()
	if waiting := s.await(context.Background(), func() bool { return len(s.conns) == 0 && s.streams == 0 }); waiting != nil {
		return waiting
	}
	return err
}

// await waits until something is so. done is asked while s.mu is held.
func (s *Server) await(ctx context.Context, done func() bool) error {
	stop := context.AfterFunc(ctx, func() {
		s.mu.Lock()
		s.changed.Broadcast()
		s.mu.Unlock()
	})
	defer stop()
	s.mu.Lock()
	defer s.mu.Unlock()
	for !done() {
		if err := ctx.Err(); err != nil {
			return err
		}
		s.changed.Wait()
	}
	return nil
}

// drain begins to drain: listeners are woken to take what the kernel holds for
// them, and connections wait no longer than until then.
func (s *Server) drain(until time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.draining.Load() {
		return
	}
	s.until = until
	s.draining.Store(true)
	close(s.stopping)
	for l := range s.listeners {
		if timed, ok := l.(interface{ SetDeadline(time.Time) error }); !ok || timed.SetDeadline(longAgo) != nil {
			l.Close()
		}
	}
	for c := range s.conns {
		c.mu.Lock()
		c.nudge(until)
		c.mu.Unlock()
	}
}

// empty admits what the kernel has accepted for a listener, for no longer than
// until Close.
func (s *Server) empty(l net.Listener) {
	timed, ok := l.(interface {
		SetDeadline(time.Time) error
		SyscallConn() (syscall.RawConn, error)
	})
	if !ok {
		return
	}
	raw, err := timed.SyscallConn()
	if err != nil {
		return
	}
	for s.closed.Err() == nil && pending(raw) && timed.SetDeadline(time.Now().Add(backlogWait)) == nil {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		s.admit(conn)
	}
}

// pending reports whether a listener has a connection to accept.
func pending(raw syscall.RawConn) bool {
	found := 0
	err := raw.Control(func(fd uintptr) {
		found, _ = unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 0)
	})
	return err == nil && found > 0
}

// sweep ends connections that have been idle for too long. It comes by now and
// then, so that a request costs no timer.
func (s *Server) sweep() {
	tick := time.NewTicker(max(s.o.Limits.Idle/rounds, time.Millisecond))
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-s.closed.Done():
			return
		}
		now := s.age.Add(1)
		s.mu.Lock()
		for c := range s.conns {
			c.expire(now)
		}
		s.mu.Unlock()
	}
}

// expire ends the wait of a connection that began long enough before a round.
func (c *Conn) expire(now uint32) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.nudged && now-c.age > rounds {
		c.nudge(longAgo)
	}
}
