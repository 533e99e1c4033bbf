package proxy

import (
	"context"
	"errors"
	"io"
	"math"
	"os"
	"sync/atomic"
	"time"

	"stranglerfig/strangler-proxy/http1"
)

// ear listens to the client while its request is with a backend: it sends on
// what is left of the request's body, and then notices when the client goes
// away. Until it has been hushed, what was read from the client and the
// request's body are its own.
type ear struct {
	stop atomic.Bool
	read atomic.Bool   // the request's body has been read to its end
	sent bool          // and sent on; known when done is closed
	at   time.Time     // when it began to listen
	ends atomic.Int64  // nanoseconds from then on until the body was sent; 0: it still is being
	done chan struct{} // closed when it has ended
	gone chan struct{} // closed when the client has gone, or its body is no good
	err  error         // why; set before gone is closed
	part func()        // parts with the backend when the client has gone
}

// sink is where a body is sent on to.
type sink interface {
	io.Writer
	SetWriteDeadline(time.Time) error
}

// finisher is a sink that is told when the body is whole.
type finisher interface{ finish(trailers []http1.Field) }

// errGone is the cause when a client went away before it was answered.
var errGone = errors.New("the client went away")

// past is a deadline that ends whatever waits for a connection.
var past = time.Unix(1, 0)

// longAgo is when what nobody sends has ended, in nanoseconds.
const longAgo = math.MinInt64 / 2

// listen starts an ear. What is left of the body goes to a sink, framed for
// HTTP/1.1 or bare; without a sink it stays where it is.
func (c *conn) listen(to sink, framed bool, part func()) {
	c.leave()
	e := &ear{at: time.Now(), done: make(chan struct{}), gone: make(chan struct{}), part: part, sent: c.sent}
	e.read.Store(c.body.done)
	sends := to != nil && !c.body.done
	if !sends {
		e.ends.Store(longAgo)
	}
	c.ear = e
	go func() {
		defer close(e.done)
		defer func() {
			if reason := recover(); reason != nil {
				c.proxy.mishap(reason)
				if c.left() == nil {
					e.leave(errGone)
				}
			}
		}()
		if sends {
			if err := c.sendRest(e, to, framed); err != nil {
				e.ends.Store(longAgo) // nobody sends it any more
				var fault *clientFault
				if errors.As(err, &fault) && !e.stop.Load() {
					e.leave(fault.err)
				}
				return
			}
			e.sent = true
			e.ends.Store(max(int64(time.Since(e.at)), 1))
		}
		c.watch(e)
	}()
}

func (e *ear) leave(err error) {
	e.err = err
	close(e.gone)
	e.part()
}

// hush ends the ear and waits for it.
func (c *conn) hush() {
	e := c.ear
	if e == nil {
		return
	}
	e.stop.Store(true)
	c.client.SetReadDeadline(past)
	if c.up != nil {
		c.up.Conn.SetWriteDeadline(past) // beneath what the ear may be noting
	}
	<-e.done
	c.ear, c.sent = nil, e.sent
	if c.up != nil {
		c.up.SetWriteDeadline(time.Time{})
	}
	c.client.SetReadDeadline(time.Time{})
}

// read reports whether the request's body has been read to its end, so that
// what comes next is another request.
func (c *conn) read() bool {
	if c.ear == nil {
		return c.body.done
	}
	return c.ear.read.Load()
}

// timeLeft is how much of what a backend was granted to begin its answer is
// left, when as much has passed since it was first asked: it counts from the end
// of the request, which may be long in coming.
func (c *conn) timeLeft(granted time.Duration) time.Duration {
	if c.ear == nil {
		return 0
	}
	if ended := c.ear.ends.Load(); ended != 0 {
		return granted - time.Since(c.ear.at) + time.Duration(ended)
	}
	return granted
}

// left reports why the client is not there any more; nil while it is.
func (c *conn) left() error {
	if c.ear == nil {
		return nil
	}
	select {
	case <-c.ear.gone:
		return c.ear.err
	default:
		return nil
	}
}

// clientFault is an error that the client is to blame for.
type clientFault struct{ err error }

func (f *clientFault) Error() string { return f.err.Error() }

// Unwrap returns the cause.
func (f *clientFault) Unwrap() error { return f.err }

func isClientFault(err error) bool {
	var fault *clientFault
	return errors.As(err, &fault)
}

// deadline sets a deadline, unless the ear is to end: then it must not
// undo the one that ends it.
func (e *ear) deadline(set func(time.Time) error, at time.Time) error {
	set(at)
	if e.stop.Load() {
		return os.ErrDeadlineExceeded
	}
	return nil
}

