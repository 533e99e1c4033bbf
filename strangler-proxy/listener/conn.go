package listener

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Conn is a client's connection. One goroutine serves it. Its net.Conn is a
// *net.TCPConn in clear text, for those who splice, and a *tls.Conn otherwise.
type Conn struct {
	net.Conn
	Secure bool // it came over TLS

	server *Server
	socket net.Conn        // what is below, in clear text the same
	raw    syscall.RawConn // of the socket; nil where there is none
	ready  func(fd uintptr) bool
	below  *below // between TLS, or net/http, and the socket
	asked  bool   // it has sent a request, or is HTTP/1 and has begun to; guarded by the server's lock

	lender Lender // of the wait under way
	got    int
	failed error

	peeked [len(preface)]byte
	have   int

	mu     sync.Mutex // guards everything below
	state  state
	age    uint32 // the sweeper's round in which it became idle
	nudged bool   // its wait is ended by a deadline
	timed  bool   // the caller has set one
}

// state is what a connection does.
type state uint8

const (
	fresh state = iota // nothing has come yet
	idle               // between two requests
	busy
)

// Lender lends a buffer for as long as there is something to put into it.
type Lender interface {
	// Lend returns a buffer to read into.
	Lend() []byte
	// Return takes the buffer back: there was nothing to read.
	Return()
}

var (
	// ErrIdle ends a connection that has asked nothing for as long as may be.
	ErrIdle = errors.New("the connection was idle for too long")
	// ErrDraining ends a connection that is idle when the server drains.
	ErrDraining = errors.New("the server is going away")
)

func newConn(s *Server, conn net.Conn) *Conn {
	c := &Conn{Conn: conn, socket: conn, server: s, age: s.age.Load()}
	if s.tls != nil {
		c.below = &below{Conn: conn}
		c.Conn, c.Secure = tls.Server(c.below, s.tls), true
	}
	if socket, ok := conn.(syscall.Conn); ok {
		if raw, err := socket.SyscallConn(); err == nil {
			c.raw, c.ready = raw, c.tryRead
		}
	}
	return c
}

// Await waits for a request's first bytes and returns how many of them are in
// the buffer that it was lent. While nothing comes no buffer is held, and the
// connection counts as idle: a drain ends it, and so does the limit on idle
// time. The head's own time begins when Await returns; no deadline for reads is
// in force then. On an error the connection is of no more use.
func (c *Conn) Await(l Lender) (n int, err error) {
	if c.have > 0 {
		n, c.have = copy(l.Lend(), c.peeked[:c.have]), 0
		return n, nil
	}
	c.rest(idle)
	n, err = c.first(l)
	if err == nil {
		c.Busy()
	}
	return n, err
}

// first waits for bytes. When the wait is ended from outside, what has arrived
// by then is still taken.
func (c *Conn) first(l Lender) (n int, err error) {
	n, err = c.wait(l)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		if n, err = c.look(l); n == 0 && err == nil {
			err = ErrIdle
			if c.Draining() {
				err = ErrDraining
			}
		}
	}
	return n, err
}

// wait reads with a buffer that is lent once there may be bytes.
func (c *Conn) wait(l Lender) (int, error) {
	if c.Secure || c.raw == nil {
		return c.waitForOne(l)
	}
	c.lender, c.got, c.failed = l, 0, nil
	defer func() { c.lender = nil }()
	if err := c.raw.Read(c.ready); err != nil {
		return 0, err
	}
	return c.got, c.failed
}

// tryRead reads what is there; false: nothing is.
func (c *Conn) tryRead(fd uintptr) bool {
	buf := c.lender.Lend()
	for {
		n, err := syscall.Read(int(fd), buf)
		switch {
		case err == syscall.EINTR:
			continue
		case err == syscall.EAGAIN:
			c.lender.Return()
			return false
		case err != nil:
			c.failed = os.NewSyscallError("read", err)
		case n == 0:
			c.failed = io.EOF
		}
		if c.failed != nil {
			c.lender.Return()
			n = 0
		}
		c.got = n
		return true
	}
}

