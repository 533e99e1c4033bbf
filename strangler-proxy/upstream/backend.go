// Package upstream speaks to one backend: it chooses between its endpoints,
// pools connections, tells errors that happened before anything was sent from
// those after, fails fast while a backend is broken, bounds what it is asked to
// bear, and can lead everything through another address for experiments.
//
// Requests go over connections of one's own, see [Backend.Begin], where the
// backend speaks HTTP/1.1, or over net/http, see [Backend.RoundTrip], whatever
// it speaks. Start at [New].
package upstream

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"sync"
	"sync/atomic"
	"time"
)

// Backend is one application behind the proxy. It is safe for concurrent use.
type Backend struct {
	Name string
	URL  *url.URL // of the first endpoint

	o         Options
	endpoints []*endpoint
	transport *http.Transport
	prober    *http.Transport // asks whether the backend is well, whatever it has to bear
	dialer    net.Dialer
	way       atomic.Pointer[way]
	breaker   breaker
	budget    *budget

	inFlight, connections, waiting      atomic.Int64
	refusedRequests, refusedConnections atomic.Int64 // because there were too many
	refusedOpen                         atomic.Int64 // because the breaker was
	opened, closed                      atomic.Int64 // times, of the breaker
	fallbacks                           atomic.Int64

	freed chan struct{} // a connection may be had
	ended atomic.Bool
	end   context.CancelFunc
	cared chan struct{}
}

// NotSentError wraps an error that happened before a byte of the request was
// sent: whatever the method, nothing has happened at the backend.
type NotSentError struct{ Err error }

func (e *NotSentError) Error() string { return e.Err.Error() }

// Unwrap returns the cause.
func (e *NotSentError) Unwrap() error { return e.Err }

// ErrOpen is returned, as a NotSentError, while a backend is not tried because
// it has just failed several times in a row.
var ErrOpen = errors.New("the backend failed several times in a row and is not tried for a moment")

// New returns a backend, which Close ends.
func New(o Options) (*Backend, error) {
	o = o.withDefaults()
	if len(o.URLs) == 0 {
		return nil, fmt.Errorf("backend %s: no URL is given", o.Name)
	}
	if o.TLS == nil {
		o.TLS = &tls.Config{MinVersion: tls.VersionTLS12}
	}
	b := &Backend{Name: o.Name, o: o, breaker: breaker{o: o.Breaker}, budget: newBudget(), freed: make(chan struct{}, 1), cared: make(chan struct{})}
	for _, base := range o.URLs {
		u, err := url.Parse(base)
		if err != nil {
			return nil, fmt.Errorf("backend %s: %w", o.Name, err)
		}
		b.endpoints = append(b.endpoints, &endpoint{url: u})
	}
	b.URL = b.endpoints[0].url
	b.dialer = net.Dialer{Timeout: o.Timeouts.Dial, KeepAlive: 30 * time.Second}
	b.way.Store(&way{})
	b.transport, b.prober = b.newTransport(b.dial), b.newTransport(b.dialApart)
	b.prober.MaxIdleConnsPerHost = 1
	ctx, end := context.WithCancel(context.Background())
	b.end = end
	go b.care(ctx)
	return b, nil
}

// expectTimeout is how long a backend may take to ask for a body that was
// announced with Expect; then it gets it unasked.
const expectTimeout = time.Second

// newTransport makes what speaks to the backend over net/http.
func (b *Backend) newTransport(dial func(ctx context.Context, network, addr string) (net.Conn, error)) *http.Transport {
	t := &http.Transport{
		DialContext:           dial,
		MaxIdleConns:          0, // the bound is per host
		MaxIdleConnsPerHost:   b.o.Limits.Idle,
		IdleConnTimeout:       b.o.Limits.IdleFor,
		DisableCompression:    true, // bodies pass as they are
		WriteBufferSize:       16 << 10,
		ReadBufferSize:        16 << 10,
		TLSHandshakeTimeout:   b.o.Timeouts.TLS,
		TLSClientConfig:       b.o.TLS.Clone(),
		ResponseHeaderTimeout: b.o.Timeouts.Answer,
		ExpectContinueTimeout: expectTimeout,
		Protocols:             new(http.Protocols),
	}
	t.Protocols.SetHTTP1(b.o.Protocol == HTTP1)
	t.Protocols.SetHTTP2(b.o.Protocol == HTTP2)
	t.Protocols.SetUnencryptedHTTP2(b.o.Protocol == H2C)
	return t
}

