//go:build linux

package socket_test

import (
	"io"
	"testing"

	"golang.org/x/sys/unix"

	"stranglerfig/strangler-proxy/loop"
	"stranglerfig/strangler-proxy/loop/looptest"
)

// TestAConnectionLeavesItsLoopThoughNoFileCanBeOpened since what is under way on it
// must not be lost for that.
func TestAConnectionLeavesItsLoopThoughNoFileCanBeOpened(t *testing.T) {
	l := looptest.Start(t, loop.Options{Loops: 1}).Pick()
	ours, theirs := newEnds(t)
	if err := ours.Enter(l); err != nil {
		t.Fatal(err)
	}
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	var err error
	last := 0
	for range 64 { // so that there are no gaps
		if last, err = unix.Dup(0); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func(fd int) func() { return func() { unix.Close(fd) } }(last))
	}
	none := limit
	none.Cur = uint64(last) + 1
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &none); err != nil {
		t.Fatal(err)
	}
	left := ours.Leave()
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	if left != nil {
		t.Fatal(left)
	}
	theirs.Write([]byte("still"))
	b := make([]byte, 5)
	if n, err := io.ReadFull(ours, b); err != nil || string(b[:n]) != "still" {
		t.Errorf("%q, %v", b[:n], err)
	}
}
