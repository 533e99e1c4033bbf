//go:build linux

package loop

import (
	"testing"

	"golang.org/x/sys/unix"
)

// TestWhatTheKernelSaysOfASocketThatIsGoneIsNobodys although another one has its
// place by now.
func TestWhatTheKernelSaysOfASocketThatIsGoneIsNobodys(t *testing.T) {
	p, err := newPoller()
	if err != nil {
		t.Fatal(err)
	}
	defer p.close()
	l := &Loop{poller: p}
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fds[0])
	defer unix.Close(fds[1])
	before, err := l.Add(fds[0])
	if err != nil {
		t.Fatal(err)
	}
	said := []event{{unix.EpollEvent{Events: readable, Fd: int32(before.place), Pad: int32(before.generation)}}}
	about := make([]*Source, 1)
	if l.sources(said, about); about[0] != before {
		t.Error("nobody is told what the kernel says")
	}
	before.Remove()
	after, err := l.Add(fds[0])
	if err != nil {
		t.Fatal(err)
	}
	about[0] = nil
	if l.sources(said, about); about[0] != nil || after.place != before.place {
		t.Errorf("another socket, at place %d instead of %d, is told what the kernel has said of the one before", after.place, before.place)
	}
}
