package upstream

import (
	"context"
	"errors"
	"math/rand/v2"
	"net"
	"net/url"
	"sync/atomic"
	"time"
)

// way is how connections reach the backend for a while: directly, or through
// another address.
type way struct {
	via  string       // "" is directly
	open atomic.Int64 // connections that went this way and have not ended
	last *way         // the one before it
}

// open opens a connection to an endpoint the way that connections go now, for as
// long as a dial may take, looking up the name included. A name is looked up for
// each connection; if it has several addresses, they are tried in a random
// order, so that all of them get their share, and each gets its part of the
// time.
func (b *Backend) open(ctx context.Context, u *url.URL) (net.Conn, *way, error) {
	by := time.Now().Add(b.o.Timeouts.Dial)
	ctx, cancel := context.WithDeadline(ctx, by)
	defer cancel()
	w := b.way.Load()
	addresses := []string{hostPort(u)}
	if w.via != "" {
		addresses[0] = w.via
	} else if net.ParseIP(u.Hostname()) == nil {
		var err error
		if addresses, err = b.lookUp(ctx, u.Hostname(), addresses[0]); err != nil {
			return nil, nil, err
		}
	}
	var errs []error
	for i, address := range addresses {
		dialer := b.dialer
		dialer.Timeout = time.Until(by) / time.Duration(len(addresses)-i)
		conn, err := dialer.DialContext(ctx, "tcp", address)
		if err == nil {
			w.open.Add(1)
			return conn, w, nil
		}
		errs = append(errs, err)
	}
	return nil, nil, errors.Join(errs...)
}

// lookUp lists the addresses of a host, in a random order, with the port of
// another.
func (b *Backend) lookUp(ctx context.Context, host, address string) ([]string, error) {
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	found, err := b.o.Resolver.LookupHost(ctx, host)
	if err != nil {
		return nil, err
	}
	all := make([]string, 0, len(found))
	for _, i := range rand.Perm(len(found)) {
		all = append(all, net.JoinHostPort(found[i], port))
	}
	return all, nil
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
