package upstream

import (
	"context"
	"crypto/tls"
	"log/slog"
	"net"
	"time"
)

// Options are what a backend is made of. Zero values are the defaults.
type Options struct {
	Name     string   // for people
	URLs     []string // of the endpoints, such as http://127.0.0.1:9000
	Protocol Protocol // default HTTP1
	TLS      *tls.Config
	Timeouts Timeouts
	Limits   Limits
	Breaker  BreakerOptions
	Health   Health
	Resolver Resolver     // of hosts, default the system's
	Log      *slog.Logger // told when the backend, or an endpoint, is no longer asked, and when it is again; nil: nobody is
}

// Resolver looks up the addresses of a host. [net.Resolver] is one.
type Resolver interface {
	LookupHost(ctx context.Context, host string) ([]string, error)
}

// Protocol is what a backend speaks.
type Protocol string

// The protocols of backends.
const (
	HTTP1 Protocol = "http/1.1"
	HTTP2 Protocol = "h2"  // over TLS
	H2C   Protocol = "h2c" // HTTP/2 in clear text, by prior knowledge
)

// Timeouts bound how long a backend may take, phase by phase, so that one that
// hangs does not hold what waits for it for ever.
type Timeouts struct {
	Dial   time.Duration // a connection, default 2 s
	TLS    time.Duration // its handshake, default 5 s
	Answer time.Duration // from the request's end to the answer's beginning, default 5 min; may be Unbounded
	Idle   time.Duration // between two pieces of the answer's body, default 5 min; may be Unbounded
}

// Unbounded is a timeout that never comes.
const Unbounded time.Duration = -1

// Limits bound what a backend is asked to bear at once.
type Limits struct {
	Connections int           // default 1,024; who needs one more waits for as long as a dial may take
	Idle        int           // connections kept per endpoint, default 256
	IdleFor     time.Duration // an idle connection is kept, default 60 s
	// Age is how old a connection may grow, default 5 min: names are looked up
	// anew for every connection, so this is how long a change of DNS may take.
	Age      time.Duration
	Requests int // under way, default 4,096; one more is refused at once
}

// BreakerOptions say when a backend is not tried for a while.
type BreakerOptions struct {
	Failures int           // in a row that open the breaker, default 5
	Pause    time.Duration // until one request may try again, default 500 ms
}

// Health says how endpoints are asked whether they are well.
type Health struct {
	Path     string        // answers 2xx when it is well; empty: a connection is enough
	Interval time.Duration // 0: they are not asked
}

const (
	unhealthyAfter = 3 // checks that failed in a row
	healthyAfter   = 2 // checks that went well in a row
	healthTimeout  = 2 * time.Second

	ejectAfter = 5 // failures in a row of one endpoint of several
	ejectFor   = 10 * time.Second
	ejectMost  = 5 // times ejectFor, at most
)

func (o Options) withDefaults() Options {
	either := func(d *time.Duration, is time.Duration) {
		if *d == 0 {
			*d = is
		}
	}
	either(&o.Timeouts.Dial, 2*time.Second)
	either(&o.Timeouts.TLS, 5*time.Second)
	either(&o.Timeouts.Answer, 5*time.Minute)
	either(&o.Timeouts.Idle, 5*time.Minute)
	either(&o.Limits.IdleFor, time.Minute)
	either(&o.Limits.Age, 5*time.Minute)
	either(&o.Breaker.Pause, 500*time.Millisecond)
	for n, is := range map[*int]int{&o.Limits.Connections: 1024, &o.Limits.Idle: 256, &o.Limits.Requests: 4096, &o.Breaker.Failures: 5} {
		if *n == 0 {
			*n = is
		}
	}
	for _, d := range []*time.Duration{&o.Timeouts.Answer, &o.Timeouts.Idle} {
		if *d == Unbounded {
			*d = 0
		}
	}
	if o.Resolver == nil {
		o.Resolver = net.DefaultResolver
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Protocol == "" {
		o.Protocol = HTTP1
	}
	return o
}
