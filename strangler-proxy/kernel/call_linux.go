package kernel

import (
	"os"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Sockets have calls of their own for reading and writing, which spare the
// kernel what it does for files.

func receive(fd uintptr, b []byte) (int, syscall.Errno) {
	n, _, err := syscall.RawSyscall6(unix.SYS_RECVFROM, fd, uintptr(unsafe.Pointer(unsafe.SliceData(b))), uintptr(len(b)), 0, 0, 0)
	return int(n), err
}

func send(fd uintptr, b []byte) (int, syscall.Errno) {
	n, _, err := syscall.RawSyscall6(unix.SYS_SENDTO, fd, uintptr(unsafe.Pointer(unsafe.SliceData(b))), uintptr(len(b)), syscall.MSG_NOSIGNAL, 0, 0)
	return int(n), err
}

// WriteBoth writes one after the other, what there is room for.
func WriteBoth(fd uintptr, a, b []byte) (int, syscall.Errno) {
	both := [2]syscall.Iovec{{Base: unsafe.SliceData(a)}, {Base: unsafe.SliceData(b)}}
	both[0].SetLen(len(a))
	both[1].SetLen(len(b))
	n, _, err := syscall.RawSyscall(syscall.SYS_WRITEV, fd, uintptr(unsafe.Pointer(&both)), 2)
	return int(n), err
}

// Quiet reports whether a read would find neither bytes nor the end.
func Quiet(fd uintptr) bool {
	var one [1]byte
	_, _, err := syscall.RawSyscall6(unix.SYS_RECVFROM, fd, uintptr(unsafe.Pointer(&one)), 1, syscall.MSG_PEEK|syscall.MSG_DONTWAIT, 0, 0)
	return err == syscall.EAGAIN
}

// Duplicate returns another file descriptor for the same connection.
func Duplicate(fd uintptr) (int, error) {
	n, _, err := syscall.RawSyscall(syscall.SYS_FCNTL, fd, syscall.F_DUPFD_CLOEXEC, 0)
	if err != 0 {
		return 0, os.NewSyscallError("fcntl", err)
	}
	return int(n), nil
}
