package listener

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net/http"
	"os"
	"runtime/debug"
	"time"
)

// preface is what an HTTP/2 client sends first.
const preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

// serve shakes hands, where that is due, finds out what a connection speaks, and
// has it served.
func (s *Server) serve(c *Conn) {
	s.guarded(c, func(c *Conn) (handed bool) {
		if c.Secure {
			http2, err := c.shakeHands()
			switch {
			case err != nil:
				return false
			case http2:
				return s.http2.take(c)
			case s.loops(c):
				return true
			}
		}
		return s.converse(c)
	})
}

// guarded serves a connection and ends it, unless it was handed on.
func (s *Server) guarded(c *Conn, serve func(*Conn) (handed bool)) {
	handed := false
	defer func() {
		if reason := recover(); reason != nil {
			s.o.Panicked(reason, debug.Stack()) // and nobody else is served worse
		}
		if !handed {
			c.Conn.Close()
			s.gone(c)
		}
	}()
	handed = serve(c)
}

// converse waits until a connection has begun to ask and has it answered.
func (s *Server) converse(c *Conn) (handed bool) {
	http2, err := c.greet()
	switch {
	case err != nil:
		return false
	case http2:
		return c.Leave() == nil && s.http2.take(c)
	}
	s.mu.Lock()
	s.begun(c)
	s.mu.Unlock()
	s.o.HTTP1(c)
	return false
}

// greet waits for a connection's first bytes and finds out what it speaks, unless
// that is known by its handshake.
func (c *Conn) greet() (http2 bool, err error) {
	c.rest()
	if c.have, err = c.first((*peeking)(c)); err != nil {
		return false, err
	}
	c.Busy()
	if c.Secure {
		return false, nil
	}
	return c.tell()
}

// shakeHands begins TLS. What it finds out is agreed on there.
func (c *Conn) shakeHands() (http2 bool, err error) {
	c.Busy() // a drain waits for it
	c.Conn.SetDeadline(time.Now().Add(c.server.o.Limits.Head))
	conn := c.Conn.(*tls.Conn)
	if err := conn.HandshakeContext(context.Background()); err != nil {
		c.refuseHandshake(err)
		return false, err
	}
	c.Conn.SetDeadline(time.Time{})
	return conn.ConnectionState().NegotiatedProtocol == "h2", nil
}

// refuseHandshake counts a handshake that failed. A client that only looked
// whether somebody listens did nothing wrong.
func (c *Conn) refuseHandshake(err error) {
	var strange tls.RecordHeaderError
	switch {
	case errors.Is(err, io.EOF):
	case errors.Is(err, os.ErrDeadlineExceeded):
		c.server.o.Refused(Slow)
	case errors.As(err, &strange) && strange.Conn != nil && isMethod(strange.RecordHeader[0]):
		c.server.o.Refused(ClearText)
		c.part(plain(http.StatusBadRequest, "", "this port speaks TLS; ask it by https://"))
	default:
		c.server.o.Refused(Handshake)
	}
}

// isMethod reports whether a method may begin so; no record of TLS does.
func isMethod(first byte) bool { return 'A' <= first && first <= 'Z' }

// tell reads as much as decides between HTTP/1 and HTTP/2. Every method but PRI
// is told by its first bytes.
func (c *Conn) tell() (http2 bool, err error) {
	if !c.mayBeHTTP2() {
		return false, nil
	}
	c.Conn.SetReadDeadline(time.Now().Add(c.server.o.Limits.Head))
	defer c.Conn.SetReadDeadline(time.Time{})
	for c.have < len(preface) && c.mayBeHTTP2() {
		n, err := c.Conn.Read(c.peeked[c.have:])
		c.have += n
		if errors.Is(err, os.ErrDeadlineExceeded) {
			c.server.o.Refused(Slow)
		}
		if err != nil {
			return false, err
		}
	}
	return c.mayBeHTTP2(), nil
}

func (c *Conn) mayBeHTTP2() bool { return string(c.peeked[:c.have]) == preface[:c.have] }

// peeking lends a connection's own few bytes.
type peeking Conn

// Lend implements [socket.Lender].
func (p *peeking) Lend() []byte { return p.peeked[:] }

// Return implements [socket.Lender].
func (p *peeking) Return() {}
