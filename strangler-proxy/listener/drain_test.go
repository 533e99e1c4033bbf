package listener_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"stranglerfig/strangler-proxy/listener"
)

// drain begins to drain and returns how that ends.
func (r *running) drain(t *testing.T) <-chan error {
	t.Helper()
	done := make(chan error, 1)
	ctx, cancel := context.WithTimeout(context.Background(), hang)
	t.Cleanup(cancel)
	go func() { done <- r.Shutdown(ctx) }()
	return done
}

// notYet checks that something has not come about.
func notYet(t *testing.T, done <-chan error) {
	t.Helper()
	select {
	case err := <-done:
		t.Fatalf("the drain did not wait: %v", err)
	default:
	}
}

func ends(t *testing.T, done <-chan error) {
	t.Helper()
	if err := <-done; err != nil {
		t.Errorf("the drain ended with %v", err)
	}
}

func TestADrainEndsIdleConnectionsAndWaitsForBusyOnes(t *testing.T) {
	t.Parallel()
	r := run(t, nil)
	waiting, working := r.dial(t), r.dial(t)
	waiting.send("GET /a HTTP/1.1\r\n\r\n")
	waiting.answer()
	working.send("GET /slow HTTP/1.1\r\n\r\n")
	<-r.began
	done := r.drain(t)
	waiting.ended()
	notYet(t, done)
	close(r.goOn)
	res, body := working.answer()
	if body != "GET /slow HTTP/1.1" || !res.Close {
		t.Errorf("the busy one was answered %q, close %v", body, res.Close)
	}
	ends(t, done)
	if conn, err := net.Dial("tcp", r.addr); err == nil {
		conn.Close()
		t.Error("a connection was accepted after the drain")
	}
}

func TestANewConnectionIsStillAnsweredOnceWhileDraining(t *testing.T) {
	r := run(t, nil)
	working, fresh := r.dial(t), r.dial(t)
	working.send("GET /slow HTTP/1.1\r\n\r\n")
	<-r.began
	eventually(t, "the second connection", func() bool { return r.Connections() == 2 })
	done := r.drain(t)
	eventually(t, "the drain's beginning", r.Draining)
	fresh.send("GET /late HTTP/1.1\r\n\r\n")
	if res, body := fresh.answer(); body != "GET /late HTTP/1.1" || !res.Close {
		t.Errorf("it was answered %q, close %v", body, res.Close)
	}
	fresh.ended()
	notYet(t, done)
	close(r.goOn)
	ends(t, done)
}

func TestAnIdleConnectionMayAskOnceMoreWhileDraining(t *testing.T) {
	r := run(t, nil)
	working, idle := r.dial(t), r.dial(t)
	idle.send("GET /first HTTP/1.1\r\n\r\n")
	idle.answer()
	working.send("GET /slow HTTP/1.1\r\n\r\n")
	<-r.began
	done := r.drain(t)
	eventually(t, "the drain's beginning", r.Draining)
	idle.send("GET /second HTTP/1.1\r\n\r\n")
	if res, body := idle.answer(); body != "GET /second HTTP/1.1" || !res.Close {
		t.Errorf("it was answered %q, close %v", body, res.Close)
	}
	close(r.goOn)
	ends(t, done)
}

// TestNobodyWhoUsesAConnectionAllTheTimeIsCutByADrain has clients that ask
// again as soon as they are answered.
func TestNobodyWhoUsesAConnectionAllTheTimeIsCutByADrain(t *testing.T) {
	r := run(t, nil)
	var clients sync.WaitGroup
	var answers atomic.Int32
	for range 64 {
		c := r.dial(t)
		clients.Go(func() {
			for last := false; !last; answers.Add(1) {
				if _, err := io.WriteString(c, "GET / HTTP/1.1\r\n\r\n"); err != nil {
					t.Errorf("a client could not ask: %v", err)
					return
				}
				res, err := http.ReadResponse(c.in, nil)
				if err != nil {
					t.Errorf("a client was not answered: %v", err)
					return
				}
				_, _ = io.Copy(io.Discard, res.Body)
				last = res.Close
			}
		})
	}
	eventually(t, "the load", func() bool { return answers.Load() > 1000 })
	ends(t, r.drain(t))
	clients.Wait()
}

func TestANewHTTP2ConnectionIsStillAnsweredWhileDraining(t *testing.T) {
	r := run(t, nil)
	working := r.dial(t)
	working.send("GET /slow HTTP/1.1\r\n\r\n")
	<-r.began
	var dialed sync.Once
	connected, goOn := make(chan struct{}), make(chan struct{})
	client := h2c(t)
	client.Transport.(*http.Transport).DialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
		conn, err := net.Dial(network, addr)
		dialed.Do(func() { close(connected) })
		<-goOn
		return conn, err
	}
	answered := make(chan string, 1)
	go func() { answered <- get(t, client, "http://"+r.addr+"/late") }()
	<-connected
	eventually(t, "the second connection", func() bool { return r.Connections() == 2 })
	done := r.drain(t)
	eventually(t, "the drain's beginning", r.Draining)
	close(goOn)
	if got := <-answered; got != "HTTP/2.0 /late" {
		t.Errorf("it was answered %q", got)
	}
	close(r.goOn)
	ends(t, done)
}

// lateListener accepts nothing before it is let.
type lateListener struct {
	*net.TCPListener
	asked chan struct{} // told each accept
	open  chan struct{} // closed when it is let
}

// Accept implements [net.Listener].
func (l *lateListener) Accept() (net.Conn, error) {
	select {
	case l.asked <- struct{}{}:
	default:
	}
	<-l.open
	return l.TCPListener.Accept()
}

