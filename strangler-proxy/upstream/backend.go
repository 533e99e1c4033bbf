// Package upstream speaks to one backend: it pools connections, tells errors
// that happened before anything was sent from those after, fails fast while a
// backend is broken, and can be led through another address for experiments.
//
// Start at [New].
package upstream

import (
	"context"
	"errors"
	"fmt"
	"io"
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
	URL  *url.URL

	transport *http.Transport
	dialer    net.Dialer
	way       atomic.Pointer[way]
	breaker   breaker
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

const (
	dialTimeout   = 2 * time.Second
	idlePerHost   = 256
	idleTimeout   = 60 * time.Second
	trip          = 5                      // failures in a row that open the breaker
	pauseForTrial = 500 * time.Millisecond // until one request may try again
)

// New returns a backend at a base URL such as http://127.0.0.1:9000.
func New(name, base string) (*Backend, error) {
	u, err := url.Parse(base)
	if err != nil {
		return nil, fmt.Errorf("backend %s: %w", name, err)
	}
	b := &Backend{Name: name, URL: u, dialer: net.Dialer{Timeout: dialTimeout, KeepAlive: 30 * time.Second}}
	b.way.Store(&way{})
	b.transport = &http.Transport{
		DialContext:         b.dial,
		MaxIdleConns:        0, // the bound is per host
		MaxIdleConnsPerHost: idlePerHost,
		IdleConnTimeout:     idleTimeout,
		DisableCompression:  true, // bodies pass as they are
		WriteBufferSize:     16 << 10,
		ReadBufferSize:      16 << 10,
		TLSHandshakeTimeout: 5 * time.Second,
	}
	return b, nil
}

// way is how connections reach the backend for a while: directly, or through
// another address.
type way struct {
	via  string       // "" is directly
	open atomic.Int64 // connections that went this way and have not ended
	last *way         // the one before it
}

func (b *Backend) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	w := b.way.Load()
	if w.via != "" {
		addr = w.via
	}
	conn, err := b.dialer.DialContext(ctx, network, addr)
	if err != nil {
		return nil, &NotSentError{err}
	}
	w.open.Add(1)
	return &countedConn{Conn: conn, way: w}, nil
}

// countedConn tells its way when it has ended.
type countedConn struct {
	net.Conn
	way    *way
	closed sync.Once
}

// Close implements [net.Conn].
func (c *countedConn) Close() error {
	c.closed.Do(func() { c.way.open.Add(-1) })
	return c.Conn.Close()
}

// Via leads every new connection through another address, or directly again
// with "". Idle connections are closed; requests under way end on the
// connections they have, see Settle.
func (b *Backend) Via(addr string) {
	before := b.way.Load()
	before.last = nil // nobody settles an earlier change any more
	b.way.Store(&way{via: addr, last: before})
	b.transport.CloseIdleConnections()
}

// Settle waits until every connection from before the last Via has ended, or
// until ctx does. A connection whose request has been answered ends at once.
func (b *Backend) Settle(ctx context.Context) {
	before := b.way.Load().last
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for before != nil && before.open.Load() > 0 {
		b.transport.CloseIdleConnections()
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// RoundTrip sends a request to the backend, whatever host its URL names.
func (b *Backend) RoundTrip(r *http.Request) (*http.Response, error) {
	if !b.breaker.admit(time.Now()) {
		return nil, &NotSentError{ErrOpen}
	}
	r.URL.Scheme, r.URL.Host = b.URL.Scheme, b.URL.Host
	upload := &upload{ReadCloser: r.Body}
	if r.Body != nil && r.Body != http.NoBody {
		r.Body = upload
	}
	res, err := b.transport.RoundTrip(r)
	switch {
	case err == nil:
		b.breaker.succeeded()
	case r.Context().Err() != nil && !errors.Is(context.Cause(r.Context()), ErrSlow), upload.broken.Load():
		b.breaker.undecided() // the client went away; that says nothing
	default:
		b.breaker.failed(time.Now())
	}
	return res, err
}

// upload is a request body that notes whether its sender broke it off.
type upload struct {
	io.ReadCloser
	broken atomic.Bool
}

func (u *upload) Read(p []byte) (int, error) {
	n, err := u.ReadCloser.Read(p)
	if err != nil && err != io.EOF && !errors.Is(err, http.ErrBodyReadAfterClose) {
		u.broken.Store(true)
	}
	return n, err
}

// ErrSlow is the cause with which a caller cancels a request that took too
// long to be answered.
var ErrSlow = errors.New("the backend did not answer in time")

// Check asks whether the backend is well: a 2xx at path, or, without a path,
// a connection.
func (b *Backend) Check(ctx context.Context, path string) error {
	if path == "" {
		conn, err := b.dial(ctx, "tcp", hostPort(b.URL))
		if err != nil {
			return fmt.Errorf("%s at %s cannot be reached: %w", b.Name, b.URL, err)
		}
		return conn.Close()
	}
	body, err := b.get(ctx, path)
	if err != nil {
		return err
	}
	return body.Close()
}

// Get returns the body of a 2xx answer at path, at most 64 KiB of it.
func (b *Backend) Get(ctx context.Context, path string) ([]byte, error) {
	body, err := b.get(ctx, path)
	if err != nil {
		return nil, err
	}
	defer body.Close()
	return io.ReadAll(io.LimitReader(body, 64<<10))
}

func (b *Backend) get(ctx context.Context, path string) (io.ReadCloser, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, b.URL.String()+path, nil)
	if err != nil {
		return nil, err
	}
	res, err := b.transport.RoundTrip(req)
	if err != nil {
		return nil, fmt.Errorf("%s at %s cannot be reached: %w", b.Name, b.URL, err)
	}
	if res.StatusCode < 200 || res.StatusCode > 299 {
		res.Body.Close()
		return nil, fmt.Errorf("%s answers %s with %d", b.Name, b.URL.String()+path, res.StatusCode)
	}
	return res.Body, nil
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

// Close closes idle connections.
func (b *Backend) Close() { b.transport.CloseIdleConnections() }

// breaker opens after failures in a row and admits one trial after a pause.
type breaker struct {
	mu       sync.Mutex
	failures int
	until    time.Time // no trial before
	trial    bool      // one is under way
}

func (k *breaker) admit(now time.Time) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.failures < trip {
		return true
	}
	if k.trial || now.Before(k.until) {
		return false
	}
	k.trial = true
	return true
}

func (k *breaker) succeeded() {
	k.mu.Lock()
	k.failures, k.trial = 0, false
	k.mu.Unlock()
}

func (k *breaker) undecided() {
	k.mu.Lock()
	k.trial = false
	k.mu.Unlock()
}

func (k *breaker) failed(now time.Time) {
	k.mu.Lock()
	k.failures++
	k.trial = false
	k.until = now.Add(pauseForTrial)
	k.mu.Unlock()
}

// Open reports whether the backend is not being tried at the moment.
func (b *Backend) Open() bool {
	b.breaker.mu.Lock()
	defer b.breaker.mu.Unlock()
	return b.breaker.failures >= trip
}
