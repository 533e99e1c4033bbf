package conformance

import (
	"bufio"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"
)

// line is one end of an HTTP/1.1 connection, byte for byte.
type line struct {
	net.Conn
	in *bufio.Reader
}

// wire is a client's line.
type wire struct {
	line
	t testing.TB
}

// wire connects to the proxy.
func (c *cell) wire(t testing.TB) *wire {
	t.Helper()
	return connect(t, c.front.address, c.listener.tls)
}

// connect opens a connection that nobody may hold up for longer than the guard.
func connect(t testing.TB, address string, secure bool) *wire {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	if secure {
		conn = tls.Client(conn, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"http/1.1"}})
	}
	t.Cleanup(func() { conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(guard)); err != nil {
		t.Fatal(err)
	}
	return &wire{line{conn, bufio.NewReader(conn)}, t}
}

// send writes bytes as they are.
func (w *wire) send(text string) {
	w.t.Helper()
	if _, err := io.WriteString(w, text); err != nil {
		w.t.Fatalf("send: %v", err)
	}
}

// head reads one head, with its empty line.
func (w *wire) head() string {
	w.t.Helper()
	head, err := w.line.head()
	if err != nil {
		w.t.Fatalf("read a head: %v, after %q", err, head)
	}
	return head
}

// head reads up to the first empty line.
func (l *line) head() (string, error) {
	var head strings.Builder
	for {
		one, err := l.in.ReadString('\n')
		head.WriteString(one)
		if err != nil || one == "\r\n" || one == "\n" {
			return head.String(), err
		}
	}
}

// rest reads until the connection is closed, which it must be cleanly.
func (w *wire) rest() string {
	w.t.Helper()
	rest, err := io.ReadAll(w.in)
	if err != nil {
		w.t.Fatalf("read to the end: %v, after %q", err, rest)
	}
	return string(rest)
}

// answer reads a whole answer to a method, past interim ones.
func (w *wire) answer(method string) reply {
	w.t.Helper()
	res, err := http.ReadResponse(w.in, &http.Request{Method: method})
	for err == nil && res.StatusCode < 200 && res.StatusCode != http.StatusSwitchingProtocols {
		res, err = http.ReadResponse(w.in, &http.Request{Method: method})
	}
	if err != nil {
		w.t.Fatalf("read an answer: %v", err)
	}
	body, err := io.ReadAll(res.Body)
	if err != nil {
		w.t.Fatalf("the answer (%s) breaks off: %v, after %q", res.Status, err, body)
	}
	return reply{res, string(body)}
}

// script is a backend that speaks HTTP/1.1 byte for byte. Each case has a path
// of its own there, and a part to play.
type script struct {
	address string
	parts   sync.Map // first segment of a path to part
	lines   sync.Map // net.Conn that is open
}

// part plays the backend for one request, whose head has been read. The
// connection goes on only where it says so.
type part func(l *line, head string) (goOn bool)

func newScript(t testing.TB, k kind, id *identity) *script {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &script{address: l.Addr().String()}
	if k.tls {
		l = tls.NewListener(l, &tls.Config{Certificates: []tls.Certificate{id.pair}, NextProtos: []string{"http/1.1"}})
	}
	var playing sync.WaitGroup
	playing.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			s.lines.Store(conn, true)
			playing.Go(func() {
				s.play(conn)
				s.lines.Delete(conn)
			})
		}
	})
	t.Cleanup(func() {
		l.Close()
		s.lines.Range(func(conn, _ any) bool {
			conn.(net.Conn).Close()
			return true
		})
		playing.Wait()
	})
	return s
}

func (s *script) play(conn net.Conn) {
	defer conn.Close()
	if conn.SetDeadline(time.Now().Add(6*guard)) != nil {
		return
	}
	l := &line{conn, bufio.NewReader(conn)}
	for {
		head, err := l.head()
		if err != nil {
			return
		}
		_, path, _ := strings.Cut(firstLine(head), " /")
		segment := path[:max(0, strings.IndexAny(path, " /?"))]
		p, ok := s.parts.Load(segment)
		if !ok {
			io.WriteString(l, "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")
			continue
		}
		if !p.(part)(l, head) {
			return
		}
	}
}

// at plays a part for a path of its own.
func (s *script) at(p part) (path string) {
	path, segment := newPath()
	s.parts.Store(segment, p)
	return path
}

// say answers each request with the same bytes and goes on.
func say(text string) part {
	return func(l *line, _ string) bool {
		_, err := io.WriteString(l, text)
		return err == nil
	}
}

// sayAndClose answers with bytes and closes the connection.
func sayAndClose(text string) part {
	return func(l *line, _ string) bool {
		io.WriteString(l, text)
		return false
	}
}

// record hands on each head and answers with the same bytes.
func record(to chan<- string, text string) part {
	return func(l *line, head string) bool {
		to <- head
		_, err := io.WriteString(l, text)
		return err == nil
	}
}
