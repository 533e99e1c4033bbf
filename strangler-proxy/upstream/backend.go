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
	"net"
	"net/http"
	"net/url"
	"sync"
	"sync/atomic"
)

// Backend is one application behind the proxy. It is safe for concurrent use.
type Backend struct {
	Name string
	URL  *url.URL // of the first endpoint

	o         Options
	endpoints []*endpoint
	hosts     []*url.URL // of the endpoints
	encrypted bool       // one of them is
	transport atomic.Pointer[transport]
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

	mu  sync.Mutex
	old []*transport // that are not used any more, while they have connections

	freed chan struct{} // a connection may be had
	short chan struct{} // somebody begins to wait for one
	ended atomic.Bool
	end   context.CancelFunc
	work  sync.WaitGroup // the backend's own
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
	b := &Backend{Name: o.Name, o: o, breaker: breaker{o: o.Breaker}, budget: newBudget(), freed: make(chan struct{}, 1), short: make(chan struct{}, 1)}
	for _, base := range o.URLs {
		u, err := url.Parse(base)
		if err != nil {
			return nil, fmt.Errorf("backend %s: %w", o.Name, err)
		}
		b.endpoints = append(b.endpoints, &endpoint{url: u})
		b.hosts = append(b.hosts, u)
		b.encrypted = b.encrypted || u.Scheme == "https"
	}
	b.URL = b.endpoints[0].url
	b.dialer = net.Dialer{Timeout: o.Timeouts.Dial}
	b.way.Store(&way{})
	b.transport.Store(b.newTransport())
	b.prober = b.newClient(b.dialApart)
	b.prober.MaxIdleConnsPerHost = 1
	ctx, end := context.WithCancel(context.Background())
	b.end = end
	b.work.Go(func() { b.care(ctx) })
	if o.Health.Interval > 0 {
		b.work.Go(func() { b.ask(ctx) })
	}
	return b, nil
}

// Encrypted reports whether an endpoint is reached over TLS. What TLS does, also
// when it is closed, may take a while, which is nothing for a loop.
func (b *Backend) Encrypted() bool { return b.encrypted }

// Raw reports whether the backend speaks HTTP/1.1, so that Begin may be used.
func (b *Backend) Raw() bool { return b.o.Protocol == HTTP1 }

// Timeouts returns what is granted the backend.
func (b *Backend) Timeouts() Timeouts { return b.o.Timeouts }

func hostPort(u *url.URL) string {
	if u.Port() != "" {
		return u.Host
	}
	if u.Scheme == "https" {
		return net.JoinHostPort(u.Hostname(), "443")
	}
	return net.JoinHostPort(u.Hostname(), "80")
}

// Hosts returns the URLs of the endpoints, by whose hosts a backend may call
// itself.
func (b *Backend) Hosts() []*url.URL { return b.hosts }

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
	b.work.Wait()
	b.closeIdle()
	b.sweep(true)
}
