package upstream

import (
	"context"
	"io"
	"net"
	"slices"
	"sync/atomic"
	"time"

	"stranglerfig/strangler-proxy/loop"
	"stranglerfig/strangler-proxy/socket"
)

// Conn is a connection to a backend on which HTTP/1.1 is spoken, one request
// at a time. It must be ended by Keep or Close.
type Conn struct {
	net.Conn
	backend  *Backend
	endpoint *endpoint
	tcp      *socket.Conn // below TLS, or the same
	way      *way
	born     time.Time
	since    time.Time // it is idle
	closed   atomic.Bool
	waited   bool
	takeBy   time.Time // deadline of what is written
	sendBy   time.Time // deadline of what is read
}

// TCP returns the connection when nothing is between it and the bytes that are
// spoken; nil under TLS.
func (c *Conn) TCP() *net.TCPConn {
	if c.Plain() {
		return c.tcp.TCP()
	}
	return nil
}

// Plain reports whether nothing is between the connection and the bytes that are
// spoken.
func (c *Conn) Plain() bool { return c.Conn == net.Conn(c.tcp) }

// Leave takes the connection off its loop. On an error it is of no more use.
func (c *Conn) Leave() error { return c.tcp.Leave() }

// enter has a loop look after the connection, which knows no deadlines then. It
// stays where it is if there is no file descriptor left.
func (c *Conn) enter(l *loop.Loop) {
	if c.tcp.Enter(l) == nil {
		c.takeBy, c.sendBy = time.Time{}, time.Time{}
	}
}

// On returns the loop that the connection is on; nil: it is on none.
func (c *Conn) On() *loop.Loop { return c.tcp.Loop() }

// Waited reports whether it took a while to get this connection.
func (c *Conn) Waited() bool { return c.waited }

// Used reports whether there was a request on it before the present one.
func (c *Conn) Used() bool { return !c.since.IsZero() }

// Ask writes a request and waits for the first bytes of the answer, which go
// into a buffer that is lent as soon as they are there. The error is a
// [socket.NotAskedError] where the request was not sent whole.
func (c *Conn) Ask(request []byte, l socket.Lender) (int, error) {
	if c.Plain() {
		return c.tcp.Ask(request, l)
	}
	if _, err := c.Conn.Write(request); err != nil {
		return 0, &socket.NotAskedError{Err: err}
	}
	return c.Conn.Read(l.Lend())
}

// ReadFrom lets io.Copy have the kernel move bytes where it can.
func (c *Conn) ReadFrom(r io.Reader) (int64, error) {
	if tcp := c.TCP(); tcp != nil {
		return tcp.ReadFrom(r)
	}
	return io.Copy(struct{ io.Writer }{c.Conn}, r)
}

// CloseWrite tells the backend that nothing more will be sent.
func (c *Conn) CloseWrite() error {
	return c.Conn.(interface{ CloseWrite() error }).CloseWrite()
}

// MayTake gives the backend a time to take what is written. Deadlines cost
// something, so one that is off by less than an eighth stays.
func (c *Conn) MayTake(now time.Time, limit time.Duration) {
	if by := now.Add(limit); by.Sub(c.takeBy) > limit/8 {
		c.Conn.SetWriteDeadline(by)
		c.takeBy = by
	}
}

// MaySend gives the backend a time to send something, or up to half as much
// again: see MayTake.
func (c *Conn) MaySend(now time.Time, limit time.Duration) {
	if d := c.sendBy.Sub(now); d < limit || d > 2*limit {
		c.sendBy = now.Add(limit + limit/2)
		c.Conn.SetReadDeadline(c.sendBy)
	}
}

// SetReadDeadline implements [net.Conn].
func (c *Conn) SetReadDeadline(t time.Time) error {
	c.sendBy = time.Time{}
	return c.Conn.SetReadDeadline(t)
}

// SetWriteDeadline implements [net.Conn].
func (c *Conn) SetWriteDeadline(t time.Time) error {
	c.takeBy = time.Time{}
	return c.Conn.SetWriteDeadline(t)
}

// Cut ends the connection from outside: whoever reads from it finds its end, or an
// error.
func (c *Conn) Cut() { c.tcp.Cut() }

// Close ends the connection. Closing it again does nothing.
func (c *Conn) Close() error {
	if c.closed.Swap(true) {
		return nil
	}
	c.way.open.Add(-1)
	err := c.Conn.Close()
	c.backend.giveSlot()
	return err
}

// Keep puts the connection back for the next request.
func (c *Conn) Keep(now time.Time) {
	b, e := c.backend, c.endpoint
	c.since = now
	if c.way != b.way.Load() || c.since.Sub(c.born) > b.o.Limits.Age {
		c.Close()
		return
	}
	e.mu.Lock()
	spare := c // what is not kept
	if limit := b.o.Limits.Idle; limit > 0 && !b.ended.Load() {
		spare = nil
		if len(e.idle) >= limit {
			// The one that was used longest ago: it may be where nobody looks for it.
			spare = e.idle[0]
			e.idle = slices.Delete(e.idle, 0, 1)
		}
		e.idle = append(e.idle, c)
	}
	e.mu.Unlock()
	if spare != nil {
		spare.Close()
	}
	if spare != c {
		b.nudge()
	}
}

// reuse returns an idle connection of an endpoint, the last one used first;
// nil where there is none. One that the backend has closed is not used, nor one
// on which it sent something: that would be taken for the next answer.
func (b *Backend) reuse(e *endpoint, want Want, now time.Time) *Conn {
	way := b.way.Load()
	for {
		c := e.takeIdle(want.Task.Loop())
		if c == nil {
			return nil
		}
		if c.way == way && now.Sub(c.since) < b.o.Limits.IdleFor && c.quiet(want.Sure, now) {
			return c
		}
		c.Close()
	}
}

