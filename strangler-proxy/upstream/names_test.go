package upstream_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"

	"stranglerfig/contract-tests/harness/require"
	"stranglerfig/strangler-proxy/upstream"
)

// names is a DNS server that says which addresses every name has.
type names struct {
	conn net.PacketConn

	mu        sync.Mutex
	addresses []string
	asked     int
}

func newNames(t testing.TB) *names {
	t.Helper()
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	n := &names{conn: conn}
	var serving sync.WaitGroup
	serving.Go(n.serve)
	t.Cleanup(func() {
		conn.Close()
		serving.Wait()
	})
	return n
}

func (n *names) say(addresses ...string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.addresses = addresses
}

// resolver asks this server and nobody else.
func (n *names) resolver() *net.Resolver {
	return &net.Resolver{PreferGo: true, StrictErrors: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "udp", n.conn.LocalAddr().String())
	}}
}

func (n *names) serve() {
	for piece := make([]byte, 1500); ; {
		size, from, err := n.conn.ReadFrom(piece)
		if err != nil {
			return
		}
		if answer := n.answer(piece[:size]); answer != nil {
			n.conn.WriteTo(answer, from)
		}
	}
}

func (n *names) answer(question []byte) []byte {
	var m dnsmessage.Message
	if m.Unpack(question) != nil || len(m.Questions) != 1 {
		return nil
	}
	q := m.Questions[0]
	m.Header = dnsmessage.Header{ID: m.ID, Response: true, Authoritative: true}
	m.Additionals = nil
	n.mu.Lock()
	defer n.mu.Unlock()
	n.asked++
	if q.Type == dnsmessage.TypeA {
		for _, a := range n.addresses {
			m.Answers = append(m.Answers, dnsmessage.Resource{
				Header: dnsmessage.ResourceHeader{Name: q.Name, Type: q.Type, Class: q.Class, TTL: 3600}, Body: &dnsmessage.AResource{A: netip.MustParseAddr(a).As4()},
			})
		}
	}
	raw, err := m.Pack()
	if err != nil {
		return nil
	}
	return raw
}

// twins are two servers of one port, each of which says where it is.
func twins(t testing.TB, protocols *http.Protocols) (port string) {
	t.Helper()
	first, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_, port, _ = net.SplitHostPort(first.Addr().String())
	second, err := net.Listen("tcp", "127.0.0.2:"+port)
	if err != nil {
		require.Missing(t, "loopback", fmt.Sprintf("a second loopback address cannot be had here: %v", err))
	}
	for _, l := range []net.Listener{first, second} {
		at, _, _ := net.SplitHostPort(l.Addr().String())
		server := &http.Server{Protocols: protocols, Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, at) })}
		ended := make(chan error)
		go func() { ended <- server.Serve(l) }()
		t.Cleanup(func() { server.Close(); <-ended })
	}
	return port
}

// TestANameIsLookedUpAnewWhenConnectionsHaveGrownOld moves a service to another
// address; the old one goes on answering.
func TestANameIsLookedUpAnewWhenConnectionsHaveGrownOld(t *testing.T) {
	clear := &http.Protocols{}
	clear.SetUnencryptedHTTP2(true)
	for protocol, protocols := range map[upstream.Protocol]*http.Protocols{upstream.HTTP1: nil, upstream.H2C: clear} {
		port := twins(t, protocols)
		n := newNames(t)
		n.say("127.0.0.1")
		b := made(t, upstream.Options{URLs: []string{"http://billing.test:" + port}, Protocol: protocol, Resolver: n.resolver()})
		at := func() string {
			t.Helper()
			got, err := send(t.Context(), b, "GET", "/", nil)
			if err != nil {
				t.Fatal(err)
			}
			return got
		}
		if got := at(); got != "127.0.0.1" {
			t.Errorf("%s: asked at %s", protocol, got)
		}
		n.say("127.0.0.2")
		if got := at(); got != "127.0.0.1" {
			t.Errorf("%s: a connection that is there is not used: asked at %s", protocol, got)
		}
		b.Renew()
		if got := at(); got != "127.0.0.2" {
			t.Errorf("%s: after a while still asked at %s", protocol, got)
		}
		eventually(t, "old connections are closed", func() bool { return b.Old() == 0 && b.Stats().Connections == 1 })
	}
}

func TestAnOldConnectionOfOnesOwnIsNotKept(t *testing.T) {
	port := twins(t, nil)
	n := newNames(t)
	b := made(t, upstream.Options{URLs: []string{"http://billing.test:" + port}, Resolver: n.resolver(), Limits: upstream.Limits{Age: 1}})
	for _, address := range []string{"127.0.0.1", "127.0.0.2", "127.0.0.1"} {
		n.say(address)
		attempt, err := b.Begin(time.Now())
		if err != nil {
			t.Fatal(err)
		}
		c, err := attempt.Conn(t.Context(), upstream.Want{}, time.Now())
		if err != nil {
			t.Fatal(err)
		}
		if got, _, _ := net.SplitHostPort(c.RemoteAddr().String()); got != address {
			t.Errorf("connected to %s, want %s", got, address)
		}
		c.Keep(time.Now())
		attempt.End(upstream.Well, time.Now())
	}
}

func TestOfANamesAddressesEachGetsItsShare(t *testing.T) {
	port := twins(t, nil)
	n := newNames(t)
	n.say("127.0.0.1", "127.0.0.2")
	b := made(t, upstream.Options{URLs: []string{"http://billing.test:" + port}, Resolver: n.resolver()})
	seen := map[string]int{}
	for range 200 {
		got, err := send(t.Context(), b, "GET", "/", nil)
		if err != nil {
			t.Fatal(err)
		}
		seen[got]++
		b.Renew()
	}
	if seen["127.0.0.1"] < 100-22 || seen["127.0.0.2"] < 100-22 { // three standard deviations
		t.Errorf("%v", seen)
	}
}

func TestANameWithoutAnAddressIsUnreachable(t *testing.T) {
	n := newNames(t)
	b := made(t, upstream.Options{URLs: []string{"http://billing.test:80"}, Resolver: n.resolver()})
	if _, err := send(t.Context(), b, "GET", "/", nil); !isNotSent(err) {
		t.Errorf("%v", err)
	}
	if got := outcome(t, b); got != upstream.Unreachable {
		t.Errorf("the outcome is %s", got)
	}
}
