package proxy

import (
	"errors"
	"io"
	"net"
	"os"
	"time"

	"stranglerfig/strangler-proxy/socket"
)

const (
	spliceFrom = 64 << 10  // bytes left, from where the kernel moves them itself
	spliceLot  = 128 << 10 // bytes between two looks at the clock
	spliceRest = 4 << 10   // bytes at a request body's end that the kernel does not move by itself
)

// errNothingCame says that there was nothing to move. Whoever is to send it may
// take longer, and is waited for in the ordinary way.
var errNothingCame = errors.New("nothing came that could be moved")

// spliceWait is how long the kernel waits for something to move: for moments, so
// that the time to take it, which is set before, is far from over when something
// comes. Otherwise it would be over as soon as that was moved into the pipe
// between the two sockets, where it is lost.
func (p *Proxy) spliceWait() time.Duration { return min(watchAfter, p.o.Limits.BodyTimeout/2) }

// mover is a sink that the kernel can move bytes to.
type mover interface {
	sink
	io.ReaderFrom
	TCP() *net.TCPConn // nil under TLS
}

// reads reports whether it was the side which bytes were to be moved from that
// failed, and not the one they were to be moved to, which had until takeBy to
// take them. Of the latter's failures nothing can be made good: what the kernel
// had under way is lost.
func reads(err error, to *net.TCPConn, takeBy time.Time) bool {
	for op := (*net.OpError)(nil); errors.As(err, &op); err = op.Err {
		if op.Op == "read" || op.Op == "write" {
			return op.Op == "read"
		}
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return time.Now().Before(takeBy) // the other one is waited for much shorter
	}
	return to != nil && !socket.Broken(to)
}
