package listener

import (
	"errors"
	"os"

	"stranglerfig/strangler-proxy/socket"
)

// Await waits for a request's first bytes and returns how many of them are in
// the buffer that it was lent. While nothing comes no buffer is held, and the
// connection counts as idle: a drain ends it, and so does the limit on idle
// time. The head's own time begins when Await returns; no deadline for reads is
// in force then. On an error the connection is of no more use.
func (c *Conn) Await(l socket.Lender) (n int, err error) {
	if c.have > 0 {
		n, c.have = copy(l.Lend(), c.peeked[:c.have]), 0
		return n, nil
	}
	c.rest()
	n, err = c.first(l)
	if err == nil {
		c.Busy()
	}
	return n, err
}

// wait is how a connection waits for bytes under TLS: by the socket's file
// descriptor, reading only when something is there.
type wait struct {
	try func(fd uintptr) (done bool)

	lender socket.Lender // of the wait under way, and its result
	got    int
	failed error
}

// first waits for bytes. When the wait is ended from outside, what has arrived
// by then is still taken.
func (c *Conn) first(l socket.Lender) (int, error) {
	if c.bare != nil {
		n, err := c.bare.Await(l)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			if n, err = c.bare.Try(l); err == socket.ErrNothing {
				err = c.why()
			}
		}
		return n, err
	}
	if c.tcp == nil {
		return c.Conn.Read(l.Lend())
	}
	w := &c.wait
	w.lender, w.got, w.failed = l, 0, nil
	err := c.tcp.When(w.try)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		ended := true
		if err = c.tcp.Control(func(fd uintptr) { ended = !c.try(fd) }); err == nil && ended {
			err = c.why()
		}
	}
	w.lender = nil
	if err != nil {
		return 0, err
	}
	return w.got, w.failed
}

// why says what has ended a wait.
func (c *Conn) why() error {
	if c.Draining() {
		return ErrDraining
	}
	return ErrIdle
}

// try reads what is there; false: nothing is.
func (c *Conn) try(fd uintptr) bool {
	w := &c.wait
	buf := w.lender.Lend()
	c.below.now, c.below.fd = true, fd
	w.got, w.failed = c.Conn.Read(buf)
	c.below.now = false
	if w.got > 0 {
		return true
	}
	w.lender.Return()
	return w.failed != socket.ErrNothing
}
