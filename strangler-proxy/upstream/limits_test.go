package upstream_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"stranglerfig/strangler-proxy/upstream"
)

// made returns a backend.
func made(t testing.TB, o upstream.Options) *upstream.Backend {
	t.Helper()
	if o.Name == "" {
		o.Name = "billing"
	}
	b, err := upstream.New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	return b
}

// eventually waits until something holds.
func eventually(t testing.TB, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !holds(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%s: not after a minute", what)
		}
	}
}

func TestNoMoreRequestsAreUnderWayThanMayBe(t *testing.T) {
	let := make(chan bool)
	s := serve(t, func(http.ResponseWriter, *http.Request) { <-let })
	b := made(t, upstream.Options{URLs: []string{s.URL}, Limits: upstream.Limits{Requests: 3}})
	var under sync.WaitGroup
	for range 3 {
		under.Go(func() {
			if _, err := send(t.Context(), b, "GET", "/", nil); err != nil {
				t.Error(err)
			}
		})
	}
	eventually(t, "three requests are under way", func() bool { return b.Stats().InFlight == 3 })
	for range 5 {
		if _, err := send(t.Context(), b, "POST", "/", nil); !errors.Is(err, upstream.ErrFull) || !isNotSent(err) {
			t.Errorf("one more: %v", err)
		}
		if _, err := b.Begin(time.Now()); !errors.Is(err, upstream.ErrFull) {
			t.Errorf("one more attempt: %v", err)
		}
	}
	close(let)
	under.Wait()
	if s := b.Stats(); s.RefusedRequests != 10 || s.InFlight != 0 || b.Open() {
		t.Errorf("afterwards: %+v", s)
	}
	if _, err := send(t.Context(), b, "GET", "/", nil); err != nil {
		t.Errorf("one when there is room again: %v", err)
	}
}

