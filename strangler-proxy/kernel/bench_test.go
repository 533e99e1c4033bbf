//go:build linux

package kernel_test

import (
	"fmt"
	"net"
	"testing"

	"golang.org/x/sys/unix"

	"stranglerfig/strangler-proxy/kernel"
)

// BenchmarkLot is a write and a read over loopback, by themselves and in lots.
func BenchmarkLot(b *testing.B) {
	for _, size := range []int{1, 2, 4, 16} {
		near, far := connections(b, size)
		var writes, reads []*kernel.Call
		for i := range size {
			writes = append(writes, &kernel.Call{FD: near[i], Bytes: make([]byte, 500), Writes: true})
			reads = append(reads, &kernel.Call{FD: far[i], Bytes: make([]byte, 16<<10)})
		}
		measure := func(b *testing.B, do func([]*kernel.Call)) {
			for i := 0; i < b.N; i += size {
				do(writes)
				do(reads)
				for _, c := range reads {
					if c.N != 500 {
						b.Fatalf("%d bytes read, %v", c.N, c.Err)
					}
				}
			}
		}
		b.Run(fmt.Sprintf("%d by themselves", size), func(b *testing.B) {
			measure(b, func(calls []*kernel.Call) {
				for _, c := range calls {
					c.Do()
				}
			})
		})
		b.Run(fmt.Sprintf("%d together", size), func(b *testing.B) {
			r := newRing(b, 16)
			b.ResetTimer()
			measure(b, r.Do)
		})
	}
}

// connections returns both ends of so many connections.
func connections(b *testing.B, n int) (near, far []uintptr) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	defer l.Close()
	end := func(c net.Conn, err error) uintptr {
		if err != nil {
			b.Fatal(err)
		}
		defer c.Close()
		raw, err := c.(*net.TCPConn).SyscallConn()
		if err != nil {
			b.Fatal(err)
		}
		var fd int
		if failed := raw.Control(func(have uintptr) { fd, err = kernel.Duplicate(have) }); failed != nil || err != nil {
			b.Fatal(failed, err)
		}
		b.Cleanup(func() { unix.Close(fd) })
		return uintptr(fd)
	}
	for range n {
		near = append(near, end(net.Dial("tcp", l.Addr().String())))
		far = append(far, end(l.Accept()))
	}
	return near, far
}
