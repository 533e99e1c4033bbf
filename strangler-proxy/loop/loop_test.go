//go:build linux

package loop_test

import (
	"errors"
	"os"
	"runtime"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"stranglerfig/strangler-proxy/loop"
)

// one returns the only loop of a group that ends with the test.
func one(t *testing.T) *loop.Loop { return start(t, loop.Options{}) }

// ends returns a source and the other end of its connection.
func ends(t *testing.T, l *loop.Loop) (*loop.Source, int) {
	t.Helper()
	near, far := pair(t)
	s, err := l.Add(near)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if fd, open := s.Remove(); open {
			unix.Close(fd)
		}
	})
	return s, far
}

func pair(t *testing.T) (near, far int) {
	t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fds[1]) })
	return fds[0], fds[1]
}

func say(t *testing.T, fd int) {
	t.Helper()
	if _, err := unix.Write(fd, []byte("!")); err != nil {
		t.Error(err)
	}
}

// hear reads what came.
func hear(t *testing.T, s *loop.Source) {
	t.Helper()
	var b [8]byte
	if n, err := unix.Read(s.FD(), b[:]); n != 1 || err != nil {
		t.Errorf("read %d bytes, %v", n, err)
	}
	s.Drained()
}

// ended waits for tasks, each of which closes its channel.
func ended(t *testing.T, tasks ...chan struct{}) {
	t.Helper()
	limit := time.After(time.Minute)
	for i, done := range tasks {
		select {
		case <-done:
		case <-limit:
			t.Fatalf("task %d does not end", i)
		}
	}
}

func TestWhileATaskWaitsOthersGoOn(t *testing.T) {
	l := one(t)
	first, speakFirst := ends(t, l)
	second, speakSecond := ends(t, l)
	firstDone, secondDone := make(chan struct{}), make(chan struct{})
	l.Go(func(*loop.Task) {
		defer close(firstDone)
		if err := first.Readable(); err != nil {
			t.Error(err)
		}
		hear(t, first)
	})
	l.Go(func(*loop.Task) {
		defer close(secondDone)
		for range 3 {
			if err := second.Readable(); err != nil {
				t.Error(err)
			}
			hear(t, second)
			say(t, second.FD())
		}
		say(t, speakFirst)
	})
	for range 3 {
		say(t, speakSecond)
		var b [1]byte
		for n, err := unix.Read(speakSecond, b[:]); n != 1; n, err = unix.Read(speakSecond, b[:]) {
			if err != unix.EAGAIN {
				t.Fatal(err)
			}
			runtime.Gosched()
		}
	}
	ended(t, firstDone, secondDone)
}

func TestADeadlineEndsAWait(t *testing.T) {
	l := one(t)
	for name, c := range map[string]struct {
		before, after func(*loop.Source)
		wait          func(*loop.Source) error
	}{
		"that is set before":       {before: func(s *loop.Source) { s.ReadBy(time.Now().Add(10 * time.Millisecond)) }, wait: (*loop.Source).Readable},
		"that is over":             {before: func(s *loop.Source) { s.ReadBy(time.Unix(1, 0)) }, wait: (*loop.Source).Readable},
		"that is set from outside": {after: func(s *loop.Source) { s.Interrupt(time.Now().Add(10 * time.Millisecond)) }, wait: (*loop.Source).Readable},
		"that is brought forward":  {before: func(s *loop.Source) { s.ReadBy(time.Now().Add(time.Hour)) }, after: func(s *loop.Source) { s.Interrupt(time.Unix(1, 0)) }, wait: (*loop.Source).Readable},
		"of a write that is stuck": {before: func(s *loop.Source) { s.WriteBy(time.Now().Add(10 * time.Millisecond)) }, wait: stuck},
		"while the others' are far": {before: func(s *loop.Source) {
			s.WriteBy(time.Now().Add(time.Hour))
			s.ReadBy(time.Now().Add(20 * time.Millisecond))
		}, wait: (*loop.Source).Readable},
	} {
		t.Run(name, func(t *testing.T) {
			s, _ := ends(t, l)
			waits, done := make(chan struct{}), make(chan struct{})
			l.Go(func(*loop.Task) {
				defer close(done)
				if c.before != nil {
					c.before(s)
				}
				close(waits)
				if err := c.wait(s); !errors.Is(err, os.ErrDeadlineExceeded) {
					t.Errorf("the wait ended with %v", err)
				}
			})
			<-waits
			if c.after != nil {
				c.after(s)
			}
			ended(t, done)
		})
	}
}

