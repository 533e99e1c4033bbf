package upstream_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"syscall"
	"testing"
	"time"

	"stranglerfig/contract-tests/harness/require"
	"stranglerfig/strangler-proxy/upstream"
)

// short is a timeout that is meant to come; the others are longer than a test
// may take.
const short = 10 * time.Millisecond

// silent is an address where connections are taken and nothing is said.
func silent(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l.Addr().String() // the kernel takes them
}

// swallowing is an address that answers nothing at all: a port whose queue of
// connections is full.
func swallowing(t testing.TB) string {
	t.Helper()
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { syscall.Close(fd) })
	if err := errors.Join(syscall.Bind(fd, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}), syscall.Listen(fd, 0)); err != nil {
		t.Fatal(err)
	}
	at, err := syscall.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	address := (&net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: at.(*syscall.SockaddrInet4).Port}).String()
	for n := 0; ; n++ {
		c, err := net.DialTimeout("tcp", address, 20*time.Millisecond)
		if err != nil {
			return address
		}
		t.Cleanup(func() { c.Close() })
		if n > 1000 {
			require.Missing(t, "loopback", "this kernel takes as many connections as one likes")
		}
	}
}

// h2c makes a server speak HTTP/2 in clear text.
func h2c(t testing.TB, h http.HandlerFunc) *httptest.Server {
	t.Helper()
	s := httptest.NewUnstartedServer(h)
	s.Config.Protocols = &http.Protocols{}
	s.Config.Protocols.SetUnencryptedHTTP2(true)
	s.Start()
	t.Cleanup(s.Close)
	return s
}

// outcome is the one outcome that a backend's requests have had.
func outcome(t testing.TB, b *upstream.Backend) (one upstream.Outcome) {
	t.Helper()
	seen := 0
	for o, n := range b.Stats().Endpoints[0].Outcomes {
		if n > 0 {
			one = upstream.Outcome(o)
			seen++
		}
	}
	if seen != 1 {
		t.Errorf("requests ended in %d ways: %+v", seen, b.Stats())
	}
	return one
}

func TestNoPhaseTakesLongerThanItMay(t *testing.T) {
	hang := func(_ http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body) // or the server does not notice who goes away
		<-r.Context().Done()
	}
	stop := func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		io.WriteString(w, "half")
		w.(http.Flusher).Flush()
		<-r.Context().Done()
	}
	for name, row := range map[string]struct {
		o       upstream.Options
		notSent bool
		want    upstream.Outcome
	}{
		"dial":                {upstream.Options{URLs: []string{"http://" + swallowing(t)}, Timeouts: upstream.Timeouts{Dial: short}}, true, upstream.Unreachable},
		"dial, over HTTP/2":   {upstream.Options{URLs: []string{"http://" + swallowing(t)}, Protocol: upstream.H2C, Timeouts: upstream.Timeouts{Dial: short}}, true, upstream.Unreachable},
		"answer":              {upstream.Options{URLs: []string{serve(t, hang).URL}, Timeouts: upstream.Timeouts{Answer: short}}, false, upstream.Slow},
		"answer, over HTTP/2": {upstream.Options{URLs: []string{h2c(t, hang).URL}, Protocol: upstream.H2C, Timeouts: upstream.Timeouts{Answer: short}}, false, upstream.Slow},
		"idle":                {upstream.Options{URLs: []string{serve(t, stop).URL}, Timeouts: upstream.Timeouts{Idle: short}}, false, upstream.Slow},
		"idle, over HTTP/2":   {upstream.Options{URLs: []string{h2c(t, stop).URL}, Protocol: upstream.H2C, Timeouts: upstream.Timeouts{Idle: short}}, false, upstream.Slow},
	} {
		t.Run(name, func(t *testing.T) {
			b := made(t, row.o)
			_, err := send(t.Context(), b, "POST", "/", strings.NewReader("body"))
			if err == nil || isNotSent(err) != row.notSent {
				t.Errorf("%v", err)
			}
			if got := outcome(t, b); got != row.want {
				t.Errorf("the outcome is %s, want %s", got, row.want)
			}
		})
	}
}

func TestAHandshakeTakesNoLongerThanItMay(t *testing.T) {
	for _, protocol := range []upstream.Protocol{upstream.HTTP1, upstream.HTTP2} {
		b := made(t, upstream.Options{URLs: []string{"https://" + silent(t)}, Protocol: protocol, Timeouts: upstream.Timeouts{TLS: short}})
		if _, err := send(t.Context(), b, "GET", "/", nil); err == nil {
			t.Errorf("%s: answered", protocol)
		}
		if protocol != upstream.HTTP1 {
			continue
		}
		attempt, err := b.Begin(time.Now())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := attempt.Conn(t.Context(), upstream.Want{}, time.Now()); !isNotSent(err) || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("a connection of one's own: %v", err)
		}
		attempt.End(upstream.Unreachable, time.Now())
	}
}

// TestADialThatIsNotTakenUpLeavesTimeForOtherAddresses has a name with a dead
// address and a good one.
func TestADialThatIsNotTakenUpLeavesTimeForOtherAddresses(t *testing.T) {
	s, err := net.Listen("tcp", "127.0.0.2:0")
	if err != nil {
		require.Missing(t, "loopback", fmt.Sprintf("a second loopback address cannot be had here: %v", err))
	}
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "well") })}
	ended := make(chan error)
	go func() { ended <- server.Serve(s) }()
	defer func() { server.Close(); <-ended }()
	_, port, _ := net.SplitHostPort(s.Addr().String())
	names := newNames(t)
	names.say("127.0.0.1", "127.0.0.2") // nobody is at the first one's port
	b := made(t, upstream.Options{URLs: []string{"http://billing.test:" + port}, Resolver: names.resolver(), Limits: upstream.Limits{Idle: 1}})
	for range 20 {
		if got, err := send(t.Context(), b, "GET", "/", nil); err != nil || got != "well" {
			t.Fatalf("%q, %v", got, err)
		}
		b.Renew()
	}
}

func TestStreamsMayBeQuietForAnyTime(t *testing.T) {
	for _, mediaType := range []string{"text/event-stream", "application/grpc+proto"} {
		more := make(chan bool)
		s := h2c(t, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", mediaType)
			w.(http.Flusher).Flush()
			<-more
			io.WriteString(w, "event")
		})
		b := made(t, upstream.Options{URLs: []string{s.URL}, Protocol: upstream.H2C, Timeouts: upstream.Timeouts{Idle: short}})
		r, err := http.NewRequestWithContext(t.Context(), "GET", "http://billing/", nil)
		if err != nil {
			t.Fatal(err)
		}
		res, err := b.RoundTrip(r)
		if err != nil {
			t.Fatal(err)
		}
		time.AfterFunc(3*short, func() { close(more) })
		if got, err := io.ReadAll(res.Body); err != nil || string(got) != "event" {
			t.Errorf("%s: %q, %v", mediaType, got, err)
		}
		res.Body.Close()
	}
}