// sendRest sends on what is left of the request's body.
func (c *conn) sendRest(e *ear, to sink, framed bool) error {
	limit := c.proxy.o.Limits.BodyTimeout
	var out []byte
	for used := len(c.in.unread()); !c.body.done; {
		if to, ok := to.(mover); ok && c.spliceable() {
			err := c.spliceBody(e, to)
			if err == nil {
				continue
			}
			if err != errNothingCame {
				return err
			}
			used = 0 // the buffer is empty
		}
		if used == 0 {
			if err := c.readBody(e, limit); err != nil {
				return err
			}
		}
		var err error
		out, used, err = c.body.append(out[:0], c.in.unread(), framed, c.wantBody)
		c.in.use(used)
		e.read.Store(c.body.done)
		if err != nil {
			return &clientFault{err}
		}
		if len(out) == 0 {
			continue
		}
		if err := e.deadline(to.SetWriteDeadline, time.Now().Add(limit)); err != nil {
			return err
		}
		if _, err := to.Write(out); err != nil {
			return err
		}
	}
	if f, ok := to.(finisher); ok {
		f.finish(c.body.chunks.Trailers())
	}
	return nil
}

// readBody reads more of the body.
func (c *conn) readBody(e *ear, limit time.Duration) error {
	if err := e.deadline(c.client.SetReadDeadline, time.Now().Add(limit)); err != nil {
		return err
	}
	if len(c.in.room()) == 0 {
		c.in.grow()
	}
	if _, err := c.in.fill(c.client); err != nil {
		return &clientFault{slowOrGone(err)}
	}
	return nil
}

// errSlowBody is the error of a client that stopped sending.
var errSlowBody = errors.New("the request's body took too long")

func slowOrGone(err error) error {
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return errSlowBody
	}
	return errGone
}

// spliceable reports whether the kernel can move the rest of the body.
func (c *conn) spliceable() bool {
	return !c.body.chunked && c.tcp != nil && c.wantBody == nil && len(c.in.unread()) == 0 && c.body.left >= spliceFrom
}

// spliceBody moves a lot of the body from socket to socket, but never its end: a
// backend that has all of it may answer before this goroutine hears that it has,
// and the body would be taken for one that the client is still sending.
func (c *conn) spliceBody(e *ear, to mover) error {
	now := time.Now()
	takeBy := now.Add(c.proxy.o.Limits.BodyTimeout)
	if err := e.deadline(c.client.SetReadDeadline, now.Add(c.proxy.spliceWait())); err != nil {
		return err
	}
	if err := e.deadline(to.SetWriteDeadline, takeBy); err != nil {
		return err
	}
	lot := io.LimitedReader{R: c.tcp, N: min(c.body.left-spliceRest, spliceLot)}
	n, err := to.ReadFrom(&lot)
	c.body.left -= n
	switch {
	case err == nil && n == 0:
		return &clientFault{errGone}
	case err == nil:
		return nil
	case e.stop.Load(), !reads(err, to.TCP(), takeBy):
		return err
	case !errors.Is(err, os.ErrDeadlineExceeded):
		return &clientFault{errGone}
	case n == 0:
		return errNothingCame
	}
	return nil
}

// watch waits for the client to go away. What it sends meanwhile is its next
// request; when the buffer is full of that, nobody watches any more.
func (c *conn) watch(e *ear) {
	if e.deadline(c.client.SetReadDeadline, time.Time{}) != nil {
		return
	}
	for !e.stop.Load() {
		room := c.in.room()
		if len(room) == 0 {
			return
		}
		n, err := c.client.Read(room)
		c.in.w += n
		if err != nil {
			if !e.stop.Load() {
				e.leave(errGone)
			}
			return
		}
	}
}

// waiting is the context of a request that has not reached a backend: it is
// done when the client goes away. Nobody listens before somebody asks, so that
// a request that need not wait costs nothing.
type waiting struct{ *conn }

var _ context.Context = waiting{}

// Done implements [context.Context].
func (w waiting) Done() <-chan struct{} {
	if w.ear == nil {
		w.listen(nil, false, func() {})
	}
	return w.ear.gone
}

// Err implements [context.Context].
func (w waiting) Err() error {
	if w.left() != nil {
		return context.Canceled
	}
	return nil
}

// Deadline implements [context.Context].
func (w waiting) Deadline() (time.Time, bool) { return time.Time{}, false }

// Value implements [context.Context].
func (w waiting) Value(any) any { return nil }
