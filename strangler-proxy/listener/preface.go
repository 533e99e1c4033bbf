package listener

import (
	"time"
)

// preface is what an HTTP/2 client sends first.
const preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

// serve finds out what a connection speaks and has it served.
func (s *Server) serve(c *Conn) {
	handed := false
	defer func() {
		if !handed {
			c.Conn.Close()
			s.gone(c)
		}
	}()
	c.rest(fresh)
	speaksHTTP2, err := c.tell()
	if err != nil {
		return
	}
	if speaksHTTP2 {
		handed = s.http2.take(c)
		return
	}
	s.begun(c)
	s.o.HTTP1(c)
}

// tell reads as much as decides between HTTP/1 and HTTP/2. Every method but PRI
// is told by its first bytes.
func (c *Conn) tell() (http2 bool, err error) {
	if c.have, err = c.first((*peeking)(c)); err != nil {
		return false, err
	}
	c.Busy()
	if c.mayBeHTTP2() && c.have < len(preface) {
		c.Conn.SetReadDeadline(time.Now().Add(c.server.o.Limits.Head))
		defer c.Conn.SetReadDeadline(time.Time{})
	}
	for c.mayBeHTTP2() && c.have < len(preface) {
		n, err := c.Conn.Read(c.peeked[c.have:])
		c.have += n
		if err != nil {
			c.server.o.Refused(Slow)
			return false, err
		}
	}
	return c.mayBeHTTP2(), nil
}

func (c *Conn) mayBeHTTP2() bool { return string(c.peeked[:c.have]) == preface[:c.have] }

// peeking lends a connection's own few bytes.
type peeking Conn

// Lend implements [Lender].
func (p *peeking) Lend() []byte { return p.peeked[:] }

// Return implements [Lender].
func (p *peeking) Return() {}
