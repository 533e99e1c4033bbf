package listener

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"time"
)

const (
	// lingering is how long a client may take to read a last answer.
	lingering = time.Second
	// lingerBytes is how much of what it still sends is thrown away meanwhile.
	lingerBytes = 8 << 20
	// mostPartings is how many of those who are sent away may linger at a time.
	// The others are closed at once.
	mostPartings = 64
)

// plain is an answer in clear text after which the connection ends.
func plain(status int, header, text string) string {
	return fmt.Sprintf("HTTP/1.1 %d %s\r\nContent-Type: text/plain; charset=utf-8\r\n%sConnection: close\r\nContent-Length: %d\r\n\r\n%s\n",
		status, http.StatusText(status), header, len(text)+1, text)
}

// sendAway refuses a connection that is one too many: in clear text with an
// answer, while few are being refused.
func (s *Server) sendAway(c *Conn) {
	select {
	case s.partings <- struct{}{}:
	default:
		c.socket.Close()
		return
	}
	s.wg.Go(func() {
		defer func() { <-s.partings }()
		defer c.socket.Close()
		defer context.AfterFunc(s.closed, func() { c.socket.Close() })()
		if !c.Secure {
			c.part(plain(http.StatusServiceUnavailable, "Retry-After: 1\r\n", "there are too many connections; try again later"))
		}
	})
}

// part says a last word in clear text.
func (c *Conn) part(answer string) {
	c.socket.SetDeadline(time.Now().Add(lingering))
	if _, err := io.WriteString(c.socket, answer); err == nil {
		c.lingerBelow()
	}
}

// Linger lets a client take its last answer while it may still be sending: a
// connection that is closed over bytes nobody has read takes with it what the
// client has not read either. It ends when the client does, or after a second
// or 8 MiB. To be called before the connection is closed.
func (c *Conn) Linger() {
	c.socket.SetDeadline(time.Now().Add(lingering))
	if closer, ok := c.Conn.(interface{ CloseWrite() error }); c.Secure && ok && closer.CloseWrite() != nil {
		return
	}
	c.lingerBelow()
}

func (c *Conn) lingerBelow() {
	closer, ok := c.socket.(interface{ CloseWrite() error })
	if !ok || closer.CloseWrite() != nil {
		return
	}
	// Whatever ends it, the connection is closed next.
	_, _ = io.CopyN(io.Discard, c.socket, lingerBytes)
}
