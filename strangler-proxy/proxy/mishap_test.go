package proxy_test

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"syscall"
	"testing"

	"stranglerfig/strangler-proxy/loop"
	"stranglerfig/strangler-proxy/proxy"
	"stranglerfig/strangler-proxy/route"
	"stranglerfig/strangler-proxy/upstream"
)

// defective is an observer with a defect that one route brings out.
type defective struct{ bad string }

func (d defective) Wants(r *route.Route, _ route.Decision) bool {
	if r != nil && r.ID == d.bad {
		panic("a defect")
	}
	return false
}

func (defective) Observe(*proxy.Exchange, *loop.Task) {}

func TestADefectOfOursEndsOneRequestAndIsCountedAndTold(t *testing.T) {
	var told atomic.Int64
	w := newWorld(t, func(o *proxy.Options) {
		o.Observers = []proxy.Observer{defective{"GET /invoices"}}
		o.Panicked = func(reason any, stack []byte) {
			if reason != "a defect" || len(stack) == 0 {
				t.Errorf("told of %v with a stack of %d bytes", reason, len(stack))
			}
			told.Add(1)
		}
	})
	w.obey("GET /invoices=service", "GET /orders=service")
	newer := &http.Transport{Protocols: new(http.Protocols)}
	newer.Protocols.SetUnencryptedHTTP2(true)
	t.Cleanup(newer.CloseIdleConnections)
	for name, transport := range map[string]http.RoundTripper{"HTTP/1.1": &http.Transport{DisableKeepAlives: true}, "HTTP/2.0": newer} {
		w.client.Transport = transport
		before := w.refusals("panic")
		if res, err := w.client.Do(w.request("GET", "/invoices", "")); err == nil {
			res.Body.Close()
			t.Errorf("%s: answered %s", name, res.Status)
		}
		if got := w.ask("GET", "/orders", ""); got.Proto != name || got.by() != "service" {
			t.Errorf("%s: afterwards %s is answered by %q", name, got.Proto, got.by())
		}
		if w.refusals("panic") <= before {
			t.Errorf("%s: it was not counted", name)
		}
	}
	if told.Load() != int64(w.refusals("panic")) {
		t.Errorf("told %d times of %v defects", told.Load(), w.refusals("panic"))
	}
}

// brittle accepts connections that meet a defect once they are armed.
type brittle struct {
	net.Listener
	reads, writes atomic.Bool
}

func (b *brittle) Accept() (net.Conn, error) {
	conn, err := b.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return brittleConn{conn, b}, nil
}

type brittleConn struct {
	net.Conn
	by *brittle
}

func (b brittleConn) Read(p []byte) (int, error) {
	n, err := b.Conn.Read(p)
	if b.by.reads.Load() {
		panic("a defect")
	}
	return n, err
}

func (b brittleConn) Write(p []byte) (int, error) {
	if b.by.writes.Load() {
		panic("a defect")
	}
	return b.Conn.Write(p)
}

func (b brittleConn) CloseWrite() error { return b.Conn.(*net.TCPConn).CloseWrite() }

func (b brittleConn) SyscallConn() (syscall.RawConn, error) {
	return b.Conn.(*net.TCPConn).SyscallConn()
}

// echoes is a backend that takes up whatever protocol is asked for and sends
// back what comes.
func echoes(ended chan<- error) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		conn, in, err := http.NewResponseController(w).Hijack()
		if err != nil {
			ended <- err
			return
		}
		defer conn.Close()
		io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
		io.Copy(conn, in)
		ended <- nil
	}
}

func TestADefectInATunnelEndsThatTunnelAlone(t *testing.T) {
	for name, arm := range map[string]func(*brittle){
		"of what the client sends":  func(b *brittle) { b.reads.Store(true) },
		"of what the backend sends": func(b *brittle) { b.writes.Store(true) },
	} {
		t.Run(name, func(t *testing.T) {
			told := make(chan any, 8)
			w := newWorld(t, func(o *proxy.Options) { o.Panicked = func(reason any, _ []byte) { told <- reason } })
			ended := make(chan error, 1)
			w.service.answers(echoes(ended))
			w.obey("GET /invoices=service")
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			b := &brittle{Listener: l}
			front := serveOn(t, w.proxy, b)
			conn, err := net.Dial("tcp", l.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			io.WriteString(conn, "GET /invoices HTTP/1.1\r\nHost: shop\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
			in := bufio.NewReader(conn)
			res, err := http.ReadResponse(in, nil)
			if err != nil || res.StatusCode != http.StatusSwitchingProtocols {
				t.Fatalf("answered %v, %v", res, err)
			}
			arm(b)
			io.WriteString(conn, "hello")
			if reason := <-told; reason != "a defect" {
				t.Errorf("told of %v", reason)
			}
			if err := <-ended; err != nil {
				t.Error(err)
			}
			if rest, _ := io.ReadAll(in); len(rest) > 0 {
				t.Errorf("the client was sent %q", rest)
			}
			front.Close() // waits for all that served the tunnel
			if w.refusals("panic") != 1 {
				t.Errorf("%v defects were counted", w.refusals("panic"))
			}
		})
	}
}

// TestADefectWhileAnInterimAnswerIsPassedOnEndsThatRequestAlone although it is
// met on a goroutine of its own.
func TestADefectWhileAnInterimAnswerIsPassedOnEndsThatRequestAlone(t *testing.T) {
	w := newWorld(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	b := &brittle{Listener: l}
	front := serveOn(t, w.proxy, b)
	service := httptest.NewUnstartedServer(http.HandlerFunc(func(out http.ResponseWriter, _ *http.Request) {
		b.writes.Store(true)
		out.WriteHeader(http.StatusEarlyHints)
		out.WriteHeader(http.StatusOK)
	}))
	service.Config.Protocols = new(http.Protocols)
	service.Config.Protocols.SetUnencryptedHTTP2(true)
	service.Start()
	t.Cleanup(service.Close)
	newer, err := upstream.New(upstream.Options{Name: "service", URLs: []string{service.URL}, Protocol: upstream.H2C})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(newer.Close)
	w.change(func(c *proxy.Capability) { c.Service = newer })
	w.obey("POST /invoices=service", "GET /orders=monolith")
	res, err := http.Post(front.URL+"/invoices", "", nil)
	if err == nil {
		res.Body.Close()
		t.Errorf("answered %s", res.Status)
	}
	if b.writes.Store(false); w.refusals("panic") == 0 {
		t.Error("it was not counted")
	}
	if got := w.ask("GET", "/orders", ""); got.by() != "monolith" {
		t.Errorf("afterwards: answered by %q", got.by())
	}
}
