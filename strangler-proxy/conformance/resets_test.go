package conformance

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// framedBackend is a backend that speaks HTTP/2 frame by frame: it takes
// requests, answers none, and tells how each of them ended.
type framedBackend struct {
	address string
	begun   chan bool
	ended   chan http2.ErrCode
}

func newFramedBackend(t testing.TB) *framedBackend {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	b := &framedBackend{address: l.Addr().String(), begun: make(chan bool, 1), ended: make(chan http2.ErrCode, 1)}
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			serving.Go(func() {
				defer conn.Close()
				b.serve(conn)
			})
		}
	})
	t.Cleanup(func() {
		l.Close()
		serving.Wait()
	})
	return b
}

func (b *framedBackend) serve(conn net.Conn) {
	if conn.SetDeadline(time.Now().Add(2*guard)) != nil {
		return
	}
	if _, err := io.ReadFull(conn, make([]byte, len(http2.ClientPreface))); err != nil {
		return
	}
	frames := http2.NewFramer(conn, conn)
	frames.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	if frames.WriteSettings() != nil {
		return
	}
	for {
		frame, err := frames.ReadFrame()
		if err != nil {
			return
		}
		switch frame := frame.(type) {
		case *http2.SettingsFrame:
			if !frame.IsAck() && frames.WriteSettingsAck() != nil {
				return
			}
		case *http2.PingFrame:
			if !frame.IsAck() && frames.WritePing(true, frame.Data) != nil {
				return
			}
		case *http2.MetaHeadersFrame:
			b.begun <- true
		case *http2.RSTStreamFrame:
			b.ended <- frame.ErrCode
		}
	}
}

// TestLeavingResetsTheStreamOfAnHTTP2Backend has clients of every kind leave
// while they wait for an answer: the connection is for others as well, so the
// request alone is ended, and as cancelled.
func TestLeavingResetsTheStreamOfAnHTTP2Backend(t *testing.T) {
	for _, listener := range kinds {
		check(t, listener.name, func(t testing.TB) {
			b := newFramedBackend(t)
			c := &cell{listener: listener, id: newIdentity(t)}
			c.front = start(t, listener.listener(c.id)+"monolith: "+kind{h2: true}.backend(b.address, c.id)+"\n")
			ctx, leave := context.WithCancel(t.Context())
			defer leave()
			r := c.request(t, http.MethodPost, "/", http.NoBody).WithContext(ctx)
			client, answered := c.client(t), make(chan error, 1)
			go func() {
				_, err := client.Do(r)
				answered <- err
			}()
			receive(t, "the request", b.begun)
			leave()
			if err := receive(t, "the client", answered); !errors.Is(err, context.Canceled) {
				t.Errorf("the client ended with %v", err)
			}
			if code := receive(t, "the end of the request", b.ended); code != http2.ErrCodeCancel {
				t.Errorf("the request ended as %s", code)
			}
		})
	}
}
