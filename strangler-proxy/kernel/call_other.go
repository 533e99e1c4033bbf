//go:build unix && !linux

package kernel

import "syscall"

func receive(fd uintptr, b []byte) (int, syscall.Errno) { return result(syscall.Read(int(fd), b)) }

func send(fd uintptr, b []byte) (int, syscall.Errno) { return result(syscall.Write(int(fd), b)) }

// Quiet reports whether a read would find neither bytes nor the end.
func Quiet(fd uintptr) bool {
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

// WriteBoth writes one after the other, what there is room for.
func WriteBoth(fd uintptr, a, b []byte) (int, syscall.Errno) { return 0, syscall.ENOSYS }

// Duplicate returns another file descriptor for the same connection.
func Duplicate(fd uintptr) (int, error) { return 0, syscall.ENOSYS }

// Ring is none.
type Ring struct{}

// NewRing returns [ErrNoRing].
func NewRing(int) (*Ring, error) { return nil, ErrNoRing }

// Do makes no call.
func (*Ring) Do([]*Call) {}

// Close does nothing.
func (*Ring) Close() {}
