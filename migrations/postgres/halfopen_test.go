package postgres_test

import (
	"bytes"
	"context"
	"errors"
	"net"
	"net/url"
	"sync"
	"testing"
	"time"

	"stranglerfig/migrations/change"
	"stranglerfig/migrations/change/changetest"
)

// relay passes connections on to a server, and can break those that there are
// without saying so to the client.
type relay struct {
	mu     sync.Mutex
	open   map[net.Conn]bool // towards the server
	last   string            // the next connection over which a client says this breaks with it
	broke  chan struct{}     // closed when it does
	ctx    context.Context
	server string
}

func newRelay(t *testing.T, server string) (*relay, string) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	r := &relay{open: map[net.Conn]bool{}, ctx: ctx, server: server}
	var clients sync.WaitGroup
	clients.Go(func() {
		for {
			client, err := listener.Accept()
			if err != nil {
				return
			}
			clients.Go(func() { r.serve(client) })
		}
	})
	t.Cleanup(func() { listener.Close(); cancel(); r.breakOff(true); clients.Wait() })
	return r, listener.Addr().String()
}

func (r *relay) serve(client net.Conn) {
	defer client.Close()
	server, err := net.Dial("tcp", r.server)
	if err != nil {
		return
	}
	r.mu.Lock()
	r.open[server] = true
	r.mu.Unlock()
	var sending sync.WaitGroup
	sending.Go(func() { r.pass(client, server, server); server.Close() })
	if r.pass(server, client, server); r.broken(server) { // the client is left alone with an open connection
		<-r.ctx.Done()
	}
	client.Close()
	server.Close()
	sending.Wait()
}

// pass passes on what comes until one end closes; what comes over a connection
// that is broken is lost.
func (r *relay) pass(from, to, server net.Conn) {
	buffer := make([]byte, 16<<10)
	for {
		n, err := from.Read(buffer)
		if n > 0 && !r.broken(server) {
			if _, err := to.Write(buffer[:n]); err != nil && !r.broken(server) {
				return
			}
			if to == server {
				r.heard(buffer[:n], server)
			}
		}
		if err != nil {
			return
		}
	}
}

// heard breaks the connection if it was the last that a client could say over it.
func (r *relay) heard(said []byte, server net.Conn) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.last != "" && bytes.Contains(said, []byte(r.last)) {
		r.open[server], r.last = false, ""
		close(r.broke)
	}
}

// breakAfter breaks the next connection over which a client says something, which
// the server still hears. The channel is closed when that has come about.
func (r *relay) breakAfter(last string) <-chan struct{} {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.last, r.broke = last, make(chan struct{})
	return r.broke
}

func (r *relay) broken(server net.Conn) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	open, known := r.open[server]
	return known && !open
}

// breakOff breaks every connection; with forget, their server's ends close.
func (r *relay) breakOff(forget bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for server := range r.open {
		if r.open[server] = false; forget {
			server.Close()
		}
	}
}

// TestAConnectionThatNobodyAnswersAnyMoreIsReplaced, whether the server knows
// that it is broken or waits there as well.
func TestAConnectionThatNobodyAnswersAnyMoreIsReplaced(t *testing.T) {
	unlessShort(t)
	for name, forget := range map[string]bool{"the server has forgotten it": true, "the server waits": false} {
		t.Run(name, func(t *testing.T) {
			s := prepared(t, change.Leading, canonical, changetest.Tables()...)
			r := s.behindRelay("wal_sender_timeout=0") // the server never gives up
			exec(t, s.app, "INSERT INTO items (id, code, qty) VALUES (1, 'a', 1)")
			b, err := s.db.Read(t.Context(), 0, 10)
			must(t, err)
			if len(b.Changes) != 1 {
				t.Fatalf("%+v", b)
			}
			r.breakOff(forget)
			exec(t, s.app, "INSERT INTO items (id, code, qty) VALUES (2, 'b', 1)")
			ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
			defer cancel()
			for {
				next, err := s.db.Read(ctx, b.To, 10)
				if err == nil && len(next.Changes) == 1 {
					break
				}
				if ctx.Err() != nil {
					t.Fatalf("the change does not arrive: %+v, %v", next, err)
				}
			}
		})
	}
}

// behindRelay has a side reach its server through a relay from now on.
func (s *side) behindRelay(setting string) *relay {
	s.Helper()
	u, err := url.Parse(s.dsn)
	must(s.T, err)
	r, addr := newRelay(s.T, u.Host)
	u.Host, u.RawQuery = addr, u.RawQuery+"&"+setting
	must(s.T, s.db.Close())
	s.db = opened(s.T, u.String(), change.Monolith, changetest.Tables())
	return r
}

// TestWhoeverReadsTheLogHoldsNobodyUp who does not want to wait: the reader's
// session breaks as it begins.
func TestWhoeverReadsTheLogHoldsNobodyUp(t *testing.T) {
	s := prepared(t, change.Leading, canonical, changetest.Tables()...)
	r := s.behindRelay("wal_sender_timeout=0")
	exec(t, s.app, "INSERT INTO items (id, code, qty) VALUES (1, 'a', 1)")
	broke := r.breakAfter("START_REPLICATION")
	ctx, cancel := context.WithCancel(t.Context())
	read := make(chan error, 1)
	go func() {
		_, err := s.db.Read(ctx, 0, 10)
		read <- err
	}()
	<-broke
	brief, stop := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer stop()
	if _, err := s.db.Head(brief); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("the end of the log is known: %v", err)
	}
	select {
	case err := <-read:
		t.Errorf("the reader was waited for, until it ended with %v", err)
	default:
	}
	cancel()
	if err := <-read; err == nil {
		t.Error("the reader has read over a broken connection")
	}
}

// TestAnEngineThatStandsStillInTheMiddleOfAFenceHoldsNoWriterUp for long: the
// server ends the transaction that has locked the tables.
func TestAnEngineThatStandsStillInTheMiddleOfAFenceHoldsNoWriterUp(t *testing.T) {
	unlessShort(t)
	s := prepared(t, change.Leading, canonical, changetest.Tables()...)
	r := s.behindRelay("wal_sender_timeout=0")
	broke := r.breakAfter("LOCK TABLE")
	ctx, cancel := context.WithCancel(t.Context())
	fenced := make(chan error, 1)
	go func() { fenced <- s.db.Fence(ctx, change.Fence{Epoch: 1, Marker: "marker", Wait: time.Minute}) }()
	<-broke
	exec(t, s.app, "INSERT INTO items (id, code, qty) VALUES (1, 'a', 1)")
	cancel()
	if err := <-fenced; err == nil {
		t.Error("the fence is up")
	}
	exec(t, s.app, "INSERT INTO items (id, code, qty) VALUES (2, 'b', 1)")
}
