package upstream

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"net/url"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// expectTimeout is how long a backend may take to ask for a body that was
// announced with Expect; then it gets it unasked.
const expectTimeout = time.Second

// streamBuffer is how much of an answer may wait here for a client that takes
// it slowly, over HTTP/2. net/http would let 4 MiB wait for each.
const streamBuffer = 256 << 10

// transport speaks to the backend over net/http. Its connections live for as
// long as they are used; so that a change of DNS is noticed all the same, it is
// replaced by another one now and then.
type transport struct {
	*http.Transport
	open atomic.Int64 // connections
}

func (b *Backend) newTransport() *transport {
	t := &transport{}
	t.Transport = b.newClient(func(ctx context.Context, _, addr string) (net.Conn, error) { return b.dial(ctx, t, addr) })
	return t
}

// renew has new requests make new connections. Those under way end on the
// connections they have.
func (b *Backend) renew() {
	old := b.transport.Swap(b.newTransport())
	b.mu.Lock()
	b.old = append(b.old, old)
	b.mu.Unlock()
	b.closeOld()
}

// closeIdle closes the connections that net/http keeps for later.
func (b *Backend) closeIdle() {
	b.transport.Load().CloseIdleConnections()
	b.prober.CloseIdleConnections()
	b.closeOld()
}

// closeOld does the same for transports that are not used any more, and forgets
// those that have none left.
func (b *Backend) closeOld() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.old = slices.DeleteFunc(b.old, func(t *transport) bool {
		t.CloseIdleConnections()
		return t.open.Load() == 0
	})
}

// newClient makes what speaks HTTP on connections that are opened by dial.
func (b *Backend) newClient(dial func(ctx context.Context, network, addr string) (net.Conn, error)) *http.Transport {
	t := &http.Transport{
		DialContext:           dial,
		DialTLSContext:        b.secured(dial),
		MaxIdleConns:          0, // the bound is per host
		MaxIdleConnsPerHost:   b.o.Limits.Idle,
		IdleConnTimeout:       b.o.Limits.IdleFor,
		DisableCompression:    true, // bodies pass as they are
		WriteBufferSize:       16 << 10,
		ReadBufferSize:        16 << 10,
		ResponseHeaderTimeout: b.o.Timeouts.Answer,
		ExpectContinueTimeout: expectTimeout,
		Protocols:             new(http.Protocols),
		HTTP2:                 &http.HTTP2Config{MaxReceiveBufferPerStream: streamBuffer},
	}
	t.Protocols.SetHTTP1(b.o.Protocol == HTTP1)
	t.Protocols.SetHTTP2(b.o.Protocol == HTTP2)
	t.Protocols.SetUnencryptedHTTP2(b.o.Protocol == H2C)
	return t
}

// secured makes of what opens a connection what opens an encrypted one: if the
// handshake fails nothing of a request was sent, which net/http would not say.
func (b *Backend) secured(dial func(ctx context.Context, network, addr string) (net.Conn, error)) func(ctx context.Context, network, addr string) (net.Conn, error) {
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		conn, err := dial(ctx, network, addr)
		if err != nil {
			return nil, err
		}
		secured, err := b.secure(ctx, conn, (&url.URL{Host: addr}).Hostname())
		if err != nil {
			conn.Close()
			return nil, &NotSentError{err}
		}
		return secured, nil
	}
}

// secure shakes hands with an endpoint of a name.
func (b *Backend) secure(ctx context.Context, conn net.Conn, name string) (*tls.Conn, error) {
	config := b.o.TLS.Clone()
	if config.ServerName == "" {
		config.ServerName = name
	}
	config.NextProtos = []string{string(b.o.Protocol)}
	bounded, cancel := context.WithTimeout(ctx, b.o.Timeouts.TLS)
	defer cancel()
	secured := tls.Client(conn, config)
	return secured, secured.HandshakeContext(bounded)
}

// dial opens a connection of a transport, waiting for a slot if need be.
func (b *Backend) dial(ctx context.Context, t *transport, addr string) (net.Conn, error) {
	if err := b.awaitSlot(ctx); err != nil {
		return nil, &NotSentError{err}
	}
	conn, w, err := b.open(ctx, &url.URL{Host: addr})
	if err != nil {
		b.giveSlot()
		return nil, &NotSentError{err}
	}
	t.open.Add(1)
	return &countedConn{Conn: conn, way: w, then: func() { t.open.Add(-1); b.giveSlot() }}, nil
}

// dialApart opens a connection that is not among those that are bounded.
func (b *Backend) dialApart(ctx context.Context, _, addr string) (net.Conn, error) {
	conn, w, err := b.open(ctx, &url.URL{Host: addr})
	if err != nil {
		return nil, &NotSentError{err}
	}
	return &countedConn{Conn: conn, way: w, then: func() {}}, nil
}

// countedConn tells its way, and whoever else wants to know, when it has ended.
type countedConn struct {
	net.Conn
	way    *way
	then   func()
	closed sync.Once
}

// Close implements [net.Conn].
func (c *countedConn) Close() error {
	c.closed.Do(func() {
		c.way.open.Add(-1)
		c.then()
	})
	return c.Conn.Close()
}
