//go:build linux

package kernel

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// refusing has a ring that the kernel refuses to enter for as long as do takes.
func refusing(t *testing.T, r *Ring, do func()) {
	t.Helper()
	ring, err := unix.Dup(r.fd)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(ring)
	other, err := unix.Open("/dev/null", unix.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(other)
	replace := func(by int) {
		if err := unix.Dup3(by, r.fd, unix.O_CLOEXEC); err != nil {
			t.Fatal(err)
		}
	}
	replace(other)
	defer replace(ring)
	do()
}

func newRing(t *testing.T) *Ring {
	t.Helper()
	r, err := NewRing(4)
	if errors.Is(err, ErrNoRing) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Close)
	return r
}

func TestCallsThatARingDoesNotTakeAreMadeOneByOne(t *testing.T) {
	r := newRing(t)
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fds[0])
	defer unix.Close(fds[1])
	speak := func(words string) {
		t.Helper()
		room := make([]byte, 8)
		write, read := &Call{FD: uintptr(fds[0]), Bytes: []byte(words), Writes: true}, &Call{FD: uintptr(fds[1]), Bytes: room}
		r.Do([]*Call{write, read})
		if write.Err != 0 || read.Err != 0 || !bytes.Equal(room[:read.N], []byte(words)) {
			t.Errorf("wrote %d, %v; read %d, %v: %q", write.N, write.Err, read.N, read.Err, room[:read.N])
		}
	}
	speak("before")
	refusing(t, r, func() { speak("refused") })
	speak("after") // and nothing of before comes again
}

func TestARingThatCannotBeEnteredIsNone(t *testing.T) {
	r := newRing(t)
	refusing(t, r, func() {
		if err := r.prove(); !errors.Is(err, ErrNoRing) || !errors.Is(err, unix.EOPNOTSUPP) {
			t.Errorf("it is proven by %v", err)
		}
	})
	if err := r.prove(); err != nil {
		t.Errorf("afterwards: %v", err)
	}
}

func TestARingOfAnOldKernelIsNone(t *testing.T) {
	r := &Ring{}
	if err := r.open(&parameters{asked: 4, answered: 8}); !errors.Is(err, ErrNoRing) || !strings.Contains(err.Error(), "too old") {
		t.Errorf("it is opened: %v", err)
	}
}
