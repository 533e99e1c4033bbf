//go:build unix && !linux

package socket

import "syscall"

func readNow(fd uintptr, b []byte) (int, syscall.Errno) { return result(syscall.Read(int(fd), b)) }

func writeNow(fd uintptr, b []byte) (int, syscall.Errno) { return result(syscall.Write(int(fd), b)) }

// quietNow reports whether a read would find neither bytes nor the end.
func quietNow(fd uintptr) bool {
	var one [1]byte
	_, _, err := syscall.Recvfrom(int(fd), one[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
	return err == syscall.EAGAIN
}

// result gives an error that is no Errno the one that says least.
func result(n int, err error) (int, syscall.Errno) {
	if err == nil {
		return n, 0
	}
	if errno, ok := err.(syscall.Errno); ok {
		return n, errno
	}
	return n, syscall.EIO
}

// There are no loops, on which these would be called.

func writevNow(fd uintptr, a, b []byte) (int, syscall.Errno) { return 0, syscall.ENOSYS }

func duplicate(fd uintptr) (int, error) { return 0, syscall.ENOSYS }
