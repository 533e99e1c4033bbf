package listener_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"stranglerfig/strangler-proxy/listener"
	"stranglerfig/strangler-proxy/loop/looptest"
)

// hang is how long a test waits for what should come at once.
const hang = 20 * time.Second

func TestMain(m *testing.M) { looptest.Main(m) }

// engine serves HTTP/1 for tests: each head is answered with its first line.
type engine struct {
	mu     sync.Mutex
	ends   []error         // how connections ended
	began  chan string     // told each request line that begins with "GET /slow"
	goOn   chan struct{}   // lets those be answered
	buffer func(lent bool) // told when a buffer is lent and returned
}

func newEngine() *engine {
	return &engine{began: make(chan string, 16), goOn: make(chan struct{})}
}

// lender lends one buffer.
type lender struct {
	buf    []byte
	buffer func(lent bool)
}

func (l *lender) Lend() []byte {
	if l.buffer != nil {
		l.buffer(true)
	}
	return l.buf
}

func (l *lender) Return() {
	if l.buffer != nil {
		l.buffer(false)
	}
}

func (e *engine) serve(c *listener.Conn) {
	l := &lender{buf: make([]byte, 4096), buffer: e.buffer}
	for {
		n, err := c.Await(l)
		for err == nil && !strings.Contains(string(l.buf[:n]), "\r\n\r\n") {
			var more int
			more, err = c.Read(l.buf[n:])
			n += more
		}
		if err != nil {
			e.mu.Lock()
			e.ends = append(e.ends, err)
			e.mu.Unlock()
			return
		}
		line, _, _ := strings.Cut(string(l.buf[:n]), "\r\n")
		if strings.HasPrefix(line, "GET /slow") {
			if c.Leave() != nil {
				return
			}
			e.began <- line
			select {
			case <-e.goOn:
			case <-c.Closed().Done():
				return
			}
		}
		ending := ""
		if c.Draining() {
			ending = "Connection: close\r\n"
		}
		fmt.Fprintf(c, "HTTP/1.1 200 OK\r\n%sContent-Length: %d\r\n\r\n%s", ending, len(line), line)
		if ending != "" {
			return
		}
	}
}

// endings lists how connections ended for the engine.
func (e *engine) endings() []error {
	e.mu.Lock()
	defer e.mu.Unlock()
	return append([]error(nil), e.ends...)
}

// handler answers HTTP/2 with the protocol and the path.
func (e *engine) handler(w http.ResponseWriter, r *http.Request) {
	if strings.HasPrefix(r.URL.Path, "/slow") {
		e.began <- r.URL.Path
		select {
		case <-e.goOn:
		case <-r.Context().Done():
		}
	}
	fmt.Fprintf(w, "%s %s", r.Proto, r.URL.Path)
}

// running is a server with its engine and what it counted.
type running struct {
	*listener.Server
	*engine
	addr string

	mu      sync.Mutex
	refused map[string]int
	served  chan error
}

// run starts a server in clear text that is closed with the test.
func run(t *testing.T, change func(*listener.Options)) *running {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return runOn(t, l, change)
}

func runOn(t *testing.T, l net.Listener, change func(*listener.Options)) *running {
	t.Helper()
	r := &running{engine: newEngine(), addr: l.Addr().String(), refused: map[string]int{}, served: make(chan error, 1)}
	o := listener.Options{Loops: looptest.Loops(), HTTP1: r.engine.serve, HTTP2: http.HandlerFunc(r.handler), Refused: func(reason string) {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.refused[reason]++
	}}
	if change != nil {
		change(&o)
	}
	r.Server = listener.New(o)
	go func() { r.served <- r.Serve(l) }()
	t.Cleanup(func() {
		if err := r.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
		if err := <-r.served; !errors.Is(err, http.ErrServerClosed) {
			t.Errorf("serve ended with %v", err)
		}
	})
	return r
}

func (r *running) count(reason string) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.refused[reason]
}

// client is a raw connection to a server.
type client struct {
	*testing.T
	net.Conn
	in *bufio.Reader
}

func (r *running) dial(t *testing.T) *client {
	t.Helper()
	conn, err := net.Dial("tcp", r.addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	conn.SetDeadline(time.Now().Add(hang))
	return &client{T: t, Conn: conn, in: bufio.NewReader(conn)}
}

func (c *client) send(text string) {
	c.Helper()
	if _, err := io.WriteString(c, text); err != nil {
		c.Fatal(err)
	}
}

// answer reads an answer and returns its body.
func (c *client) answer() (*http.Response, string) {
	c.Helper()
	res, err := http.ReadResponse(c.in, nil)
	if err != nil {
		c.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		c.Fatal(err)
	}
	return res, string(body)
}

// ended checks that the server closes the connection without a word.
func (c *client) ended() {
	c.Helper()
	if n, err := c.in.Read(make([]byte, 1)); n != 0 || !errors.Is(err, io.EOF) {
		c.Fatalf("the connection should have ended, but %d bytes came and %v", n, err)
	}
}

// eventually waits until something is so.
func eventually(t *testing.T, what string, so func() bool) {
	t.Helper()
	for deadline := time.Now().Add(hang); !so(); {
		if time.Now().After(deadline) {
			t.Fatalf("%s has not come about", what)
		}
		time.Sleep(time.Millisecond)
	}
}

// h2c is a client that speaks HTTP/2 in clear text.
func h2c(t *testing.T) *http.Client {
	var protocols http.Protocols
	protocols.SetUnencryptedHTTP2(true)
	transport := &http.Transport{Protocols: &protocols}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport, Timeout: hang}
}

