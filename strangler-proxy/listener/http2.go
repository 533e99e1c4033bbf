package listener

import (
	"context"
	"crypto/tls"
	"errors"
	"log"
	"net"
	"net/http"
	"sync"

	"stranglerfig/strangler-proxy/socket"
)

// http2Server has net/http serve the connections that speak HTTP/2. To it, it
// is the listener.
type http2Server struct {
	*http.Server
	server *Server
	conns  chan net.Conn
	done   chan struct{}
	end    sync.Once
}

func newHTTP2(s *Server) *http2Server {
	h := &http2Server{server: s, conns: make(chan net.Conn), done: make(chan struct{})}
	var protocols http.Protocols
	protocols.SetHTTP2(true)
	protocols.SetUnencryptedHTTP2(true)
	h.Server = &http.Server{
		Handler: http.HandlerFunc(h.answer), Protocols: &protocols, ConnContext: remember,
		ReadHeaderTimeout: s.o.Limits.Head, IdleTimeout: s.o.Limits.Idle, MaxHeaderBytes: s.o.Limits.HeadBytes,
		HTTP2:    &http.HTTP2Config{MaxConcurrentStreams: s.o.Limits.Streams, WriteByteTimeout: s.o.Limits.Stall},
		ErrorLog: log.New(nothing{}, "", 0),
	}
	return h
}

// nothing is where net/http's remarks on single connections go: the handler
// logs what clients are answered.
type nothing struct{}

func (nothing) Write(p []byte) (int, error) { return len(p), nil }

func (h *http2Server) serve() {
	if err := h.Serve(h); !errors.Is(err, http.ErrServerClosed) {
		panic(err) // our own listener gives no other error
	}
}

// answer is the caller's handler, whose requests the server waits for.
func (h *http2Server) answer(w http.ResponseWriter, r *http.Request) {
	s := h.server
	c := r.Context().Value(connKey{}).(*Conn)
	if !s.enter(c) {
		return // nobody would wait for it
	}
	defer s.leave()
	s.o.HTTP2.ServeHTTP(w, r)
}

// enter counts a request of an HTTP/2 connection; false: the server is closed.
func (s *Server) enter(c *Conn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed.Err() != nil {
		return false
	}
	s.streams++
	s.begun(c)
	return true
}

func (s *Server) leave() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.streams--
	s.changed.Broadcast()
}

// take hands a connection over, as it is where TLS is spoken, because net/http
// looks into it. false: nobody serves it any more.
func (h *http2Server) take(c *Conn) bool {
	conn := c.Conn
	if !c.Secure {
		c.below = &below{Conn: c.socket, replay: c.Peeked()}
		conn = c.below
	}
	c.below.taken = c
	select {
	case h.conns <- conn:
		return true
	case <-h.done:
		c.below.taken = nil
		return false
	}
}

// Accept implements [net.Listener].
func (h *http2Server) Accept() (net.Conn, error) {
	select {
	case conn := <-h.conns:
		return conn, nil
	case <-h.done:
		return nil, net.ErrClosed
	}
}

// Close implements [net.Listener].
func (h *http2Server) Close() error {
	h.end.Do(func() { close(h.done) })
	return nil
}

// Addr implements [net.Listener]; there is no address of its own.
func (h *http2Server) Addr() net.Addr { return &net.TCPAddr{} }

// below is what is below a connection that net/http may get.
type below struct {
	net.Conn
	tcp    *socket.Conn // where it is one
	now    bool         // reads do not wait
	fd     uintptr      // what they read from, off a loop
	replay []byte       // the preface
	taken  *Conn        // net/http has it; nil before
	closed sync.Once
}

// Read implements [net.Conn].
func (b *below) Read(p []byte) (int, error) {
	if b.now {
		return b.tcp.ReadNow(b.fd, p)
	}
	if len(b.replay) == 0 {
		return b.Conn.Read(p)
	}
	n := copy(p, b.replay)
	b.replay = b.replay[n:]
	return n, nil
}

// Close implements [net.Conn].
func (b *below) Close() error {
	err := b.Conn.Close()
	if b.taken != nil {
		b.closed.Do(func() { b.taken.server.gone(b.taken) })
	}
	return err
}

type connKey struct{}

// remember lets a request find its connection.
func remember(ctx context.Context, conn net.Conn) context.Context {
	if secure, ok := conn.(*tls.Conn); ok {
		conn = secure.NetConn()
	}
	return context.WithValue(ctx, connKey{}, conn.(*below).taken)
}
