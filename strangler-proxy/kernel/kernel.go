// Package kernel makes the calls of the operating system's kernel that reading
// from and writing to sockets takes. None of them waits, so Go's scheduler is not
// told: before a call that may keep the thread for long it has to be, and asked
// for leave to go on afterwards.
//
// On Linux many reads and writes may be one call, see [Ring].
package kernel

import (
	"errors"
	"syscall"
)

// Call is a read from, or a write to, a socket that does not block.
type Call struct {
	Writes bool // otherwise it reads
	FD     uintptr
	Bytes  []byte // that are written, or read into

	N   int // bytes that were written or read; none that were read is the end
	Err syscall.Errno
}

// ErrNoRing is the error where a [Ring] cannot be had: there is none, it may not be
// used here, or it would keep its user waiting, as old ones do.
var ErrNoRing = errors.New("io_uring cannot be used")

// Read reads what has arrived; nothing is the end.
func Read(fd uintptr, b []byte) (int, syscall.Errno) { return uninterrupted(receive, fd, b) }

// Write writes what there is room for.
func Write(fd uintptr, b []byte) (int, syscall.Errno) { return uninterrupted(send, fd, b) }

// uninterrupted moves bytes, however often a signal comes in between.
func uninterrupted(move func(uintptr, []byte) (int, syscall.Errno), fd uintptr, b []byte) (int, syscall.Errno) {
	for {
		n, err := move(fd, b)
		if err != syscall.EINTR {
			return max(n, 0), err
		}
	}
}

// Do makes the call.
func (c *Call) Do() {
	if c.Writes {
		c.N, c.Err = Write(c.FD, c.Bytes)
	} else {
		c.N, c.Err = Read(c.FD, c.Bytes)
	}
}
