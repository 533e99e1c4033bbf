package proxy

import (
	"errors"
	"net"
	"os"

	"stranglerfig/strangler-proxy/socket"
)

// reads reports whether it was the side which bytes were to be moved from that
// failed, and not the one they were to be moved to. Of the latter's failures
// nothing can be made good: what the kernel had under way is lost.
func reads(err error, to any) bool {
	for op := (*net.OpError)(nil); errors.As(err, &op); err = op.Err {
		if op.Op == "read" || op.Op == "write" {
			return op.Op == "read"
		}
	}
	moved, ok := to.(interface{ TCP() *net.TCPConn })
	if !ok || moved.TCP() == nil {
		return false
	}
	room, broken := socket.Takes(moved.TCP())
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return room
	}
	return !broken
}
