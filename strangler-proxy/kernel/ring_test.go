//go:build linux

package kernel_test

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"stranglerfig/contract-tests/harness/require"
	"stranglerfig/strangler-proxy/kernel"
)

// newRing returns a ring for so many calls at a time. Where none may be used there
// is nothing to test; that it is then said why is all that is promised.
func newRing(t testing.TB, size int) *kernel.Ring {
	t.Helper()
	r, err := kernel.NewRing(size)
	if errors.Is(err, kernel.ErrNoRing) {
		require.Missing(t, "io_uring", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Close)
	return r
}

func pair(t testing.TB) (near, far uintptr) {
	t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fds[0]); unix.Close(fds[1]) })
	return uintptr(fds[0]), uintptr(fds[1])
}

func TestCallsMadeTogetherDoWhatEachDoesAlone(t *testing.T) {
	r := newRing(t, 4)
	for name, make := range map[string]func(*kernel.Call){
		"alone":    (*kernel.Call).Do,
		"together": func(c *kernel.Call) { r.Do([]*kernel.Call{c}) },
	} {
		t.Run(name, func(t *testing.T) {
			near, far := pair(t)
			expect := func(what string, c kernel.Call, n int, err syscall.Errno) {
				t.Helper()
				if make(&c); c.N != n || c.Err != err {
					t.Errorf("%s: %d bytes, %v", what, c.N, c.Err)
				}
			}
			room := bytes.Repeat([]byte("."), 8)
			expect("nothing has come", kernel.Call{FD: near, Bytes: room}, 0, unix.EAGAIN)
			expect("a write", kernel.Call{FD: far, Bytes: []byte("hello"), Writes: true}, 5, 0)
			expect("a read of less", kernel.Call{FD: near, Bytes: room[:2]}, 2, 0)
			expect("the rest", kernel.Call{FD: near, Bytes: room[2:]}, 3, 0)
			if string(room) != "hello..." {
				t.Errorf("%q was read", room)
			}
			large := bytes.Repeat([]byte("x"), 1<<20)
			c := kernel.Call{FD: far, Bytes: large, Writes: true}
			if make(&c); c.N <= 0 || c.N >= len(large) || c.Err != 0 {
				t.Errorf("of more than there is room for, %d bytes were written, %v", c.N, c.Err)
			}
			expect("no room", kernel.Call{FD: far, Bytes: large, Writes: true}, 0, unix.EAGAIN)
			unix.Shutdown(int(near), unix.SHUT_RDWR)
			expect("the other end is gone", kernel.Call{FD: far, Bytes: room, Writes: true}, 0, unix.EPIPE)
			expect("the end", kernel.Call{FD: far, Bytes: room}, 0, 0)
			expect("no socket", kernel.Call{FD: ^uintptr(0), Bytes: room}, 0, unix.EBADF)
		})
	}
}

// TestAnyNumberOfCallsIsMade whatever comes of each, and however many are made at a
// time.
func TestAnyNumberOfCallsIsMade(t *testing.T) {
	r := newRing(t, 8)
	random := rand.New(rand.NewPCG(1, 2))
	for round := range 200 {
		var calls []*kernel.Call
		var check []func() error
		for i := range random.IntN(30) {
			near, far := pair(t)
			said := fmt.Appendf(nil, "round %d, call %d", round, i)
			room := make([]byte, 64)
			read := &kernel.Call{FD: near, Bytes: room}
			if random.IntN(3) == 0 {
				calls = append(calls, read)
				check = append(check, func() error {
					if read.Err != unix.EAGAIN {
						return fmt.Errorf("a read of nothing: %d bytes, %v", read.N, read.Err)
					}
					return nil
				})
				continue
			}
			write := &kernel.Call{FD: far, Bytes: said, Writes: true}
			calls = append(calls, write, read)
			check = append(check, func() error {
				if write.N != len(said) || write.Err != 0 {
					return fmt.Errorf("%d bytes written, %v", write.N, write.Err)
				}
				if read.N != len(said) || read.Err != 0 || !bytes.Equal(room[:read.N], said) {
					return fmt.Errorf("%d bytes read, %v: %q instead of %q", read.N, read.Err, room, said)
				}
				return nil
			})
		}
		r.Do(calls)
		for _, check := range check {
			if err := check(); err != nil {
				t.Fatalf("round %d: %v", round, err)
			}
		}
	}
}

func TestNoRingLeavesNothingOpen(t *testing.T) {
	free := func() int {
		fd, err := unix.Dup(0)
		if err != nil {
			t.Fatal(err)
		}
		unix.Close(fd)
		return fd
	}
	before := free()
	for _, size := range []int{0, 1 << 30} {
		if _, err := kernel.NewRing(size); err == nil {
			t.Errorf("there is a ring for %d calls", size)
		}
	}
	if r, err := kernel.NewRing(4); err == nil {
		r.Close()
	}
	if after := free(); after != before {
		t.Errorf("the next free file is %d instead of %d", after, before)
	}
}
