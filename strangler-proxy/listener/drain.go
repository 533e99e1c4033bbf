package listener

import (
	"context"
	"net"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// firstRequest is how long a drain waits for the first request of a
	// connection that has not sent any yet: its client has every right to be
	// answered once.
	firstRequest = 2 * time.Second
	// backlogWait bounds an accept of a connection that the kernel has just
	// shown, should its client have gone since.
	backlogWait = 50 * time.Millisecond
	// rounds is how many times the sweeper comes by in the idle time.
	rounds = 8
)

// Shutdown drains. Nothing new is accepted but what the kernel had accepted
// already. Idle connections end, and those that are new once they have been
// answered; busy ones are waited for until ctx is done, whose error is then
// returned and Close is left to cut them.
//
// Nobody who had asked is dropped: a request that has arrived when its idle
// connection is looked at for the last time is answered. What can still be lost
// is what is on its way at that moment, and a connection that the kernel accepts
// between our last look and the end of the listening socket; both are reset
// before a byte of an answer, so that clients may ask again.
//
// HTTP/2 connections are told to go away after the new ones among them had
// their moment. What a client sends after that it must ask again elsewhere, as
// HTTP/2 has it.
func (s *Server) Shutdown(ctx context.Context) error {
	s.drain()
	moment, cancel := context.WithTimeout(ctx, firstRequest)
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
	s.drain()
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
		c.socket.Close()
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
// them, and connections that wait are told to look once more and end.
func (s *Server) drain() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.draining.Swap(true) {
		return
	}
	close(s.stopping)
	for l := range s.listeners {
		if timed, ok := l.(interface{ SetDeadline(time.Time) error }); !ok || timed.SetDeadline(longAgo) != nil {
			l.Close()
		}
	}
	for c := range s.conns {
		c.mu.Lock()
		c.nudge()
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
	if c.state != busy && !c.nudged && now-c.age > rounds {
		c.nudged = true
		c.Conn.SetReadDeadline(longAgo)
	}
}
