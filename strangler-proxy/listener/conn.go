package listener

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"sync"
	"time"

	"stranglerfig/strangler-proxy/loop"
	"stranglerfig/strangler-proxy/socket"
)

// Conn is a client's connection. One goroutine serves it, or a task on a loop
// until it leaves. Its net.Conn is a *tls.Conn where it is encrypted; in clear
// text it is a *net.TCPConn off a loop, for those who splice.
type Conn struct {
	net.Conn
	Secure bool // it came over TLS

	server *Server
	socket net.Conn     // what is below; in clear text the same
	tcp    *socket.Conn // the socket, where it is one of TCP
	bare   *socket.Conn // the same in clear text: reads and writes for less than Conn does; nil: Conn does
	below  *below       // between TLS, or net/http, and the socket
	asked  bool         // it has begun to ask; guarded by the server's lock
	wait   wait

	peeked [len(preface)]byte
	have   int
	task   *loop.Task // nil: it is served by an ordinary goroutine

	mu     sync.Mutex // guards everything below
	busy   bool       // a request has begun
	age    uint32     // the sweeper's round in which it began to wait
	nudged bool       // its wait is ended by a deadline
	timed  bool       // the caller has set one
}

var (
	// ErrIdle ends a connection that has asked nothing for as long as may be.
	ErrIdle = errors.New("the connection was idle for too long")
	// ErrDraining ends a connection that is idle when the server drains.
	ErrDraining = errors.New("the server is going away")
)

func newConn(s *Server, conn net.Conn) *Conn {
	c := &Conn{Conn: conn, socket: conn, server: s, age: s.age.Load()}
	if tcp, ok := conn.(*net.TCPConn); ok {
		if bare, err := socket.New(tcp); err == nil {
			c.socket, c.tcp, c.bare = bare, bare, bare
		}
	}
	if s.tls != nil {
		c.below = &below{Conn: c.socket, tcp: c.tcp}
		c.Conn, c.Secure, c.bare = tls.Server(c.below, s.tls), true, nil
		c.wait.try = c.try
	}
	return c
}

// Read implements [net.Conn].
func (c *Conn) Read(b []byte) (int, error) {
	if c.bare != nil {
		return c.bare.Read(b)
	}
	return c.Conn.Read(b)
}

// Write implements [net.Conn].
func (c *Conn) Write(b []byte) (int, error) {
	if c.bare != nil {
		return c.bare.Write(b)
	}
	return c.Conn.Write(b)
}

// Idle notes that the connection waits for a request. false: the server is
// draining, so it should be closed.
func (c *Conn) Idle() bool {
	c.rest()
	return !c.Draining()
}

// rest lets the connection wait; when the server drains, not for long.
func (c *Conn) rest() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.busy, c.age = false, c.server.age.Load()
	if c.timed {
		c.timed = false
		c.Conn.SetReadDeadline(time.Time{})
	}
	if c.server.draining.Load() {
		c.nudge(c.server.until)
	}
}

// nudge ends the wait of a connection at a time. c.mu is held.
func (c *Conn) nudge(at time.Time) {
	if !c.busy {
		c.nudged = true
		if c.tcp != nil {
			c.tcp.Interrupt(at)
		} else {
			c.Conn.SetReadDeadline(at)
		}
	}
}

// enter has a loop look after the connection; false: it does not.
func (c *Conn) enter(l *loop.Loop) bool {
	if l == nil || c.tcp == nil {
		return false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.tcp.Enter(l) != nil {
		return false
	}
	if !c.Secure {
		c.Conn = c.tcp
	}
	return true
}

// Task returns the task that serves the connection while it is on a loop; nil
// when it is on none.
func (c *Conn) Task() *loop.Task { return c.task }

// Leave has whoever serves the connection go on as an ordinary goroutine. On an
// error the connection is closed.
func (c *Conn) Leave() error {
	if c.task == nil {
		return nil
	}
	c.mu.Lock()
	err := c.tcp.Leave()
	if !c.Secure {
		c.Conn = c.tcp.TCP()
	}
	c.mu.Unlock()
	c.task.Leave()
	c.task = nil
	return err
}

// Reset has the connection end with a reset when it is closed, where it is in
// clear text.
func (c *Conn) Reset() {
	if c.bare != nil {
		c.bare.Reset()
	}
}

// WriteBoth writes one after the other, in one go where it is in clear text.
func (c *Conn) WriteBoth(one, other []byte) error {
	if c.bare != nil {
		return c.bare.WriteBoth(one, other)
	}
	if _, err := c.Conn.Write(one); err != nil {
		return err
	}
	_, err := c.Conn.Write(other)
	return err
}

// cut ends the connection from outside.
func (c *Conn) cut() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.tcp != nil {
		c.tcp.Cut()
	} else {
		c.socket.Close()
	}
}

var longAgo = time.Unix(1, 0)

// Busy notes that a request has begun. false: the connection has been idle for
// too long or the server is draining, and its reads had been told to end.
// Whatever it says, reads are in order again.
func (c *Conn) Busy() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.busy = true
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