func get(t *testing.T, c *http.Client, url string) string {
	t.Helper()
	res, err := c.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(body)
}

func TestOnePortSpeaksHTTP1AndHTTP2(t *testing.T) {
	r := run(t, nil)
	if got := get(t, h2c(t), "http://"+r.addr+"/two"); got != "HTTP/2.0 /two" {
		t.Errorf("HTTP/2 was answered %q", got)
	}
	c := r.dial(t)
	for _, line := range []string{"GET / HTTP/1.1", "POST / HTTP/1.1", "PRI * HTTP/1.1", "P / HTTP/1.1", "PRI * HTTP/2.0"} {
		c.send(line + "\r\nHost: a\r\n\r\n")
		if _, body := c.answer(); body != line {
			t.Errorf("%q was answered %q", line, body)
		}
	}
}

func TestEveryWayToCutThePrefaceIsHTTP2(t *testing.T) {
	r := run(t, nil)
	const preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
	const settings = "\x00\x00\x00\x04\x00\x00\x00\x00\x00"
	for cut := range len(preface) {
		c := r.dial(t)
		c.send(preface[:cut])
		c.send(preface[cut:] + settings)
		head := make([]byte, 9)
		if _, err := io.ReadFull(c.in, head); err != nil || head[3] != 4 {
			t.Errorf("cut after %d bytes: the first frame is %q, %v", cut, head, err)
		}
	}
}

func TestAMethodThatBeginsLikeThePrefaceIsHTTP1ByteByByte(t *testing.T) {
	r := run(t, nil)
	for _, line := range []string{"PROPFIND / HTTP/1.1", "PRI * HTTP/2.1", "PUT / HTTP/1.1", "\r\nGET / HTTP/1.1"} {
		c := r.dial(t)
		for i := range line {
			c.send(line[i : i+1])
		}
		c.send("\r\nHost: a\r\n\r\n")
		want, _, _ := strings.Cut(line, "\r\n")
		if _, body := c.answer(); body != want {
			t.Errorf("%q was answered %q", line, body)
		}
	}
}

func TestADeadlineOfTheEngineEndsWithTheNextAwait(t *testing.T) {
	errs := make(chan error, 2)
	r := run(t, func(o *listener.Options) {
		o.HTTP1 = func(c *listener.Conn) {
			l := &lender{buf: make([]byte, 100)}
			_, err := c.Await(l)
			errs <- err
			c.SetDeadline(time.Unix(1, 0))
			_, err = c.Await(l)
			errs <- err
		}
	})
	c := r.dial(t)
	for _, text := range []string{"a", "b"} {
		c.send(text)
		if err := <-errs; err != nil {
			t.Errorf("%s: %v", text, err)
		}
	}
}

func TestALastAnswerArrivesThoughTheClientWasStillSending(t *testing.T) {
	r := run(t, func(o *listener.Options) {
		o.HTTP1 = func(c *listener.Conn) {
			if _, err := c.Await(&lender{buf: make([]byte, 100)}); err == nil {
				io.WriteString(c, "HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\n\r\n")
				c.Linger()
			}
		}
	})
	c := r.dial(t)
	c.send("POST / HTTP/1.1\r\n\r\n" + strings.Repeat("a", 4<<20))
	if res, _ := c.answer(); res.StatusCode != http.StatusRequestEntityTooLarge {
		t.Errorf("it was answered %d", res.StatusCode)
	}
}

func TestSocketsSendAtOnceAndNoticePeersThatAreGone(t *testing.T) {
	found := make(chan [2]int, 1)
	r := run(t, func(o *listener.Options) {
		o.HTTP1 = func(c *listener.Conn) {
			if err := c.Leave(); err != nil {
				t.Error(err)
			}
			raw, err := c.Conn.(*net.TCPConn).SyscallConn()
			if err != nil {
				t.Error(err)
			}
			var options [2]int
			err = raw.Control(func(fd uintptr) {
				options[0], _ = unix.GetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_NODELAY)
				options[1], _ = unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_KEEPALIVE)
			})
			if err != nil {
				t.Error(err)
			}
			found <- options
		}
	})
	r.dial(t).send("a")
	if got := <-found; got[0] == 0 || got[1] == 0 {
		t.Errorf("TCP_NODELAY and SO_KEEPALIVE are %v", got)
	}
}