// waitForOne reads a single byte: what decrypts keeps the others for the next
// read.
func (c *Conn) waitForOne(l Lender) (int, error) {
	n, err := c.Conn.Read(c.peeked[:1])
	if n == 0 {
		return 0, err
	}
	return copy(l.Lend(), c.peeked[:1]), nil
}

// look takes what has arrived, without waiting.
func (c *Conn) look(l Lender) (n int, err error) {
	if c.raw == nil {
		return 0, nil
	}
	if c.Secure {
		return c.lookBelow(l)
	}
	c.lender, c.got, c.failed = l, 0, nil
	defer func() { c.lender = nil }()
	if err := c.raw.Control(func(fd uintptr) { c.tryRead(fd) }); err != nil {
		return 0, err
	}
	return c.got, c.failed
}

// lookBelow reads on where encrypted bytes have arrived.
func (c *Conn) lookBelow(l Lender) (n int, err error) {
	arrived := false
	err = c.raw.Control(func(fd uintptr) {
		var one [1]byte
		n, _, err := unix.Recvfrom(int(fd), one[:], unix.MSG_PEEK|unix.MSG_DONTWAIT)
		arrived = n > 0 && err == nil
	})
	if err != nil || !arrived {
		return 0, err
	}
	c.Busy()
	c.Conn.SetReadDeadline(time.Now().Add(c.server.o.Limits.Head))
	defer c.Conn.SetReadDeadline(time.Time{})
	return c.waitForOne(l)
}

// Idle notes that the connection waits for a request. false: the server is
// draining, so it should be closed.
func (c *Conn) Idle() bool {
	c.rest(idle)
	return !c.Draining()
}

// rest lets the connection wait, not at all when the server drains and it has
// been served before.
func (c *Conn) rest(as state) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.state, c.age = as, c.server.age.Load()
	if c.timed {
		c.timed = false
		c.Conn.SetReadDeadline(time.Time{})
	}
	if c.server.draining.Load() {
		c.nudge()
	}
}

// nudge ends the wait of a connection, unless it is busy. A fresh one may still
// ask for a moment. c.mu is held.
func (c *Conn) nudge() {
	switch c.state {
	case idle:
		c.nudged = true
		c.Conn.SetReadDeadline(longAgo)
	case fresh:
		c.nudged = true
		c.Conn.SetReadDeadline(time.Now().Add(firstRequest))
	}
}

var longAgo = time.Unix(1, 0)

// Busy notes that a request has begun. false: the connection has been idle for
// too long or the server is draining, and its reads had been told to end.
// Whatever it says, reads are in order again.
func (c *Conn) Busy() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.state = busy
	if !c.nudged {
		return true
	}
	c.nudged = false
	c.Conn.SetReadDeadline(time.Time{})
	return false
}

// SetReadDeadline implements [net.Conn]. The deadline lasts until the next Await.
func (c *Conn) SetReadDeadline(t time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.timed = !t.IsZero()
	return c.Conn.SetReadDeadline(t)
}

// SetDeadline implements [net.Conn]. For reads it lasts until the next Await.
func (c *Conn) SetDeadline(t time.Time) error {
	return errors.Join(c.SetReadDeadline(t), c.Conn.SetWriteDeadline(t))
}

// Draining reports whether the server goes away, so that an answer should say
// that the connection closes.
func (c *Conn) Draining() bool { return c.server.Draining() }

// Closed is done when the server stops waiting for its connections: whatever is
// done for a client should end.
func (c *Conn) Closed() context.Context { return c.server.closed }

// Peeked returns the bytes that were read while it was found out what the
// client speaks. They are the caller's to read first; Await returns them by
// itself if it is called before.
func (c *Conn) Peeked() []byte {
	bytes := c.peeked[:c.have]
	c.have = 0
	return bytes
}
