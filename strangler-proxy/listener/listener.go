// Package listener accepts clients' connections: it bounds how many there are,
// ends TLS, tells HTTP/2 from HTTP/1, and drains. A connection that speaks
// HTTP/1 is handed to a function of the caller's; HTTP/2 is served by net/http
// with the caller's handler.
//
// An idle connection costs a small goroutine, or a task, and no buffer: see [Conn.Await].
//
// Start at [New]. What becomes of a connection is [Server.serve].
package listener

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"stranglerfig/strangler-proxy/loop"
)

// Options are what a server is made of.
type Options struct {
	// HTTP1 serves a connection until it ends; required. It is called on a
	// goroutine of the server's, or on a task of one of the loops, which must not
	// wait for anything but the connection before it leaves: see [Conn.Leave]. The
	// server waits for it and closes the connection when it returns.
	HTTP1 func(c *Conn)
	// HTTP2 answers the requests of HTTP/2 connections; required.
	HTTP2 http.Handler
	// TLS is what the server proves itself with; nil serves clear text.
	TLS *Certificates
	// Loops are what connections are served on while they speak HTTP/1, after the
	// handshake where there is one; nil: each has a goroutine.
	Loops *loop.Group
	// Limits bound what clients may take.
	Limits Limits
	// Refused is told why something was not served, for the metrics: one of
	// [Reasons]. nil is told nothing.
	Refused func(reason string)
	// Panicked is told what went wrong with a connection, which ends; nil: nobody
	// is.
	Panicked func(reason any, stack []byte)
}

// Limits bound what clients may take; zero values mean the defaults.
type Limits struct {
	Connections int           // open at a time; default 20,000
	Head        time.Duration // from the first byte of a head to its last, and for a TLS handshake; default 10 s
	Idle        time.Duration // without a request; default 120 s
	Stall       time.Duration // of an HTTP/2 client that takes no byte; default 60 s
	Streams     int           // of an HTTP/2 connection at a time; default 250
	HeadBytes   int           // of an HTTP/2 request's head; default 64 KiB
}

// What Refused is told.
const (
	TooMany   = "connections" // there are as many connections as may be
	Accept    = "accept"      // the kernel gave an error instead of a connection
	Handshake = "handshake"   // TLS did not come about
	ClearText = "clear-text"  // a request came in clear text where TLS is spoken
	Slow      = "slow"        // a handshake, or the beginning of a first head, took too long
)

// Reasons lists what Refused may be told.
var Reasons = []string{TooMany, Accept, Handshake, ClearText, Slow}

func (l Limits) withDefaults() Limits {
	fill := func(have *time.Duration, otherwise time.Duration) {
		if *have == 0 {
			*have = otherwise
		}
	}
	fill(&l.Head, 10*time.Second)
	fill(&l.Idle, 120*time.Second)
	fill(&l.Stall, 60*time.Second)
	if l.Connections == 0 {
		l.Connections = 20_000
	}
	if l.Streams == 0 {
		l.Streams = 250
	}
	if l.HeadBytes == 0 {
		l.HeadBytes = 64 << 10
	}
	return l
}

// Server serves clients. It is safe for concurrent use.
type Server struct {
	o     Options
	http2 *http2Server
	tls   *tls.Config // nil in clear text
	// partings bounds those who are sent away and may still listen.
	partings chan struct{}

	draining atomic.Bool
	until    time.Time     // how long connections may still wait; set before draining is
	age      atomic.Uint32 // counts the sweeper's rounds
	closed   context.Context
	close    context.CancelFunc
	stopping chan struct{}  // closed when draining begins
	wg       sync.WaitGroup // every goroutine of the server

	mu        sync.Mutex // guards everything below
	changed   *sync.Cond // one of them has become less
	started   bool
	listeners map[net.Listener]bool
	conns     map[*Conn]bool
	beginning int // connections that have not asked anything yet
	streams   int // requests of HTTP/2 connections under way
}

// New returns a server that listens to nothing yet.
func New(o Options) *Server {
	o.Limits = o.Limits.withDefaults()
	if o.Refused == nil {
		o.Refused = func(string) {}
	}
	if o.Panicked == nil {
		o.Panicked = func(any, []byte) {}
	}
	s := &Server{o: o, stopping: make(chan struct{}), partings: make(chan struct{}, mostPartings), listeners: map[net.Listener]bool{}, conns: map[*Conn]bool{}}
	s.changed = sync.NewCond(&s.mu)
	s.closed, s.close = context.WithCancel(context.Background())
	if o.TLS != nil {
		s.tls = o.TLS.config()
	}
	s.http2 = newHTTP2(s)
	return s
}

// Connections returns how many connections are open.
func (s *Server) Connections() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.conns)
}

// Draining reports whether the server is going away.
func (s *Server) Draining() bool { return s.draining.Load() }

const (
	leastPause = 5 * time.Millisecond // after an error of accept
	mostPause  = time.Second
)

// Serve accepts connections until Shutdown or Close, and then returns
// http.ErrServerClosed. No error of a single connection ends it, nor does a
// lack of file descriptors: it tries again after a pause.
func (s *Server) Serve(l net.Listener) error {
	if !s.listen(l) {
		return errors.Join(http.ErrServerClosed, l.Close())
	}
	defer s.unlisten(l)
	pause := leastPause
	for {
		conn, err := l.Accept()
		switch {
		case err == nil:
			pause = leastPause
			s.admit(conn)
			continue
		case s.draining.Load():
			s.empty(l)
			return http.ErrServerClosed
		case errors.Is(err, net.ErrClosed):
			return err
		}
		s.o.Refused(Accept)
		select {
		case <-time.After(pause):
			pause = min(2*pause, mostPause)
		case <-s.stopping:
		}
	}
}

// listen notes a listener, and with the first one starts what serves them all.
// false: the server is going away.
func (s *Server) listen(l net.Listener) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.draining.Load() {
		return false
	}
	if !s.started {
		s.started = true
		s.wg.Go(s.http2.serve)
		s.wg.Go(s.sweep)
	}
	s.listeners[l] = true
	return true
}

func (s *Server) unlisten(l net.Listener) {
	l.Close() // it is gone, or nobody wants it any more
	s.mu.Lock()
	delete(s.listeners, l)
	s.changed.Broadcast()
	s.mu.Unlock()
}

// admit serves a connection, if there may be one more.
func (s *Server) admit(conn net.Conn) {
	c := newConn(s, conn)
	s.mu.Lock()
	full := len(s.conns) >= s.o.Limits.Connections
	if !full {
		s.conns[c] = true
		s.beginning++
	}
	s.mu.Unlock()
	if full {
		s.o.Refused(TooMany)
		s.sendAway(c)
		return
	}
	if c.Secure || !s.loops(c) {
		s.wg.Go(func() { s.serve(c) })
	}
}

// loops has a loop serve a connection from here on; false: none does.
func (s *Server) loops(c *Conn) bool {
	l := s.o.Loops.Pick()
	if !c.enter(l) {
		return false
	}
	s.wg.Add(1)
	l.Go(func(t *loop.Task) {
		defer s.wg.Done()
		c.task = t
		s.guarded(c, s.converse)
	})
	return true
}

// begun notes that a connection has begun to ask, and whom. s.mu is held.
func (s *Server) begun(c *Conn) {
	if !c.asked {
		c.asked = true
		s.beginning--
		s.changed.Broadcast()
	}
}

// gone forgets a connection that has ended.
func (s *Server) gone(c *Conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.begun(c)
	delete(s.conns, c)
	s.changed.Broadcast()
}
