//go:build linux

package loop_test

import (
	"bytes"
	"errors"
	"fmt"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"stranglerfig/contract-tests/harness/require"
	"stranglerfig/strangler-proxy/loop"
	"stranglerfig/strangler-proxy/loop/looptest"
)

// start returns the only loop of a group.
func start(t *testing.T, o loop.Options) *loop.Loop {
	t.Helper()
	o.Loops = 1
	return looptest.Start(t, o).Pick()
}

// mayHaveRings leaves a test out where no loop may have a ring.
func mayHaveRings(t *testing.T) {
	t.Helper()
	g := looptest.Start(t, loop.Options{Loops: 1})
	if why := g.NoRing(); why != nil {
		require.Missing(t, "io_uring", why)
	}
}

// together returns one on which each read and write is made as if there were
// others.
func together(t *testing.T) *loop.Loop { return start(t, loop.Options{Together: 1}) }

// echo writes back what comes until the end.
func echo(s *loop.Source) error {
	b := make([]byte, 16)
	for {
		n, err := s.Read(b)
		switch {
		case err == unix.EAGAIN:
			s.Dry()
			if err := s.Readable(); err != nil {
				return err
			}
			continue
		case err != 0:
			return err
		case n == 0:
			return nil
		}
		if wrote, err := s.Write(b[:n], false); wrote != n || err != 0 {
			return fmt.Errorf("%d of %d bytes written, %w", wrote, n, err)
		}
	}
}

// TestTasksThatGoOnTogetherGetTheirOwn bytes, however many of them there are and
// whether or not their calls are made together.
func TestTasksThatGoOnTogetherGetTheirOwn(t *testing.T) {
	for name, o := range map[string]loop.Options{"two or more": {}, "always": {Together: 1}, "never": {OneByOne: true}} {
		t.Run(name, func(t *testing.T) {
			l := start(t, o)
			const tasks = 50 // several lots
			var far []int
			var done []chan struct{}
			for range tasks {
				s, fd := ends(t, l)
				ended := make(chan struct{})
				far, done = append(far, fd), append(done, ended)
				l.Go(func(*loop.Task) {
					defer close(ended)
					if err := echo(s); err != nil {
						t.Error(err)
					}
				})
			}
			for round := range 20 {
				release, busy := make(chan struct{}), make(chan struct{})
				l.Go(func(*loop.Task) { close(busy); <-release }) // so that the loop finds all of them ready
				<-busy
				for i, fd := range far {
					if _, err := unix.Write(fd, fmt.Appendf(nil, "%d of %d", round, i)); err != nil {
						t.Fatal(err)
					}
				}
				close(release)
				for i, fd := range far {
					want := fmt.Appendf(nil, "%d of %d", round, i)
					if got := await(t, fd, len(want)); !bytes.Equal(got, want) {
						t.Fatalf("%q instead of %q", got, want)
					}
				}
			}
			for _, fd := range far {
				unix.Shutdown(fd, unix.SHUT_WR)
			}
			ended(t, done...)
		})
	}
}

// await reads so many bytes.
func await(t *testing.T, fd, n int) []byte {
	t.Helper()
	var got []byte
	for limit := time.Now().Add(time.Minute); len(got) < n; {
		b := make([]byte, n-len(got))
		k, err := unix.Read(fd, b)
		if err == unix.EAGAIN {
			if time.Now().After(limit) {
				t.Fatalf("only %q has come", got)
			}
			look := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
			unix.Poll(look, 1000)
			continue
		}
		if err != nil || k == 0 {
			t.Fatalf("%d bytes, %v", k, err)
		}
		got = append(got, b[:k]...)
	}
	return got
}

// TestWhoeverReadsAndWritesAllTheTimeKeepsNobodyWaiting where each call lets others
// make theirs; elsewhere one has to spend one's share, see [loop.Source.Spend].
func TestWhoeverReadsAndWritesAllTheTimeKeepsNobodyWaiting(t *testing.T) {
	l := together(t)
	mayHaveRings(t)
	s, speak := ends(t, l)
	near, far := pair(t)
	self, err := l.Add(near)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { self.Remove(); unix.Close(near) })
	enough, begun := false, make(chan struct{})
	busy, other := make(chan struct{}), make(chan struct{})
	l.Go(func(*loop.Task) {
		defer close(busy)
		b := make([]byte, 1)
		for round := 0; !enough; round++ {
			if n, err := self.Write([]byte("!"), false); n != 1 || err != 0 {
				t.Errorf("%d bytes written, %v", n, err)
				return
			}
			if n, err := unix.Read(far, b); n != 1 || err != nil {
				t.Errorf("%d bytes read, %v", n, err)
				return
			}
			if round == 0 {
				close(begun)
			}
		}
	})
	l.Go(func(*loop.Task) {
		defer close(other)
		if err := s.Readable(); err != nil {
			t.Error(err)
		}
		enough = true
	})
	<-begun
	say(t, speak)
	ended(t, busy, other)
}

// TestErrorsOfCallsThatAreMadeTogetherAreEachTasksOwn.
func TestErrorsOfCallsThatAreMadeTogetherAreEachTasksOwn(t *testing.T) {
	l := together(t)
	gone, _ := ends(t, l)
	unix.Shutdown(gone.FD(), unix.SHUT_RDWR)
	well, far := ends(t, l)
	say(t, far)
	first, second := make(chan struct{}), make(chan struct{})
	l.Go(func(*loop.Task) {
		defer close(first)
		if n, err := gone.Write([]byte("!"), false); n > 0 || err != unix.EPIPE {
			t.Errorf("%d bytes written to nobody, %v", n, err)
		}
		if fd, open := gone.Remove(); open {
			unix.Close(fd)
		}
		if n, err := gone.Read(make([]byte, 1)); n > 0 || err != unix.EBADF {
			t.Errorf("%d bytes read from what is gone, %v", n, err)
		}
	})
	l.Go(func(*loop.Task) {
		defer close(second)
		if n, err := well.Read(make([]byte, 8)); n != 1 || err != 0 {
			t.Errorf("%d bytes read, %v", n, err)
		}
		if n, err := well.Read(make([]byte, 8)); n > 0 || err != unix.EAGAIN {
			t.Errorf("%d bytes read of nothing, %v", n, err)
		}
	})
	ended(t, first, second)
}

// TestALoopThatMayHaveNoRingMakesCallsOneByOne and says why.
func TestALoopThatMayHaveNoRingMakesCallsOneByOne(t *testing.T) {
	mayHaveRings(t)
	near, far := pair(t)
	var g *loop.Group
	var failed error
	withFiles(t, 2, func() { g, failed = loop.Start(loop.Options{Loops: 1, Together: 1}) }) // what a loop needs without one
	if failed != nil {
		t.Fatal(failed)
	}
	defer g.Close()
	if why := g.NoRing(); !errors.Is(why, syscall.EMFILE) {
		t.Errorf("it says that its calls are made one by one because of %v", why)
	}
	l, done := g.Pick(), make(chan struct{})
	s, err := l.Add(near)
	if err != nil {
		t.Fatal(err)
	}
	l.Go(func(*loop.Task) {
		defer close(done)
		if err := echo(s); err != nil {
			t.Error(err)
		}
	})
	say(t, far)
	if got := await(t, far, 1); string(got) != "!" {
		t.Errorf("%q came back", got)
	}
	unix.Shutdown(far, unix.SHUT_WR)
	ended(t, done)
	s.Remove()
	unix.Close(near)
}
