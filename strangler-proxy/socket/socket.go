// Package socket reads from and writes to TCP connections for less than
// package net does, which matters where a proxy does little else.
//
// Before each call of the kernel package net tells Go's scheduler that the
// thread may be gone for long, and asks for leave to go on afterwards. Sockets
// never keep a thread waiting, so nobody is told here. That saves more than
// the telling: sending takes the kernel a while, in which the scheduler takes
// the processor away from a thread that it believes to be gone, wakes another
// one, and keeps a third awake to look for such threads.
//
// Waiting, deadlines included, is left to Go's poller or to a loop's: see
// [Conn.Enter]. Start at [New].
package socket

import (
	"errors"
	"io"
	"net"
	"os"
	"syscall"

	"stranglerfig/strangler-proxy/kernel"
	"stranglerfig/strangler-proxy/loop"
)

// Conn is a TCP connection. One goroutine may read and another one may write at
// the same time; the methods that do both count as reading.
//
// It may be on a loop, see [Conn.Enter]. Then it belongs to one of the loop's
// tasks, and waiting lets the loop's others go on.
type Conn struct {
	tcp *net.TCPConn // nil on a loop
	raw syscall.RawConn
	on  *loop.Source // nil: Go's poller looks after it

	trusts bool // reads take the loop's word that nothing has come
	looked bool // on a loop, since something was written

	local, remote net.Addr

	in, out transfer
	asked   []byte // what [Conn.Ask] has still to send
	read    func(fd uintptr) bool
	write   func(fd uintptr) bool
	ask     func(fd uintptr) bool
	look    func(fd uintptr)
	last    func(fd uintptr)
	quiet   bool // what look found
}

// transfer is a read or a write under way.
type transfer struct {
	lender Lender // of the buffer that is read into; nil: b is read into
	b      []byte // what is read into, or is still to be written
	n      int    // bytes that were moved
	err    error
}

// Lender lends a buffer for as long as there is something to put into it.
type Lender interface {
	// Lend returns a buffer to read into.
	Lend() []byte
	// Return takes the buffer back: there was nothing to read.
	Return()
}

// New returns a connection in place of one of package net.
func New(tcp *net.TCPConn) (*Conn, error) {
	c := &Conn{local: tcp.LocalAddr(), remote: tcp.RemoteAddr()}
	if err := c.take(tcp); err != nil {
		return nil, err
	}
	c.read, c.write, c.ask, c.look = c.tryRead, c.tryWrite, c.tryAsk, c.peek
	c.last = func(fd uintptr) { c.tryRead(fd) }
	return c, nil
}

// take has Go's poller look after the connection.
func (c *Conn) take(tcp *net.TCPConn) (err error) {
	c.tcp = tcp
	c.raw, err = tcp.SyscallConn()
	return err
}

// TCP returns the connection of package net; nil on a loop.
func (c *Conn) TCP() *net.TCPConn { return c.tcp }

// LocalAddr implements [net.Conn].
func (c *Conn) LocalAddr() net.Addr { return c.local }

// RemoteAddr implements [net.Conn].
func (c *Conn) RemoteAddr() net.Addr { return c.remote }

// Read implements [net.Conn].
func (c *Conn) Read(b []byte) (int, error) {
	if len(b) == 0 {
		return 0, nil
	}
	if c.on != nil {
		return c.readOn(b, nil)
	}
	c.in = transfer{b: b}
	return c.finishRead(c.raw.Read(c.read))
}

// Await reads into a buffer that is lent only when there is something to read.
func (c *Conn) Await(l Lender) (int, error) {
	if c.on != nil {
		return c.readOn(nil, l)
	}
	c.in = transfer{lender: l}
	return c.finishRead(c.raw.Read(c.read))
}

// Try reads what is there: the error is [ErrNothing] where nothing is.
func (c *Conn) Try(l Lender) (int, error) {
	if c.on != nil {
		n, err := readAtOnce(uintptr(c.on.FD()), l.Lend())
		if n == 0 {
			l.Return()
		}
		return n, err
	}
	c.in = transfer{lender: l}
	return c.finishRead(c.raw.Control(c.last))
}

// ErrNothing is what a read gives that does not wait. TLS takes it for a
// deadline that has passed, after which it may go on.
var ErrNothing error = nothingError{}

type nothingError struct{}

func (nothingError) Error() string   { return "nothing has arrived" }
func (nothingError) Timeout() bool   { return true }
func (nothingError) Temporary() bool { return true }

// NotAskedError is an error that kept [Conn.Ask] from sending all of a question.
type NotAskedError struct{ Err error }

func (e *NotAskedError) Error() string { return e.Err.Error() }

// Unwrap returns the cause.
func (e *NotAskedError) Unwrap() error { return e.Err }