// TestNoMoreConnectionsAreOpenThanMayBe sends more requests at once than there
// may be connections, half of them over net/http.
func TestNoMoreConnectionsAreOpenThanMayBe(t *testing.T) {
	var now, most atomic.Int64 // requests that the backend serves, each on a connection of its own
	s := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		n := now.Add(1)
		for seen := most.Load(); n > seen && !most.CompareAndSwap(seen, n); seen = most.Load() {
		}
		time.Sleep(time.Millisecond / 4)
		now.Add(-1)
		io.WriteString(w, "well")
	})
	b := made(t, upstream.Options{URLs: []string{s.URL}, Limits: upstream.Limits{Connections: 4, Idle: 2}, Timeouts: upstream.Timeouts{Dial: time.Minute}})
	var all sync.WaitGroup
	for n := range 40 {
		all.Go(func() {
			for range 10 {
				var err error
				if n%2 == 0 {
					_, err = send(t.Context(), b, "GET", "/", nil)
				} else {
					err = raw(b)
				}
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	if most.Load() != 4 {
		t.Errorf("%d connections were used at once", most.Load())
	}
	if s := b.Stats(); s.Connections > 4 || s.RefusedConnections != 0 || s.InFlight != 0 {
		t.Errorf("afterwards: %+v", s)
	}
}

// raw sends a request over a connection of its own.
func raw(b *upstream.Backend) (err error) {
	attempt, err := b.Begin(time.Now())
	if err != nil {
		return err
	}
	outcome := upstream.Failed
	defer func() { attempt.End(outcome, time.Now()) }()
	c, err := attempt.Conn(context.Background(), upstream.Want{}, time.Now())
	if err != nil {
		return err
	}
	if _, err := io.WriteString(c, "GET / HTTP/1.1\r\nHost: billing\r\n\r\n"); err != nil {
		c.Close()
		return err
	}
	const answer = "well"
	for got := []byte{}; len(got) < len(answer) || string(got[len(got)-len(answer):]) != answer; {
		piece := make([]byte, 512)
		n, err := c.Read(piece)
		if err != nil {
			c.Close()
			return err
		}
		got = append(got, piece[:n]...)
	}
	outcome = upstream.Well
	c.Keep(time.Now())
	return nil
}

func TestWhoeverWaitsForAConnectionGetsOneWhenItIsGivenBack(t *testing.T) {
	s := serve(t, func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "well") })
	b := made(t, upstream.Options{URLs: []string{s.URL}, Limits: upstream.Limits{Connections: 1}, Timeouts: upstream.Timeouts{Dial: time.Minute}})
	first, err := b.Begin(time.Now())
	if err != nil {
		t.Fatal(err)
	}
	held, err := first.Conn(t.Context(), upstream.Want{}, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	got := make(chan *upstream.Conn)
	go func() {
		defer close(got)
		second, err := b.Begin(time.Now())
		if err != nil {
			t.Error(err)
			return
		}
		defer second.End(upstream.Well, time.Now())
		c, err := second.Conn(t.Context(), upstream.Want{}, time.Now())
		if err != nil {
			t.Error(err)
			return
		}
		got <- c
	}()
	eventually(t, "somebody waits", func() bool { return b.Stats().Waiting == 1 })
	held.Keep(time.Now())
	first.End(upstream.Well, time.Now())
	c := <-got // the same one, or another if room was just being made
	if n := b.Stats().Connections; c == nil || n != 1 {
		t.Errorf("got %v, and %d connections are open", c, n)
	} else {
		c.Close()
	}
	<-got
}

func TestWaitingForAConnectionInVainIsNoFaultOfTheBackend(t *testing.T) {
	s := serve(t, func(http.ResponseWriter, *http.Request) {})
	b := made(t, upstream.Options{URLs: []string{s.URL}, Limits: upstream.Limits{Connections: 1}, Timeouts: upstream.Timeouts{Dial: 5 * time.Millisecond}})
	first, err := b.Begin(time.Now())
	if err != nil {
		t.Fatal(err)
	}
	held, err := first.Conn(t.Context(), upstream.Want{}, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	for range 10 {
		if _, err := send(t.Context(), b, "GET", "/", nil); !errors.Is(err, upstream.ErrFull) || !isNotSent(err) {
			t.Fatalf("without a connection: %v", err)
		}
		attempt, err := b.Begin(time.Now())
		if err != nil {
			t.Fatal(err)
		}
		_, err = attempt.Conn(t.Context(), upstream.Want{}, time.Now())
		if !errors.Is(err, upstream.ErrFull) || upstream.Unconnected(err) != upstream.Undecided {
			t.Fatalf("without a connection: %v", err)
		}
		attempt.End(upstream.Unconnected(err), time.Now())
	}
	if got := b.Stats(); got.Breaker != upstream.Closed || got.RefusedConnections != 20 || got.Endpoints[0].Outcomes[upstream.Undecided] != 20 {
		t.Errorf("%+v", got)
	}
	if err := b.Check(t.Context(), ""); err != nil {
		t.Errorf("a backend that has much to do is taken to be ill: %v", err)
	}
	if err := b.Check(t.Context(), "/readyz"); err != nil {
		t.Errorf("a backend that has much to do is taken to be ill: %v", err)
	}
	held.Close()
	first.End(upstream.Well, time.Now())
}

// TestAConnectionThatCannotBeUsedAgainIsNot has the backend close what is idle,
// or say something unasked.
func TestAConnectionThatCannotBeUsedAgainIsNot(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	b := made(t, upstream.Options{URLs: []string{"http://" + l.Addr().String()}})
	for name, spoil := range map[string]func(net.Conn){
		"closed":          func(c net.Conn) { c.Close() },
		"said something":  func(c net.Conn) { io.WriteString(c, "HTTP/1.1 408 Request Timeout\r\n\r\n") },
		"sending is over": func(c net.Conn) { c.(*net.TCPConn).CloseWrite() },
	} {
		attempt, err := b.Begin(time.Now())
		if err != nil {
			t.Fatal(err)
		}
		first, err := attempt.Conn(t.Context(), upstream.Want{}, time.Now())
		if err != nil {
			t.Fatal(err)
		}
		its, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		first.Keep(time.Now())
		spoil(its)
		eventually(t, name, func() bool {
			again, err := attempt.Conn(t.Context(), upstream.Want{}, time.Now())
			if err != nil {
				t.Fatal(err)
			}
			if again == first {
				again.Keep(time.Now()) // what was done is not here yet
				return false
			}
			again.Close()
			return true
		})
		attempt.End(upstream.Well, time.Now())
		its.Close()
		if next, err := l.Accept(); err == nil {
			next.Close()
		}
	}
}
