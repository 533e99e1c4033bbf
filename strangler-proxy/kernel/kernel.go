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

// Do makes the call, however often a signal interrupts it.
func (c *Call) Do() {
	for {
		if c.Writes {
			c.N, c.Err = Write(c.FD, c.Bytes)
		} else {
			c.N, c.Err = Read(c.FD, c.Bytes)
		}
		switch c.Err {
		case 0:
			return
		case syscall.EINTR:
		default:
			c.N = 0
			return
		}
	}
}