// TestADeadlineThatIsOverHoldsForWhatHasComeAsWell, as it does off a loop: whoever
// sends all the time does not keep a reader for ever.
func TestADeadlineThatIsOverHoldsForWhatHasComeAsWell(t *testing.T) {
	l := one(t)
	s, far := ends(t, l)
	say(t, far)
	done := make(chan struct{})
	l.Go(func(*loop.Task) {
		defer close(done)
		if err := s.Readable(); err != nil {
			t.Error(err)
		}
		s.ReadBy(time.Unix(1, 0))
		if err := s.Readable(); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("the wait ended with %v", err)
		}
		s.ReadBy(time.Time{})
		hear(t, s)
	})
	ended(t, done)
}

// stuck writes until the kernel takes no more, and then waits.
func stuck(s *loop.Source) error {
	for {
		if _, err := unix.Write(s.FD(), make([]byte, 1<<16)); err == unix.EAGAIN {
			s.Full()
			return s.Writable()
		}
	}
}

func TestATaskThatNeverWaitsHasItsShareOnly(t *testing.T) {
	l := one(t)
	s, _ := ends(t, l)
	others, busy, other := false, make(chan struct{}), make(chan struct{})
	l.Go(func(*loop.Task) {
		defer close(busy)
		for !others {
			s.Spend()
		}
	})
	l.Go(func(*loop.Task) {
		defer close(other)
		others = true
	})
	ended(t, busy, other)
}

func TestWhatIsDoneApartKeepsNobodyWaiting(t *testing.T) {
	l := one(t)
	long, apart, other := make(chan struct{}), make(chan struct{}), make(chan struct{})
	l.Go(func(task *loop.Task) {
		defer close(apart)
		task.Apart(func() { <-long })
		if task.Loop() != l {
			t.Error("it is not on its loop afterwards")
		}
	})
	l.Go(func(*loop.Task) {
		defer close(other)
		close(long)
	})
	ended(t, apart, other)
}

func TestAPanicApartIsTheTasksOwn(t *testing.T) {
	l := one(t)
	done := make(chan struct{})
	l.Go(func(task *loop.Task) {
		defer close(done)
		defer func() {
			if reason := recover(); reason != "oops" {
				t.Errorf("recovered %v", reason)
			}
		}()
		task.Apart(func() { panic("oops") })
	})
	ended(t, done)
}

func TestATaskThatHasLeftKeepsNobodyWaiting(t *testing.T) {
	l := one(t)
	long, left, other := make(chan struct{}), make(chan struct{}), make(chan struct{})
	l.Go(func(task *loop.Task) {
		defer close(left)
		task.Leave()
		if task.Loop() != nil {
			t.Error("it is still on a loop")
		}
		<-long
		task.Leave()                   // which it has
		task.Apart(func() { <-other }) // which it may do itself
	})
	l.Go(func(*loop.Task) {
		defer close(other)
		close(long)
	})
	ended(t, left, other)
}

func TestNoTaskIsNoneOnALoop(t *testing.T) {
	var task *loop.Task
	task.Leave()
	done := false
	task.Apart(func() { done = true })
	if task.Loop() != nil || !done {
		t.Error("what is no task is on a loop, or did not do what it should")
	}
}

// TestWhatWasSaidOfASocketIsNotTakenForAnother that has its place meanwhile: both
// are ready at once, and who is first to go on replaces the other.
func TestWhatWasSaidOfASocketIsNotTakenForAnother(t *testing.T) {
	l := one(t)
	first, speakFirst := ends(t, l)
	second, speakSecond := ends(t, l)
	replacement, _ := pair(t)
	ready, done := make(chan struct{}), make(chan struct{})
	var third *loop.Source
	l.Go(func(*loop.Task) {
		if err := first.Readable(); err != nil {
			t.Error(err)
		}
		// In the same lot of events.
		fd, _ := second.Remove()
		unix.Close(fd)
		var err error
		if third, err = l.Add(replacement); err != nil {
			t.Error(err)
		}
	})
	busy := make(chan struct{})
	l.Go(func(*loop.Task) { close(busy); <-ready }) // while the loop can notice nothing
	<-busy
	say(t, speakFirst)
	say(t, speakSecond)
	close(ready)
	l.Go(func(*loop.Task) {
		defer close(done)
		for third == nil {
			first.Spend()
		}
		if !third.Quiet() {
			t.Error("a socket is said to have heard something that another one has")
		}
		if fd, open := third.Remove(); open {
			unix.Close(fd)
		}
	})
	ended(t, done)
}

