package proxy_test

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"stranglerfig/strangler-proxy/upstream"
)

// wire is a client's connection whose bytes the test writes itself.
type wire struct {
	net.Conn
	t  *testing.T
	in *bufio.Reader
}

func (w *world) dial() *wire {
	w.t.Helper()
	conn, err := net.Dial("tcp", w.front.Listener.Addr().String())
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { conn.Close() })
	conn.SetDeadline(time.Now().Add(20 * time.Second)) // a test that hangs ends
	return &wire{Conn: conn, t: w.t.(*testing.T), in: bufio.NewReader(conn)}
}

func (c *wire) send(text string) {
	c.t.Helper()
	if _, err := io.WriteString(c, text); err != nil {
		c.t.Fatal(err)
	}
}

// answer reads an answer to its end.
func (c *wire) answer(method string) (*http.Response, string) {
	c.t.Helper()
	res, err := http.ReadResponse(c.in, &http.Request{Method: method})
	if err != nil {
		c.t.Fatal(err)
	}
	body, err := io.ReadAll(res.Body)
	if err != nil {
		c.t.Fatal(err)
	}
	return res, string(body)
}

// ended reports that the proxy has closed the connection.
func (c *wire) ended() bool {
	_, err := c.in.ReadByte()
	return err == io.EOF
}

// backend listens and lets a test answer the bytes that come itself.
func (w *world) scripted(script func(in *bufio.Reader, conn net.Conn)) {
	w.t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				script(bufio.NewReader(conn), conn)
			}()
		}
	}()
	b, err := upstream.New(upstream.Options{Name: "the scripted monolith", URLs: []string{"http://" + l.Addr().String()}})
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(b.Close)
	w.snapshot.Monolith = b
	w.obey()
}

// readHead reads what came up to an empty line.
func readHead(in *bufio.Reader) (string, error) {
	var head strings.Builder
	for {
		line, err := in.ReadString('\n')
		head.WriteString(line)
		if err != nil || line == "\r\n" {
			return head.String(), err
		}
	}
}