// Ask writes a question and waits for the first bytes of the answer, as Write
// and Await after each other would. But it listens before it speaks, and so need
// not look in vain for an answer that cannot be there yet. Until it was asked
// nothing may have arrived: see [Conn.Quiet]. Should the other end stop sending
// between that look and the question, this is noticed when the time to answer is
// over, and the error is io.EOF. It is a [NotAskedError] where the question was
// not sent whole.
func (c *Conn) Ask(question []byte, l Lender) (int, error) {
	if c.on != nil {
		if _, err := c.writeOn(question); err != nil {
			return 0, &NotAskedError{err}
		}
		return c.readOn(nil, l)
	}
	c.asked = question
	c.in = transfer{lender: l}
	err := c.raw.Read(c.ask)
	switch {
	case c.in.err == errStuck || c.asked != nil && errors.Is(err, os.ErrDeadlineExceeded):
		// The backend takes it piece by piece, or the time to answer was over
		// before the question could be put.
		rest := c.asked
		c.asked = nil
		if _, err := c.Write(rest); err != nil {
			return 0, &NotAskedError{err}
		}
		return c.Await(l)
	case c.asked != nil:
		c.asked = nil
		return 0, &NotAskedError{errors.Join(err, c.in.err)}
	case errors.Is(err, os.ErrDeadlineExceeded):
		// What came before we listened has woken nobody.
		if c.raw.Control(c.last) == nil && c.in.err != ErrNothing {
			err = nil
		}
	}
	return c.finishRead(err)
}

// errStuck ends an attempt to ask in one go.
var errStuck = errors.New("the question is not taken whole")

// Write implements [net.Conn].
func (c *Conn) Write(b []byte) (int, error) {
	if c.on != nil {
		return c.writeOn(b)
	}
	c.out = transfer{b: b}
	err := c.raw.Write(c.write)
	n := c.out.n
	err = c.failed("write", err, c.out.err)
	c.out = transfer{}
	return n, err
}

// Quiet reports whether the other end has left the connection open and has not
// sent anything that was not read.
func (c *Conn) Quiet() bool {
	if c.on != nil {
		c.looked = true
		return c.unheard() && kernel.Quiet(uintptr(c.on.FD()))
	}
	return c.raw.Control(c.look) == nil && c.quiet
}

func (c *Conn) finishRead(err error) (int, error) {
	n := c.in.n
	err = c.failed("read", err, c.in.err)
	c.in = transfer{}
	return n, err
}

// failed tells an error of the kernel as package net does.
func (c *Conn) failed(op string, waiting, calling error) error {
	switch {
	case waiting != nil:
		return waiting
	case calling == nil, calling == io.EOF, calling == ErrNothing:
		return calling
	case calling == syscall.EBADF: // on a loop, where nobody else can tell
		calling = net.ErrClosed
	}
	return &net.OpError{Op: op, Net: "tcp", Source: c.local, Addr: c.remote, Err: os.NewSyscallError(op, calling)}
}

// tryRead reads what is there; false: nothing is.
func (c *Conn) tryRead(fd uintptr) bool {
	in := &c.in
	b := in.b
	if in.lender != nil {
		b = in.lender.Lend()
	}
	in.n, in.err = readAtOnce(fd, b)
	if in.n == 0 && in.lender != nil {
		in.lender.Return()
	}
	return in.err != ErrNothing
}

// tryWrite writes what can be taken; false: there is more.
func (c *Conn) tryWrite(fd uintptr) bool {
	out := &c.out
	for len(out.b) > 0 {
		n, err := kernel.Write(fd, out.b)
		switch {
		case err == syscall.EAGAIN:
			return false
		case err != 0:
			out.err = err
			return true
		default:
			out.n += n
			out.b = out.b[n:]
		}
	}
	return true
}

// tryAsk sends the question when it is called first, and then reads what is
// there.
func (c *Conn) tryAsk(fd uintptr) bool {
	if c.asked == nil {
		return c.tryRead(fd)
	}
	for {
		n, err := kernel.Write(fd, c.asked)
		switch {
		case err == syscall.EAGAIN:
			c.in.err = errStuck
			return true
		case err != 0:
			c.in.err = &net.OpError{Op: "write", Net: "tcp", Source: c.local, Addr: c.remote, Err: os.NewSyscallError("write", err)}
			return true
		}
		if c.asked = c.asked[n:]; len(c.asked) == 0 {
			c.asked = nil
			return false
		}
	}
}

// peek looks without reading.
func (c *Conn) peek(fd uintptr) { c.quiet = kernel.Quiet(fd) }

// readAtOnce reads without waiting: the error is [ErrNothing] where nothing has
// arrived, and io.EOF where nothing will.
func readAtOnce(fd uintptr, b []byte) (int, error) {
	return arrived(kernel.Read(fd, b))
}

// arrived says what a read without waiting has found.
func arrived(n int, err syscall.Errno) (int, error) {
	switch {
	case err == syscall.EAGAIN:
		return 0, ErrNothing
	case err != 0:
		return 0, err
	case n == 0:
		return 0, io.EOF
	}
	return n, nil
}
