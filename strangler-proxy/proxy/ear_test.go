package proxy

import (
	"bytes"
	"io"
	"net"
	"os"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"stranglerfig/strangler-proxy/listener"
	"stranglerfig/strangler-proxy/upstream"
)

// full is a connection that takes nothing until its deadline has come.
type full struct {
	net.Conn
	asked, ended chan struct{}
}

func (f full) Write([]byte) (int, error) {
	close(f.asked)
	<-f.ended
	return 0, os.ErrDeadlineExceeded
}

func (f full) SetWriteDeadline(at time.Time) error {
	if at.Equal(past) {
		close(f.ended)
	}
	return nil
}

// TestABodyWhoseEndTheBackendHasNotTakenIsReadButNotSent so that the client's
// connection goes on and the backend's is not used again: what is sent next
// would be taken for the end of the body.
func TestABodyWhoseEndTheBackendHasNotTakenIsReadButNotSent(t *testing.T) {
	c, client := hearing(t, "end")
	backend := full{asked: make(chan struct{}), ended: make(chan struct{})}
	c.up = &upstream.Conn{Conn: backend}
	c.listen(c.up, true, func() { t.Error("the client is said to be gone") })
	io.WriteString(client, "end")
	<-backend.asked
	if !c.read() {
		t.Error("the body has not been read to its end")
	}
	if c.hush(); !c.body.done || c.sent {
		t.Errorf("read %v, sent %v", c.body.done, c.sent)
	}
}

// TestABodyIsReadAsSoonAsItsEndIsSent however late whoever sent it says so.
func TestABodyIsReadAsSoonAsItsEndIsSent(t *testing.T) {
	c, client := hearing(t, "end")
	near, far := net.Pipe()
	t.Cleanup(func() { near.Close() })
	c.up = &upstream.Conn{Conn: near}
	c.listen(c.up, true, func() {})
	io.WriteString(client, "end")
	if _, err := io.ReadFull(far, make([]byte, 3)); err != nil {
		t.Fatal(err)
	}
	if !c.read() {
		t.Error("the backend has the whole body, and it is not said to be read")
	}
	if c.hush(); !c.body.done {
		t.Error("the body is not done")
	}
}

// quick is a backend that could answer as soon as it has the whole body, before
// whoever sends it hears that it was taken.
type quick struct {
	whole  int
	taken  bytes.Buffer
	spared int         // bytes that the kernel could move by itself
	atEnd  func() bool // asked when everything is there
	read   bool        // what it said
	all    chan struct{}
}

func (q *quick) Write(b []byte) (int, error) {
	q.taken.Write(b)
	q.look()
	return len(b), nil
}

func (q *quick) ReadFrom(r io.Reader) (int64, error) {
	n, err := q.taken.ReadFrom(r)
	q.spared += int(n)
	q.look()
	return n, err
}

func (q *quick) look() {
	if q.taken.Len() == q.whole {
		q.read = q.atEnd()
		close(q.all)
	}
}

func (q *quick) SetWriteDeadline(time.Time) error { return nil }

func (q *quick) TCP() *net.TCPConn { return nil }

// TestALongBodyIsReadBeforeABackendCouldAnswerIt so that its client's connection
// is not ended as that of one who is answered while still sending.
func TestALongBodyIsReadBeforeABackendCouldAnswerIt(t *testing.T) {
	for _, size := range []int{1, spliceFrom - 1, spliceFrom, spliceFrom + 1, spliceLot, spliceLot + spliceRest, 2*spliceLot + spliceFrom, 1 << 20} {
		sent := bytes.Repeat([]byte("0123456789abcdef"), size/16+1)[:size]
		near, far := overTCP(t)
		c := &conn{proxy: &Proxy{o: Options{Limits: Limits{}.withDefaults()}}, client: &listener.Conn{Conn: near}, tcp: near}
		c.body.left = int64(size)
		backend := &quick{whole: size, atEnd: c.read, all: make(chan struct{})}
		c.listen(backend, true, func() { t.Error("the client is said to be gone") })
		if _, err := far.Write(sent); err != nil {
			t.Fatal(err)
		}
		<-backend.all
		if c.hush(); !backend.read || !c.sent || !bytes.Equal(backend.taken.Bytes(), sent) {
			t.Errorf("%d bytes: known to be read when the backend had them: %t; sent on: %t; as they were: %t",
				size, backend.read, c.sent, bytes.Equal(backend.taken.Bytes(), sent))
		}
		if size >= spliceFrom && (backend.spared < spliceFrom-spliceRest || backend.spared > size-spliceRest) {
			t.Errorf("%d bytes: the kernel could move %d by itself", size, backend.spared)
		}
	}
}

// overTCP returns both ends of a connection.
func overTCP(t *testing.T) (near, far *net.TCPConn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	dialled, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	accepted, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { dialled.Close(); accepted.Close() })
	return accepted.(*net.TCPConn), dialled.(*net.TCPConn)
}

// hearing is a client's connection on which a body is on its way.
func hearing(t *testing.T, body string) (*conn, net.Conn) {
	t.Helper()
	near, far := net.Pipe()
	t.Cleanup(func() { near.Close() })
	c := &conn{proxy: &Proxy{o: Options{Limits: Limits{}.withDefaults()}}, client: &listener.Conn{Conn: near}}
	c.body.left = int64(len(body))
	return c, far
}

// TestADefectWhileTheClientIsListenedToEndsItsRequestAlone although it is met on
// a goroutine of its own, where it would otherwise end the process.
func TestADefectWhileTheClientIsListenedToEndsItsRequestAlone(t *testing.T) {
	told := make(chan any, 1)
	c := &conn{proxy: New(Options{Metrics: NewMetrics(prometheus.NewRegistry()), Panicked: func(reason any, _ []byte) { told <- reason }}), client: &listener.Conn{}}
	parted := false
	c.listen(nil, false, func() { parted = true }) // to nobody: the client has no connection
	<-c.ear.done
	if <-told == nil || !parted || c.left() != errGone {
		t.Errorf("parted with the backend: %t; the request ends with %v", parted, c.left())
	}
}

// TestWhatWasNotTakenInTimeIsNotGoneOnBehind although there may be room for it by
// now: what the kernel had under way is lost.
func TestWhatWasNotTakenInTimeIsNotGoneOnBehind(t *testing.T) {
	near, _ := overTCP(t)
	late := &net.OpError{Op: "splice", Err: os.ErrDeadlineExceeded}
	if reads(late, near, time.Now().Add(-time.Second)) {
		t.Error("who was to send is to blame, although the time to take it is over")
	}
	if !reads(late, near, time.Now().Add(time.Minute)) {
		t.Error("who was to take it is to blame, although there is time left")
	}
}
