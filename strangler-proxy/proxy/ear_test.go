package proxy

import (
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
	c := &conn{proxy: New(Options{Metrics: NewMetrics(prometheus.NewRegistry()), Panicked: func(reason any, _ []byte) { told <- reason }})}
	parted := false
	c.listen(nil, false, func() { parted = true }) // to nobody: there is no client
	<-c.ear.done
	if <-told == nil || !parted || c.left() != errGone {
		t.Errorf("parted with the backend: %t; the request ends with %v", parted, c.left())
	}
}
