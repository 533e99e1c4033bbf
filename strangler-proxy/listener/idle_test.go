package listener_test

import (
	"net"
	"net/http"
	"runtime"
	"sync/atomic"
	"testing"

	"golang.org/x/sys/unix"

	"stranglerfig/strangler-proxy/listener"
)

func TestAnIdleConnectionHoldsNoBuffer(t *testing.T) {
	var lent atomic.Int32
	r := run(t, func(o *listener.Options) {
		o.HTTP1 = func(c *listener.Conn) {
			l := &lender{buf: make([]byte, 100), buffer: func(out bool) {
				if out {
					lent.Add(1)
				} else {
					lent.Add(-1)
				}
			}}
			for {
				if _, err := c.Await(l); err != nil {
					return
				}
				lent.Add(-1)
				c.Write([]byte("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"))
			}
		}
	})
	c := r.dial(t)
	for range 3 {
		c.send("GET / HTTP/1.1\r\n\r\n")
		c.answer()
		eventually(t, "the return of the buffer", func() bool { return lent.Load() == 0 })
	}
	c.Close()
	eventually(t, "the end of the connection", func() bool { return r.Connections() == 0 })
	if n := lent.Load(); n != 0 {
		t.Errorf("%d buffers are lent", n)
	}
}

// BenchmarkIdleConnection opens b.N connections, has each served a request,
// and reports what memory one takes while it waits for the next. The engine of
// the test keeps no buffer and the clients are bare sockets, so that little but
// the listener's part is measured.
func BenchmarkIdleConnection(b *testing.B) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	s := listener.New(listener.Options{HTTP1: answerAll, HTTP2: http.NotFoundHandler(), Limits: listener.Limits{Connections: b.N}})
	served := make(chan error, 1)
	go func() { served <- s.Serve(l) }()
	before := inUse()
	sockets := make([]int, b.N)
	for i := range sockets {
		sockets[i] = askOnce(b, l.Addr().(*net.TCPAddr).Port)
	}
	b.ReportMetric(float64(inUse()-before)/float64(b.N), "B/conn")
	for _, fd := range sockets {
		unix.Close(fd)
	}
	if err := s.Close(); err != nil {
		b.Error(err)
	}
	<-served
}

// BenchmarkAwait measures a request and its answer on one connection.
func BenchmarkAwait(b *testing.B) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	s := listener.New(listener.Options{HTTP1: answerAll, HTTP2: http.NotFoundHandler()})
	served := make(chan error, 1)
	go func() { served <- s.Serve(l) }()
	conn, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		b.Fatal(err)
	}
	buf := make([]byte, 4096)
	b.ReportAllocs()
	for b.Loop() {
		conn.Write(question)
		if _, err := conn.Read(buf); err != nil {
			b.Fatal(err)
		}
	}
	conn.Close()
	if err := s.Close(); err != nil {
		b.Error(err)
	}
	<-served
}

var (
	question = []byte("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
	answer   = []byte("HTTP/1.1 204 No Content\r\n\r\n")
)

// shared lends the same buffer to everyone, who only counts its bytes.
type shared struct{}

var sharedBuffer [4096]byte

func (shared) Lend() []byte { return sharedBuffer[:] }
func (shared) Return()      {}

// answerAll answers whatever comes.
func answerAll(c *listener.Conn) {
	for {
		if _, err := c.Await(shared{}); err != nil {
			return
		}
		if _, err := c.Write(answer); err != nil {
			return
		}
	}
}

// askOnce opens a connection that Go knows nothing of, and asks once.
func askOnce(b *testing.B, port int) int {
	b.Helper()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM, 0)
	if err == nil {
		err = unix.Connect(fd, &unix.SockaddrInet4{Port: port, Addr: [4]byte{127, 0, 0, 1}})
	}
	if err == nil {
		_, err = unix.Write(fd, question)
	}
	if err == nil {
		_, err = unix.Read(fd, make([]byte, 100))
	}
	if err != nil {
		b.Fatal(err)
	}
	return fd
}

// inUse is the memory in use after the collector has come by, as often as it
// takes for stacks to shrink.
func inUse() int64 {
	for range 4 {
		runtime.GC()
	}
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapInuse + m.StackInuse + m.OtherSys + m.MSpanInuse)
}