// TestWhatHasBeenToldIsKnownBeforeAnyoneGoesOn of all that came in one lot.
func TestWhatHasBeenToldIsKnownBeforeAnyoneGoesOn(t *testing.T) {
	l := one(t)
	first, speakFirst := ends(t, l)
	second, speakSecond := ends(t, l)
	ready, firstDone, secondDone := make(chan struct{}), make(chan struct{}), make(chan struct{})
	await := func(mine, other *loop.Source, done chan struct{}) func(*loop.Task) {
		return func(*loop.Task) {
			defer close(done)
			if err := mine.Readable(); err != nil {
				t.Error(err)
			}
			if other.Quiet() {
				t.Error("nothing is said to have come on the other connection")
			}
		}
	}
	l.Go(await(first, second, firstDone))
	l.Go(await(second, first, secondDone))
	busy := make(chan struct{})
	l.Go(func(*loop.Task) { close(busy); <-ready }) // while the loop can notice nothing
	<-busy
	say(t, speakFirst)
	say(t, speakSecond)
	close(ready)
	ended(t, firstDone, secondDone)
}

// TestLoopsThatCannotAllBeStartedLeaveNothingBehind where no file can be opened.
func TestLoopsThatCannotAllBeStartedLeaveNothingBehind(t *testing.T) {
	before := runtime.GOMAXPROCS(0)
	free := nextFile(t)
	var failed error
	withFiles(t, 3, func() { _, failed = loop.Start(loop.Options{Loops: 2}) }) // one loop and half of another
	if !errors.Is(failed, unix.EMFILE) {
		t.Errorf("error %v", failed)
	}
	if got := runtime.GOMAXPROCS(0); got != before {
		t.Errorf("there are %d processors instead of %d", got, before)
	}
	if again := nextFile(t); again != free {
		t.Errorf("the next free file is %d instead of %d", again, free)
	}
}

// nextFile is the file descriptor that is given out next.
func nextFile(t *testing.T) int {
	t.Helper()
	fd, err := unix.Dup(0)
	if err != nil {
		t.Fatal(err)
	}
	unix.Close(fd)
	return fd
}

// withFiles lets so many more files be opened for as long as do takes.
func withFiles(t *testing.T, n int, do func()) {
	t.Helper()
	var files []int
	for range n {
		fd, err := unix.Dup(0)
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, fd)
	}
	for _, fd := range files {
		unix.Close(fd)
	}
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	few := limit
	few.Cur = uint64(slices.Max(files)) + 1
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &few); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
			t.Fatal(err)
		}
	}()
	do()
}

func TestAConnectionThatIsCutEndsWhatWaitsForIt(t *testing.T) {
	l := one(t)
	s, _ := ends(t, l)
	waits, done := make(chan struct{}), make(chan struct{})
	l.Go(func(*loop.Task) {
		defer close(done)
		close(waits)
		if err := s.Readable(); err != nil {
			t.Error(err)
		}
		if n, err := unix.Read(s.FD(), make([]byte, 1)); n != 0 || err != nil {
			t.Errorf("read %d bytes, %v", n, err)
		}
	})
	<-waits
	s.Cut()
	ended(t, done)
	if fd, open := s.Remove(); !open || unix.Close(fd) != nil {
		t.Error("it was not to be closed by whoever cut it")
	}
	if _, open := s.Remove(); open {
		t.Error("it is removed twice")
	}
	s.Cut() // which it was
}

func TestHalfAConnectionThatEndsDoesNotKeepAWriterBusy(t *testing.T) {
	l := one(t)
	s, far := ends(t, l)
	if err := unix.Shutdown(far, unix.SHUT_WR); err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	l.Go(func(*loop.Task) {
		defer close(done)
		s.WriteBy(time.Now().Add(10 * time.Millisecond))
		if err := stuck(s); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("there is no room, but the wait for some ended with %v", err)
		}
	})
	ended(t, done)
}

func TestLoopsShareTasksAndLeaveProcessorsToOthers(t *testing.T) {
	before := runtime.GOMAXPROCS(0)
	g, err := loop.Start(loop.Options{Loops: 2})
	if err != nil {
		t.Fatal(err)
	}
	if got := runtime.GOMAXPROCS(0); got != before+1 {
		t.Errorf("there are %d processors instead of %d", got, before+1)
	}
	if got := loop.Processors(); got != before {
		t.Errorf("without those of the loops there are %d processors instead of %d", got, before)
	}
	hold, first, second := make(chan struct{}), make(chan struct{}), make(chan struct{})
	one := g.Pick()
	one.Go(func(task *loop.Task) { defer close(first); task.Apart(func() { <-hold }) })
	other := g.Pick()
	if other == one {
		t.Error("the loop that has a task is given another one")
	}
	other.Go(func(task *loop.Task) { defer close(second); task.Apart(func() { <-hold }) })
	close(hold)
	g.Close()
	for _, done := range []chan struct{}{first, second} {
		select {
		case <-done:
		default:
			t.Error("the loops have ended before their tasks")
		}
	}
	if got := runtime.GOMAXPROCS(0); got != before {
		t.Errorf("there are %d processors afterwards instead of %d", got, before)
	}
	if (*loop.Group)(nil).Pick() != nil {
		t.Error("where there are no loops one is picked")
	}
}
