package listener

import (
	"errors"
	"log"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
)

// http2Server has net/http serve the connections that speak HTTP/2.
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
		Handler: http.HandlerFunc(h.answer), Protocols: &protocols,
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
	s.mu.Lock()
	if s.closed.Err() != nil {
		s.mu.Unlock()
		return // nobody would wait for it
	}
	s.streams++
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		s.streams--
		s.changed.Broadcast()
		s.mu.Unlock()
	}()
	s.o.HTTP2.ServeHTTP(w, r)
}

// take hands a connection over, as it is where TLS is spoken, because net/http
// looks into it. false: nobody serves it any more.
func (h *http2Server) take(c *Conn) bool {
	conn, below := c.Conn, c.handed
	if below == nil {
		below = &handed{Conn: c.Conn, replay: c.Peeked()}
		conn = below
	}
	below.settled, below.ended = func() { h.server.begun(c) }, func() { h.server.gone(c) }
	select {
	case h.conns <- conn:
		return true
	case <-h.done:
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

// handed is what is below a connection that net/http may get.
type handed struct {
	net.Conn
	replay  []byte // the preface
	settled func() // the HTTP/2 server knows the connection; nil before it is handed over
	ended   func() // it has closed it
	asked   atomic.Bool
	closed  sync.Once
}

// Read implements [net.Conn]. Once it is asked for more than the preface, the
// HTTP/2 server will tell the connection of a drain.
func (h *handed) Read(p []byte) (int, error) {
	if len(h.replay) > 0 {
		n := copy(p, h.replay)
		h.replay = h.replay[n:]
		return n, nil
	}
	if h.settled != nil && !h.asked.Swap(true) {
		h.settled()
	}
	return h.Conn.Read(p)
}

// Close implements [net.Conn].
func (h *handed) Close() error {
	err := h.Conn.Close()
	if h.ended != nil {
		h.closed.Do(h.ended)
	}
	return err
}