// Raw reports whether the backend speaks HTTP/1.1, so that Begin may be used.
func (b *Backend) Raw() bool { return b.o.Protocol == HTTP1 }

// Timeouts returns what is granted the backend.
func (b *Backend) Timeouts() Timeouts { return b.o.Timeouts }

// way is how connections reach the backend for a while: directly, or through
// another address.
type way struct {
	via  string       // "" is directly
	open atomic.Int64 // connections that went this way and have not ended
	last *way         // the one before it
}

// open opens a connection to an endpoint the way that connections go now. A
// name is looked up for each; if it has several addresses, they are tried in a
// random order, so that all of them get their share.
func (b *Backend) open(ctx context.Context, u *url.URL) (net.Conn, *way, error) {
	w := b.way.Load()
	addresses := []string{hostPort(u)}
	if w.via != "" {
		addresses[0] = w.via
	} else if net.ParseIP(u.Hostname()) == nil {
		_, port, _ := net.SplitHostPort(addresses[0])
		found, err := net.DefaultResolver.LookupHost(ctx, u.Hostname())
		if err != nil {
			return nil, nil, err
		}
		addresses = addresses[:0]
		for _, i := range rand.Perm(len(found)) {
			addresses = append(addresses, net.JoinHostPort(found[i], port))
		}
	}
	var errs []error
	for _, address := range addresses {
		conn, err := b.dialer.DialContext(ctx, "tcp", address)
		if err == nil {
			w.open.Add(1)
			return conn, w, nil
		}
		errs = append(errs, err)
	}
	return nil, nil, errors.Join(errs...)
}

// dial opens a connection for net/http, waiting for a slot if need be.
func (b *Backend) dial(ctx context.Context, _, addr string) (net.Conn, error) {
	if err := b.awaitSlot(ctx); err != nil {
		return nil, &NotSentError{err}
	}
	conn, w, err := b.open(ctx, &url.URL{Host: addr})
	if err != nil {
		b.giveSlot()
		return nil, &NotSentError{err}
	}
	return &countedConn{Conn: conn, way: w, then: b.giveSlot}, nil
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

// Via leads every new connection through another address, or directly again
// with "". Idle connections are closed; requests under way end on the
// connections they have, see Settle.
func (b *Backend) Via(addr string) {
	before := b.way.Load()
	before.last = nil // nobody settles an earlier change any more
	b.way.Store(&way{via: addr, last: before})
	b.closeIdle()
	b.sweep(false)
}

func (b *Backend) closeIdle() {
	b.transport.CloseIdleConnections()
	b.prober.CloseIdleConnections()
}

// Settle waits until every connection from before the last Via has ended, or
// until ctx does. A connection whose request has been answered ends at once.
func (b *Backend) Settle(ctx context.Context) {
	before := b.way.Load().last
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for before != nil && before.open.Load() > 0 {
		b.closeIdle()
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

func hostPort(u *url.URL) string {
	if u.Port() != "" {
		return u.Host
	}
	if u.Scheme == "https" {
		return net.JoinHostPort(u.Hostname(), "443")
	}
	return net.JoinHostPort(u.Hostname(), "80")
}

// Address is the host and port that connections go to when nothing is in
// between.
func (b *Backend) Address() string { return hostPort(b.URL) }

// Close closes idle connections and ends the backend's own work. Requests
// under way end on the connections they have.
func (b *Backend) Close() {
	if b.ended.Swap(true) {
		return
	}
	b.end()
	<-b.cared
	b.closeIdle()
	b.sweep(true)
}
