package proxy_test

import (
	"bytes"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"syscall"
	"testing"

	"stranglerfig/strangler-proxy/upstream"
)

// impatient accepts connections of clients that take half of an interim answer
// until their time to take it is over.
type impatient struct{ net.Listener }

func (i impatient) Accept() (net.Conn, error) {
	conn, err := i.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return impatientConn{conn}, nil
}

type impatientConn struct{ net.Conn }

func (i impatientConn) Write(p []byte) (int, error) {
	if bytes.HasPrefix(p, []byte("HTTP/1.1 103")) {
		n, _ := i.Conn.Write(p[:len(p)/2])
		return n, os.ErrDeadlineExceeded
	}
	return i.Conn.Write(p)
}

func (i impatientConn) CloseWrite() error { return i.Conn.(*net.TCPConn).CloseWrite() }

func (i impatientConn) SyscallConn() (syscall.RawConn, error) {
	return i.Conn.(*net.TCPConn).SyscallConn()
}

// TestNothingIsWrittenBehindHalfOfAnInterimAnswer that its client did not take in
// time: it would be read as a part of that.
func TestNothingIsWrittenBehindHalfOfAnInterimAnswer(t *testing.T) {
	service := httptest.NewUnstartedServer(http.HandlerFunc(func(out http.ResponseWriter, _ *http.Request) {
		out.Header().Set("Link", "</style.css>; rel=preload")
		out.WriteHeader(http.StatusEarlyHints)
		io.WriteString(out, "answer")
	}))
	service.Config.Protocols = new(http.Protocols)
	service.Config.Protocols.SetUnencryptedHTTP2(true)
	service.Config.Protocols.SetHTTP1(true)
	service.Start()
	t.Cleanup(service.Close)
	for _, protocol := range []upstream.Protocol{upstream.HTTP1, upstream.H2C} {
		w := newWorld(t)
		b, err := upstream.New(upstream.Options{Name: "service", URLs: []string{service.URL}, Protocol: protocol})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(b.Close)
		w.snapshot.Monolith = b
		w.obey("GET /invoices=monolith")
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		front := serveOn(t, w.proxy, impatient{l})
		conn, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		io.WriteString(conn, "GET / HTTP/1.1\r\nHost: shop\r\nConnection: close\r\n\r\n")
		if read, _ := io.ReadAll(conn); !strings.HasPrefix(string(read), "HTTP/1.1 103") || strings.Contains(string(read), "HTTP/1.1 200") {
			t.Errorf("from %s: %q", protocol, read)
		}
		front.Close()
	}
}