func TestWhatTheKernelHasAcceptedBeforeADrainIsAnswered(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	late := &lateListener{l.(*net.TCPListener), make(chan struct{}, 1), make(chan struct{})}
	r := runOn(t, late, nil)
	var clients []*client
	for i := range 20 {
		clients = append(clients, r.dial(t))
		clients[i].send(fmt.Sprintf("GET /%d HTTP/1.1\r\n\r\n", i))
	}
	<-late.asked
	done := r.drain(t)
	eventually(t, "the drain's beginning", r.Draining)
	close(late.open)
	for i, c := range clients {
		if _, body := c.answer(); body != fmt.Sprintf("GET /%d HTTP/1.1", i) {
			t.Errorf("client %d was answered %q", i, body)
		}
	}
	ends(t, done)
}

func TestARequestThatHadArrivedWhenTheDrainBeganIsAnswered(t *testing.T) {
	atRest := make(chan struct{})
	goOn := make(chan struct{})
	var got atomic.Value
	r := run(t, func(o *listener.Options) {
		o.HTTP1 = func(c *listener.Conn) {
			l := &lender{buf: make([]byte, 100)}
			for range 2 {
				n, err := c.Await(l)
				if err != nil {
					return
				}
				got.Store(string(l.buf[:n]))
				atRest <- struct{}{}
				<-goOn
			}
		}
	})
	c := r.dial(t)
	c.send("first")
	<-atRest
	c.send("second")
	done := r.drain(t)
	eventually(t, "the drain's beginning", r.Draining)
	close(goOn)
	<-atRest
	if got.Load() != "second" {
		t.Errorf("%q came", got.Load())
	}
	ends(t, done)
}

func TestADrainLetsHTTP2StreamsEnd(t *testing.T) {
	r := run(t, nil)
	client := h2c(t)
	get(t, client, "http://"+r.addr+"/first")
	answered := make(chan string, 1)
	go func() { answered <- get(t, client, "http://"+r.addr+"/slow") }()
	<-r.began
	done := r.drain(t)
	eventually(t, "the drain's beginning", r.Draining)
	notYet(t, done)
	close(r.goOn)
	if got := <-answered; got != "HTTP/2.0 /slow" {
		t.Errorf("it was answered %q", got)
	}
	ends(t, done)
}

func TestADrainSaysGoAwayToIdleHTTP2Connections(t *testing.T) {
	t.Parallel()
	const headers, goAway = 1, 7
	r := run(t, nil)
	c := r.dial(t)
	c.send("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00")
	c.send("\x00\x00\x06\x01\x05\x00\x00\x00\x01" + "\x82\x86\x84\x41\x01a") // GET http://a/
	frame := func() (kind byte) {
		head := make([]byte, 9)
		if _, err := io.ReadFull(c.in, head); err != nil {
			t.Fatal(err)
		}
		if _, err := c.in.Discard(int(head[0])<<16 | int(head[1])<<8 | int(head[2])); err != nil {
			t.Fatal(err)
		}
		return head[3]
	}
	for frame() != headers {
	}
	done := r.drain(t)
	for frame() != goAway {
	}
	ends(t, done)
}

func TestADrainThatComesAsConnectionsBeginEnds(t *testing.T) {
	t.Parallel()
	for range 20 {
		r := run(t, nil)
		var clients sync.WaitGroup
		for range 4 {
			client := h2c(t)
			clients.Go(func() {
				for {
					res, err := client.Get("http://" + r.addr + "/")
					if err != nil {
						return // the drain is over
					}
					res.Body.Close()
				}
			})
		}
		eventually(t, "a connection", func() bool { return r.Connections() > 0 })
		ends(t, r.drain(t))
		clients.Wait()
	}
}

func TestADrainEndsWithItsContextAndCloseCutsTheRest(t *testing.T) {
	r := run(t, nil)
	one := r.dial(t)
	one.send("GET /slow HTTP/1.1\r\n\r\n")
	<-r.began
	two := make(chan error, 1)
	client := h2c(t)
	go func() {
		_, err := client.Get("http://" + r.addr + "/slow")
		two <- err
	}()
	<-r.began
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := r.Shutdown(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("the drain ended with %v", err)
	}
	if err := r.Close(); err != nil {
		t.Error(err)
	}
	one.ended()
	if err := <-two; err == nil {
		t.Error("the stream was not cut")
	}
	if n := r.Connections(); n != 0 {
		t.Errorf("%d connections are left", n)
	}
}

func TestAServerThatWasClosedServesNoFurtherListener(t *testing.T) {
	r := run(t, nil)
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		t.Error(err)
	}
	if conn, err := net.Dial("tcp", l.Addr().String()); err == nil {
		conn.Close()
		t.Error("the listener is open")
	}
}

// failingListener fails a few times before it accepts.
type failingListener struct {
	net.Listener
	failures atomic.Int32
}

// Accept implements [net.Listener].
func (l *failingListener) Accept() (net.Conn, error) {
	if l.failures.Add(-1) >= 0 {
		return nil, &net.OpError{Op: "accept", Err: syscall.EMFILE}
	}
	return l.Listener.Accept()
}

func TestALackOfFileDescriptorsIsCountedAndSurvived(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	failing := &failingListener{Listener: l}
	failing.failures.Store(3)
	r := runOn(t, failing, nil)
	c := r.dial(t)
	c.send("GET / HTTP/1.1\r\n\r\n")
	c.answer()
	if n := r.count(listener.Accept); n != 3 {
		t.Errorf("%d failures were counted", n)
	}
}

func TestADrainDoesNotWaitForTheNextTryToAccept(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	failing := &failingListener{Listener: l}
	failing.failures.Store(1 << 30)
	r := runOn(t, failing, nil)
	eventually(t, "a failure", func() bool { return r.count(listener.Accept) > 0 })
	ends(t, r.drain(t))
}
