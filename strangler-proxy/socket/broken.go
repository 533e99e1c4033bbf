package socket

import (
	"syscall"

	"golang.org/x/sys/unix"
)

// Broken looks at a connection that the kernel was to move something to, or from,
// and does not say at which end that has failed: whether this one has broken.
func Broken(c syscall.Conn) bool {
	raw, err := c.SyscallConn()
	if err != nil {
		return true
	}
	look := []unix.PollFd{{}} // which is told of errors unasked
	err = raw.Control(func(fd uintptr) {
		look[0].Fd = int32(fd)
		for {
			if _, again := unix.Poll(look, 0); again != unix.EINTR {
				return
			}
		}
	})
	return err != nil || look[0].Revents&(unix.POLLERR|unix.POLLHUP|unix.POLLNVAL) != 0
}
