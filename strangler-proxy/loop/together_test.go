//go:build linux

package loop

import (
	"os"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"stranglerfig/contract-tests/harness/require"
	"stranglerfig/strangler-proxy/kernel"
)

// observed is a loop that tells how many calls it has made together each time.
type observed struct {
	*Loop
	t     *testing.T
	sizes []int
}

// witness is a ring that notes what it does.
type witness struct {
	ring
	o *observed
}

func (w witness) Do(calls []*kernel.Call) {
	w.o.sizes = append(w.o.sizes, len(calls))
	w.ring.Do(calls)
}

// observe starts a loop with the usual lots. Where there are none, there is nothing
// to test.
func observe(t *testing.T) *observed {
	t.Helper()
	g, err := Start(Options{Loops: 1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(g.Close)
	if why := g.NoRing(); why != nil {
		require.Missing(t, "io_uring", why)
	}
	o := &observed{Loop: g.Pick(), t: t}
	o.on(func(*Task) { o.lots.ring = witness{o.lots.ring, o} })
	return o
}

// on runs tasks that all go on for the first time in one round, and waits for them.
func (o *observed) on(tasks ...func(*Task)) {
	o.t.Helper()
	ended := make(chan struct{}, len(tasks))
	o.Go(func(first *Task) {
		for _, f := range tasks {
			first.Go(func(t *Task) {
				defer func() { ended <- struct{}{} }()
				f(t)
			})
		}
	})
	limit := time.After(time.Minute)
	for range tasks {
		select {
		case <-ended:
		case <-limit:
			o.t.Fatal("a task does not end")
		}
	}
}

// end is one of a connection's two, by which the other one is reached.
func (o *observed) end() (s *Source, far int) {
	o.t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		o.t.Fatal(err)
	}
	s, err = o.Add(fds[0])
	if err != nil {
		o.t.Fatal(err)
	}
	o.t.Cleanup(func() {
		s.Remove()
		unix.Close(fds[0])
		unix.Close(fds[1])
	})
	return s, fds[1]
}

// answerer returns a task that waits for a byte and writes it back.
func (o *observed) answerer(s *Source, answered *int) func(*Task) {
	return func(*Task) {
		if err := s.Readable(); err != nil {
			o.t.Error(err)
		}
		b := make([]byte, 1)
		if n, err := s.Read(b); n != 1 || err != 0 {
			o.t.Errorf("%d bytes read, %v", n, err)
		}
		if n, err := s.Write(b, false); n != 1 || err != 0 {
			o.t.Errorf("%d bytes written, %v", n, err)
		}
		*answered++
	}
}

// ask writes to the far ends of connections, which are all ready in the next round.
func (o *observed) ask(far ...int) {
	for _, fd := range far {
		if _, err := unix.Write(fd, []byte("!")); err != nil {
			o.t.Error(err)
		}
	}
}

func TestThoseWhoGoOnInARoundHaveTheirCallsMadeTogether(t *testing.T) {
	o := observe(t)
	answered := 0
	first, speakFirst := o.end()
	second, speakSecond := o.end()
	o.on(o.answerer(first, &answered), o.answerer(second, &answered), func(*Task) { o.ask(speakFirst, speakSecond) })
	if want := []int{2, 2}; !slices.Equal(o.sizes, want) || answered != 2 {
		t.Errorf("lots of %v calls instead of %v", o.sizes, want)
	}
}

func TestWhoGoesOnAloneMakesItsCallsItself(t *testing.T) {
	o := observe(t)
	answered := 0
	s, far := o.end()
	o.on(o.answerer(s, &answered), func(*Task) { o.ask(far) })
	if len(o.sizes) > 0 || answered != 1 {
		t.Errorf("lots of %v calls", o.sizes)
	}
}

func TestALotIsBoundedAndSoIsWhatEachCallMayMove(t *testing.T) {
	o := observe(t)
	const tasks = 2*lotSize + 1
	answered := 0
	var all []func(*Task)
	var speak []int
	for range tasks {
		s, far := o.end()
		all, speak = append(all, o.answerer(s, &answered)), append(speak, far)
	}
	o.on(append(all, func(*Task) { o.ask(speak...) })...)
	if want := []int{16, 16, 16, 16, 2}; !slices.Equal(o.sizes, want) || answered != tasks {
		t.Errorf("lots of %v calls instead of %v", o.sizes, want)
	}
	o.sizes = nil
	first, far := o.end()
	second, other := o.end()
	o.on(func(*Task) {
		if err := first.Readable(); err != nil {
			t.Error(err)
		}
		if n, err := first.Write(make([]byte, lotBytes+1), false); n != lotBytes+1 || err != 0 {
			t.Errorf("%d bytes written, %v", n, err)
		}
	}, func(*Task) {
		if err := second.Readable(); err != nil {
			t.Error(err)
		}
	}, func(*Task) { o.ask(far, other) })
	if len(o.sizes) > 0 {
		t.Errorf("what moves much is in lots of %v calls", o.sizes)
	}
}

// TestWhatIsReadyIsAnsweredBeforeOthersHaveAnotherTurn, as without lots.
func TestWhatIsReadyIsAnsweredBeforeOthersHaveAnotherTurn(t *testing.T) {
	o := observe(t)
	answered := 0
	first, speakFirst := o.end()
	second, speakSecond := o.end()
	busy, _ := o.end()
	o.on(o.answerer(first, &answered), o.answerer(second, &answered), func(*Task) {
		o.ask(speakFirst, speakSecond)
		for range share {
			busy.Spend() // until others have had their turn
		}
		if answered != 2 {
			t.Errorf("%d are answered", answered)
		}
	})
}

func TestWhoAsksAgainAndAgainIsNotForgottenWhileNothingHappens(t *testing.T) {
	g, err := Start(Options{Loops: 1, Together: 1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(g.Close)
	o := &observed{Loop: g.Pick(), t: t}
	s, _ := o.end()
	o.on(func(*Task) {
		for range 100 {
			if n, err := s.Write([]byte("!"), false); n != 1 || err != 0 {
				t.Errorf("%d bytes written, %v", n, err)
				return
			}
		}
	})
}

func TestATaskBesideAnotherIsOnItsLoop(t *testing.T) {
	o := observe(t)
	o.on(func(t *Task) {
		if t.Loop() != o.Loop {
			o.t.Error("it is not")
		}
	})
	began := make(chan *Task, 2)
	o.on(func(t *Task) {
		t.Leave()
		t.Go(func(other *Task) { began <- other })
	})
	(*Task)(nil).Go(func(other *Task) { began <- other })
	for range 2 {
		select {
		case other := <-began:
			if other != nil {
				t.Error("beside what is on no loop there is a task")
			}
		case <-time.After(time.Minute):
			t.Fatal("what is beside no task does not begin")
		}
	}
}

// TestLoopsThatHaveEndedLeaveNothingOpen, their rings included.
func TestLoopsThatHaveEndedLeaveNothingOpen(t *testing.T) {
	open := func() int {
		files, err := os.ReadDir("/proc/self/fd")
		if err != nil {
			t.Fatal(err)
		}
		return len(files)
	}
	before := open()
	for range 3 {
		g, err := Start(Options{Loops: 2})
		if err != nil {
			t.Fatal(err)
		}
		g.Close()
	}
	if after := open(); after != before {
		t.Errorf("%d files are open, %d were", after, before)
	}
}
