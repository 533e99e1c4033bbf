package socket

import (
	"errors"
	"net"
	"os"
	"sync"
	"syscall"
	"time"

	"stranglerfig/strangler-proxy/kernel"
	"stranglerfig/strangler-proxy/loop"
)

// A connection is looked after by Go's poller at first. Where it enters a loop,
// its file descriptor is duplicated, because package net does not let go of one;
// and so it is where it leaves.

// Enter has a loop look after the connection. Nobody may be using it. On an error
// it is as it was.
func (c *Conn) Enter(l *loop.Loop) error {
	var fd int
	var failed error
	err := c.raw.Control(func(have uintptr) { fd, failed = kernel.Duplicate(have) })
	if err == nil {
		err = failed
	}
	if err != nil {
		return err
	}
	reserve.hold()
	on, err := l.Add(fd)
	if err != nil {
		syscall.Close(fd)
		return err
	}
	c.tcp.Close() // the duplicate is open
	c.tcp, c.raw, c.on = nil, nil, on
	return nil
}

// Leave has Go's poller look after the connection again. On an error it is
// closed.
func (c *Conn) Leave() error {
	if c.on == nil {
		return nil
	}
	c.tcp, c.raw = new(net.TCPConn), nowhere{}
	readBy, writeBy := c.on.Deadlines()
	fd, open := c.on.Remove()
	c.on = nil
	if !open {
		return net.ErrClosed
	}
	file := os.NewFile(uintptr(fd), "")
	conn, err := net.FileConn(file)
	if errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE) {
		conn, err = reserve.instead(func() (net.Conn, error) {
			defer file.Close() // which makes room for the reserve again
			return net.FileConn(file)
		})
	}
	file.Close()
	if err != nil {
		return err
	}
	conn.SetReadDeadline(readBy)
	conn.SetWriteDeadline(writeBy)
	return c.take(conn.(*net.TCPConn))
}

// reserve is a file descriptor that is held for connections that leave their loop
// while there is none left: they need two for a moment.
var reserve spare

type spare struct {
	mu   sync.Mutex
	held *os.File
}

// hold takes the descriptor, where it is not held yet.
func (s *spare) hold() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.take()
}

func (s *spare) take() {
	if s.held == nil {
		s.held, _ = os.Open(os.DevNull) // or else the next time
	}
}

// instead lets go of the descriptor for as long as it takes to open a connection.
func (s *spare) instead(open func() (net.Conn, error)) (net.Conn, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.held != nil {
		s.held.Close()
		s.held = nil
	}
	defer s.take()
	return open()
}

// nowhere is where a connection is that could not leave its loop.
type nowhere struct{}

func (nowhere) Control(func(uintptr)) error    { return net.ErrClosed }
func (nowhere) Read(func(uintptr) bool) error  { return net.ErrClosed }
func (nowhere) Write(func(uintptr) bool) error { return net.ErrClosed }

// Loop returns the loop that the connection is on; nil: it is on none.
func (c *Conn) Loop() *loop.Loop {
	if c.on == nil {
		return nil
	}
	return c.on.Loop()
}

// Unheard reports whether the loop that the connection is on has heard nothing of
// it that was not read. It costs less than Quiet and is a moment behind: how old
// what the loop has heard may be at a time is the caller's to say.
func (c *Conn) Unheard(now time.Time, age time.Duration) bool {
	return c.unheard() && now.Sub(c.on.Heard()) < age
}

func (c *Conn) unheard() bool { return c.on != nil && c.on.Quiet() }

// Interrupt sets the deadline for reads, also of one that is under way on a loop.
func (c *Conn) Interrupt(at time.Time) {
	if c.on != nil {
		c.on.Interrupt(at)
		return
	}
	c.tcp.SetReadDeadline(at)
}

// Cut ends the connection from outside.
func (c *Conn) Cut() {
	if c.on != nil {
		c.on.Cut()
		return
	}
	c.tcp.Close()
}

// readOn reads on a loop.
func (c *Conn) readOn(b []byte, l Lender) (int, error) {
	for {
		if err := c.on.Readable(); err != nil {
			return 0, err
		}
		if l != nil {
			b = l.Lend()
		}
		n, err := arrived(c.on.Read(b))
		if n == 0 && l != nil {
			l.Return()
		}
		switch {
		case err == ErrNothing:
			c.on.Dry()
			continue
		case n < len(b):
			c.on.Drained()
		}
		c.on.Spend()
		return n, c.failed("read", nil, err)
	}
}

