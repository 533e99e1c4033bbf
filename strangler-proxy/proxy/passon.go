package proxy

import (
	"errors"
	"io"
	"net/http"
	"os"

	"stranglerfig/strangler-proxy/http1"
)

// passOn writes the answer that was read to the client, its body as it comes.
func (c *conn) passOn() error {
	a := body{chunked: c.res.Length == http1.Chunked, open: c.res.Length == http1.UntilClose, left: max(c.res.Length, 0), done: c.res.Length == 0}
	framed := (a.chunked || a.open) && c.req.Minor > 0
	c.unframed = (a.chunked || a.open) && !framed
	if c.unframed || !c.read() {
		c.last = true
	}
	if c.wantAnswer != nil {
		c.answered = ListHeaders(c.res.Fields, c.res.Hop)
		if a.done {
			c.wantAnswer.end()
		}
	}
	c.out = c.appendAnswer(c.out[:0], framed)
	c.begun = true
	err := c.passBody(&a, framed)
	c.flight.bytes = a.sent
	return err
}

// passBody writes what there is to write, and reads on until the body has
// ended. The answer's head is written with the beginning of the body.
func (c *conn) passBody(a *body, framed bool) error {
	idle := c.flight.target.Timeouts().Idle
	if http1.HasPrefix(c.res.Get("Content-Type"), "text/event-stream") {
		idle = 0 // events come when they come
	}
	for {
		if err := c.passBuffered(a, framed); err != nil {
			return err
		}
		if a.done {
			return nil
		}
		err := errNothingCame
		if c.splicesBack(a) {
			if err := c.leave(); err != nil {
				return &clientFault{errGone}
			}
			err = c.spliceBack(a)
		}
		if err == errNothingCame {
			if a.left > bufferSize {
				c.back.widen()
			}
			err = c.readBack(idle, nil)
		}
		switch {
		case err == nil:
		case a.open && errors.Is(err, io.ErrUnexpectedEOF):
			a.done = true
			c.wantAnswer.keep(nil, true)
			if framed {
				return c.writeClient(appendLastChunk(c.out[:0], nil))
			}
			return nil
		default:
			return err
		}
	}
}

// passBuffered writes what was read and what has been put together.
func (c *conn) passBuffered(a *body, framed bool) error {
	in := c.back.unread()
	if !a.chunked && !a.open {
		piece := in[:min(int64(len(in)), a.left)]
		if len(c.out) == 0 && len(piece) > 0 || !c.client.Secure && len(piece) > cap(c.out)-len(c.out) {
			return c.passApart(a, piece)
		}
	}
	out, used, err := a.append(c.out, in, framed, c.wantAnswer)
	c.back.use(used)
	c.out = out[:0]
	if len(out) > 0 {
		// Even before what cannot be read: the client is to see where it broke off.
		if err := c.writeClient(out); err != nil {
			return err
		}
	}
	return err
}

// passApart writes what was put together and a piece of the body without
// copying the piece.
func (c *conn) passApart(a *body, piece []byte) error {
	var err error
	if len(c.out) == 0 {
		err = c.write(piece)
	} else {
		c.mayWrite()
		err = c.client.WriteBoth(c.out, piece)
	}
	c.wantAnswer.keep(piece, int64(len(piece)) == a.left)
	a.left -= int64(len(piece))
	a.sent += int64(len(piece))
	a.done = a.left == 0
	c.back.use(len(piece))
	c.out = c.out[:0]
	if err != nil {
		return &clientFault{errGone}
	}
	return nil
}

func (c *conn) writeClient(b []byte) error {
	if err := c.write(b); err != nil {
		return &clientFault{errGone}
	}
	return nil
}

// splicesBack reports whether the kernel can move the rest of the answer.
func (c *conn) splicesBack(a *body) bool {
	return !a.chunked && !a.open && !c.client.Secure && c.wantAnswer == nil && a.left >= spliceFrom && c.up.Plain()
}

// spliceBack moves a lot of the answer from socket to socket.
func (c *conn) spliceBack(a *body) error {
	c.look()
	c.mayWrite()
	c.up.SetReadDeadline(c.at.Add(c.proxy.spliceWait()))
	lot := io.LimitedReader{R: c.up.TCP(), N: min(a.left, spliceLot)}
	n, err := c.tcp.ReadFrom(&lot)
	a.left -= n
	a.sent += n
	a.done = a.left == 0
	switch {
	case err == nil && n == 0:
		return io.ErrUnexpectedEOF
	case err == nil:
		return nil
	case c.left() != nil, !reads(err, c.tcp, c.writeBy):
		return &clientFault{errGone}
	case !errors.Is(err, os.ErrDeadlineExceeded):
		return err
	case n == 0:
		return errNothingCame
	}
	return nil
}

// appendAnswer puts the head of the answer together as the client gets it.
func (c *conn) appendAnswer(b []byte, framed bool) []byte {
	b = c.appendStatus(b)
	r := &c.res
	rewrites := c.flight.manners().Rewrite
	bodiless := r.Status == http.StatusNoContent
	told := false // how the body is framed
	for i := range r.Fields {
		field := &r.Fields[i]
		switch {
		case r.Framing(i):
			if told = !bodiless && c.keepsFraming(i, framed); told {
				b = appendField(b, field.Name, field.Value)
			}
		case r.Hop(i):
		case rewrites:
			b = appendField(b, field.Name, c.flight.rewrite(field.Name, field.Value))
		default:
			b = appendField(b, field.Name, field.Value)
		}
	}
	if framed && !told {
		b = append(b, "Transfer-Encoding: chunked\r\n"...)
	}
	return append(c.appendOurs(c.appendConnection(b)), "\r\n"...)
}

// keepsFraming reports whether a field that frames the answer holds for what
// the client gets as well.
func (c *conn) keepsFraming(i int, framed bool) bool {
	if http1.SameName(c.res.Fields[i].Name, "Content-Length") {
		return c.res.Length >= 0
	}
	return framed || c.req.Method == http.MethodHead && c.req.Minor > 0
}

// appendOurs adds what the proxy itself has to tell.
func (c *conn) appendOurs(b []byte) []byte {
	if c.flight.cookie != "" {
		b = appendField(b, "Set-Cookie", c.flight.cookie)
	}
	if said := c.flight.sayOverride(); said != "" {
		b = appendField(b, OverrideField, said)
	}
	if c.flight.fellBack != "" {
		b = append(b, "X-Strangler-Fallback: monolith\r\n"...)
	}
	return b
}
