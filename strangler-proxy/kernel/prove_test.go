//go:build linux

package kernel_test

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"stranglerfig/strangler-proxy/kernel"
)

// refusing has a ring that the kernel refuses to enter for as long as do takes.
func refusing(t *testing.T, r *kernel.Ring, do func()) {
	t.Helper()
	ring, err := unix.Dup(r.FD())
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
		if err := unix.Dup3(by, r.FD(), unix.O_CLOEXEC); err != nil {
			t.Fatal(err)
		}
	}
	replace(other)
	defer replace(ring)
	do()
}

func TestCallsThatARingDoesNotTakeAreMadeOneByOne(t *testing.T) {
	r := newRing(t, 4)
	near, far := pair(t)
	speak := func(words string) {
		t.Helper()
		room := make([]byte, 8)
		write, read := &kernel.Call{FD: near, Bytes: []byte(words), Writes: true}, &kernel.Call{FD: far, Bytes: room}
		r.Do([]*kernel.Call{write, read})
		if write.Err != 0 || read.Err != 0 || !bytes.Equal(room[:read.N], []byte(words)) {
			t.Errorf("wrote %d, %v; read %d, %v: %q", write.N, write.Err, read.N, read.Err, room[:read.N])
		}
	}
	speak("before")
	refusing(t, r, func() { speak("refused") })
	speak("after") // and nothing of before comes again
}

func TestARingThatCannotBeEnteredIsNone(t *testing.T) {
	r := newRing(t, 4)
	refusing(t, r, func() {
		if err := r.Prove(); !errors.Is(err, kernel.ErrNoRing) || !errors.Is(err, unix.EOPNOTSUPP) {
			t.Errorf("it is proven by %v", err)
		}
	})
	if err := r.Prove(); err != nil {
		t.Errorf("afterwards: %v", err)
	}
}

func TestARingOfAnOldKernelIsNone(t *testing.T) {
	if err := kernel.OpenOld(); !errors.Is(err, kernel.ErrNoRing) || !strings.Contains(err.Error(), "too old") {
		t.Errorf("it is opened: %v", err)
	}
}