// unheardFor is how old what a loop has heard of an idle connection may be, not to
// be heard again.
const unheardFor = time.Millisecond

// quiet reports whether nothing has come on an idle connection, nor its end. To be
// sure it is looked at.
func (c *Conn) quiet(sure bool, now time.Time) bool {
	return !sure && c.tcp.Unheard(now, unheardFor) || c.tcp.Quiet()
}

// takeIdle takes the idle connection on a loop, or on none, that was used last.
func (e *endpoint) takeIdle(on *loop.Loop) *Conn {
	return e.takeLast(func(c *Conn) bool { return c.tcp.Loop() == on })
}

func (e *endpoint) takeLast(which func(*Conn) bool) *Conn {
	e.mu.Lock()
	defer e.mu.Unlock()
	for i := len(e.idle) - 1; i >= 0; i-- {
		if c := e.idle[i]; which(c) {
			e.idle = slices.Delete(e.idle, i, i+1)
			return c
		}
	}
	return nil
}

// takeOver takes an idle connection of an endpoint wherever it is, off its loop;
// nil where there is none. It is for those who may open no other.
func (b *Backend) takeOver(e *endpoint) *Conn {
	for {
		c := e.takeLast(func(*Conn) bool { return true })
		if c == nil {
			return nil
		}
		if c.way == b.way.Load() && time.Since(c.since) < b.o.Limits.IdleFor && c.Leave() == nil && c.tcp.Quiet() {
			return c
		}
		c.Close()
	}
}

// sweep closes what has been idle for too long, or was led another way.
func (b *Backend) sweep(all bool) {
	way, now := b.way.Load(), time.Now()
	for _, e := range b.endpoints {
		e.mu.Lock()
		kept := e.idle[:0]
		var gone []*Conn
		for _, c := range e.idle {
			if all || c.way != way || now.Sub(c.since) > b.o.Limits.IdleFor {
				gone = append(gone, c)
			} else {
				kept = append(kept, c)
			}
		}
		clear(e.idle[len(kept):])
		e.idle = kept
		e.mu.Unlock()
		for _, c := range gone {
			c.Close()
		}
	}
}

// connect opens a connection; its slot has been taken.
func (b *Backend) connect(ctx context.Context, e *endpoint) (*Conn, error) {
	c := &Conn{backend: b, endpoint: e, born: time.Now()}
	conn, way, err := b.open(ctx, e.url)
	if err != nil {
		b.giveSlot()
		return nil, &NotSentError{err}
	}
	c.Conn, c.way = conn, way
	if c.tcp, err = socket.New(conn.(*net.TCPConn)); err == nil {
		c.Conn = c.tcp
		if e.url.Scheme == "https" {
			c.Conn, err = b.secure(ctx, c.tcp, e.url.Hostname())
		}
	}
	if err != nil {
		c.Close()
		return nil, &NotSentError{err}
	}
	return c, nil
}

// takeSlot counts a connection, if one more may be open.
func (b *Backend) takeSlot() bool {
	if b.connections.Add(1) > int64(b.o.Limits.Connections) {
		b.connections.Add(-1)
		return false
	}
	return true
}

func (b *Backend) giveSlot() {
	b.connections.Add(-1)
	b.nudge()
}

// nudge tells one of those who wait for a connection that there may be one.
func (b *Backend) nudge() {
	if b.waiting.Load() > 0 {
		select {
		case b.freed <- struct{}{}:
		default:
		}
	}
}

// await waits for a connection to be given back, for as long as a dial may
// take.
func (b *Backend) await(ctx context.Context, e *endpoint) (c *Conn, err error) {
	err = b.awaitThat(ctx, func() bool {
		if c = b.takeOver(e); c != nil {
			return true
		}
		return b.takeSlot()
	})
	if err != nil {
		return nil, &NotSentError{err}
	}
	if c != nil {
		return c, nil
	}
	return b.connect(ctx, e)
}

// awaitSlot waits until one more connection may be opened.
func (b *Backend) awaitSlot(ctx context.Context) error {
	if b.takeSlot() {
		return nil
	}
	return b.awaitThat(ctx, b.takeSlot)
}

// evict closes an idle connection, so that another may be opened; false where
// there is none.
func (b *Backend) evict() bool {
	for _, e := range b.endpoints {
		e.mu.Lock()
		var c *Conn
		if len(e.idle) > 0 {
			c = e.idle[0] // the one that was used longest ago
			e.idle = slices.Delete(e.idle, 0, 1)
		}
		e.mu.Unlock()
		if c != nil {
			c.Close()
			return true
		}
	}
	return false
}

// makeRoom closes a connection that nobody uses, or all of those that net/http
// keeps, while somebody waits for another one. Who needs a connection over one
// engine, or to one endpoint, cannot use what is idle at the others.
func (b *Backend) makeRoom() {
	if !b.evict() {
		b.transport.Load().CloseIdleConnections()
	}
}

// lookAgain is how often room is made while somebody waits: net/http does not
// say when it keeps a connection for later.
const lookAgain = 10 * time.Millisecond

// awaitThat waits until what is wanted can be had.
func (b *Backend) awaitThat(ctx context.Context, had func() bool) error {
	b.waiting.Add(1)
	defer func() { b.waiting.Add(-1); b.nudge() }()
	select {
	case b.short <- struct{}{}:
	default:
	}
	timer := time.NewTimer(b.o.Timeouts.Dial)
	defer timer.Stop()
	for !had() {
		select {
		case <-b.freed:
		case <-timer.C:
			b.refusedConnections.Add(1)
			return ErrFull
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}
