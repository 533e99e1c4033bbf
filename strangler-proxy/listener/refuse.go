package listener

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"time"
)

const (
	lingering = time.Second // for a client to take a last answer
)

// plain is an answer in clear text after which the connection ends.
func plain(status int, header, text string) string {
	return fmt.Sprintf("HTTP/1.1 %d %s\r\nContent-Type: text/plain; charset=utf-8\r\n%sConnection: close\r\nContent-Length: %d\r\n\r\n%s\n",
		status, http.StatusText(status), header, len(text)+1, text)
}

// tooMany answers a connection that is one too many. The few bytes fit into
// the empty buffer of its socket, so nobody waits.
func (s *Server) tooMany(conn net.Conn) {
	conn.SetWriteDeadline(time.Now().Add(lingering))
	io.WriteString(conn, plain(http.StatusServiceUnavailable, "Retry-After: 1\r\n", "there are too many connections; try again later"))
	conn.Close()
}