// When waits until try says that it is done. It is asked at once, and whenever
// something may have come.
func (c *Conn) When(try func(fd uintptr) (done bool)) error {
	if c.on == nil {
		return c.raw.Read(try)
	}
	for !c.tryHeard(try) {
		c.on.Dry()
		if err := c.on.Readable(); err != nil {
			return err
		}
	}
	return nil
}

// tryHeard asks try, whose reads may take the loop's word that nothing has come.
func (c *Conn) tryHeard(try func(fd uintptr) (done bool)) bool {
	c.trusts = true
	defer func() { c.trusts = false }()
	return try(uintptr(c.on.FD()))
}

// Control shows the file descriptor.
func (c *Conn) Control(show func(fd uintptr)) error {
	if c.on == nil {
		return c.raw.Control(show)
	}
	show(uintptr(c.on.FD()))
	return nil
}

// ReadNow reads without waiting from the file descriptor that When or Control has
// shown: the error is [ErrNothing] where nothing has arrived.
func (c *Conn) ReadNow(fd uintptr, b []byte) (int, error) {
	if c.trusts && c.unheard() {
		return 0, ErrNothing
	}
	n, err := readAtOnce(fd, b)
	if c.on != nil && err == nil && n < len(b) {
		c.on.Drained()
	}
	return n, err
}

// writeOn writes on a loop. What was found when it was looked at holds for a moment
// only, so what is written next goes at once.
func (c *Conn) writeOn(b []byte) (written int, err error) {
	for written < len(b) {
		n, err := c.on.Write(b[written:], c.looked)
		c.looked = false
		switch {
		case err == syscall.EAGAIN:
			c.on.Full()
			if err := c.on.Writable(); err != nil {
				return written, err
			}
		case err != 0:
			return written, c.failed("write", nil, err)
		default:
			written += n
		}
	}
	c.on.Spend()
	return written, nil
}

// WriteBoth writes one after the other, as one.
func (c *Conn) WriteBoth(a, b []byte) error {
	if c.on == nil {
		both := net.Buffers{a, b}
		_, err := both.WriteTo(c.tcp)
		return err
	}
	n, err := kernel.WriteBoth(uintptr(c.on.FD()), a, b)
	if err != 0 {
		n = 0 // said again
	}
	if n < len(a) {
		if _, err := c.writeOn(a[n:]); err != nil {
			return err
		}
		n = len(a)
	}
	_, failed := c.writeOn(b[n-len(a):])
	return failed
}

// Close implements [net.Conn].
func (c *Conn) Close() error {
	if c.on == nil {
		return c.tcp.Close()
	}
	fd, open := c.on.Remove()
	if !open {
		return net.ErrClosed
	}
	return syscall.Close(fd)
}

// CloseWrite tells the other end that nothing more will be sent.
func (c *Conn) CloseWrite() error {
	if c.on == nil {
		return c.tcp.CloseWrite()
	}
	return c.failed("close", nil, syscall.Shutdown(c.on.FD(), syscall.SHUT_WR))
}

// Reset has the connection end with a reset when it is closed.
func (c *Conn) Reset() error {
	if c.on == nil {
		return c.tcp.SetLinger(0)
	}
	return syscall.SetsockoptLinger(c.on.FD(), syscall.SOL_SOCKET, syscall.SO_LINGER, &syscall.Linger{Onoff: 1})
}

// SetDeadline implements [net.Conn].
func (c *Conn) SetDeadline(t time.Time) error {
	if c.on == nil {
		return c.tcp.SetDeadline(t)
	}
	c.on.ReadBy(t)
	c.on.WriteBy(t)
	return nil
}

// SetReadDeadline implements [net.Conn].
func (c *Conn) SetReadDeadline(t time.Time) error {
	if c.on == nil {
		return c.tcp.SetReadDeadline(t)
	}
	c.on.ReadBy(t)
	return nil
}

// SetWriteDeadline implements [net.Conn].
func (c *Conn) SetWriteDeadline(t time.Time) error {
	if c.on == nil {
		return c.tcp.SetWriteDeadline(t)
	}
	c.on.WriteBy(t)
	return nil
}
