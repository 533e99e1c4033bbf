package proxy

import (
	"time"

	"stranglerfig/strangler-proxy/http1"
)

// Limits bound what clients may ask for. Zero values are the defaults.
type Limits struct {
	// Requests is how many may be under way at once, default 4,096. More are
	// answered 503 at once: answering late would help nobody.
	Requests int64
	// Head is the length of a request's head in bytes, default 64 KiB; Fields
	// how many fields it may have, default 256.
	Head, Fields int
	// Body is the length of a request's body in bytes; default 0, any.
	Body int64
	// HeadTimeout is how long a head may take from its first byte, default 10 s.
	HeadTimeout time.Duration
	// BodyTimeout is how long a client may neither send nor take a byte while
	// it is its turn, default 60 s.
	BodyTimeout time.Duration
}

func (l Limits) withDefaults() Limits {
	for _, d := range []struct {
		to *time.Duration
		is time.Duration
	}{{&l.HeadTimeout, 10 * time.Second}, {&l.BodyTimeout, time.Minute}} {
		if *d.to == 0 {
			*d.to = d.is
		}
	}
	if l.Requests == 0 {
		l.Requests = 4096
	}
	if l.Head == 0 {
		l.Head = 64 << 10
	}
	if l.Fields == 0 {
		l.Fields = 256
	}
	return l
}

// parser returns the bounds of a head.
func (l Limits) parser() http1.Limits { return http1.Limits{Head: l.Head, Fields: l.Fields} }
