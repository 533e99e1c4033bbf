package socket

import (
	"syscall"

	"golang.org/x/sys/unix"
)

// Takes looks at a connection to which something could not be written, or from
// which it was to be moved by the kernel, which does not say at which end that
// has failed: whether there is room for what is written, and whether the
// connection has broken.
func Takes(c syscall.Conn) (room, broken bool) {
	raw, err := c.SyscallConn()
	if err != nil {
		return false, true
	}
	look := []unix.PollFd{{Events: unix.POLLOUT}}
	err = raw.Control(func(fd uintptr) {
		look[0].Fd = int32(fd)
		for {
			if _, again := unix.Poll(look, 0); again != unix.EINTR {
				return
			}
		}
	})
	broken = err != nil || look[0].Revents&(unix.POLLERR|unix.POLLHUP|unix.POLLNVAL) != 0
	return !broken && look[0].Revents&unix.POLLOUT != 0, broken
}
