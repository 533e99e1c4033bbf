package socket_test

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"runtime"
	"testing"
	"time"

	"stranglerfig/strangler-proxy/loop"
	"stranglerfig/strangler-proxy/loop/looptest"
	"stranglerfig/strangler-proxy/socket"
)

// ends returns both ends of a connection.
type ends func(t *testing.T) (ours *socket.Conn, theirs *net.TCPConn)

// inEachPlace runs a test by Go's poller, and on a loop.
func inEachPlace(t *testing.T, test func(t *testing.T, ends ends)) {
	t.Run("by Go's poller", func(t *testing.T) { test(t, newEnds) })
	t.Run("on a loop", func(t *testing.T) {
		loops := looptest.Start(t, loop.Options{Loops: 1})
		l, done := loops.Pick(), make(chan struct{})
		l.Go(func(*loop.Task) {
			defer close(done)
			test(t, func(t *testing.T) (ours *socket.Conn, theirs *net.TCPConn) {
				ours, theirs = newEnds(t)
				if err := ours.Enter(l); err != nil {
					t.Fatal(err)
				}
				if ours.Loop() != l || ours.TCP() != nil {
					t.Error("it is not on the loop")
				}
				return ours, theirs
			})
		})
		<-done
	})
}

func newEnds(t *testing.T) (ours *socket.Conn, theirs *net.TCPConn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	dialled, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	accepted, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	if ours, err = socket.New(dialled.(*net.TCPConn)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ours.Close(); accepted.Close() })
	return ours, accepted.(*net.TCPConn)
}

// shelf lends one buffer.
type shelf struct {
	buffer   [64]byte
	lent     int
	returned int
}

func (s *shelf) Lend() []byte { s.lent++; return s.buffer[:] }
func (s *shelf) Return()      { s.returned++ }

// echo sends back whatever comes, until the connection ends.
func echo(t *testing.T, c *net.TCPConn) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		io.Copy(c, c)
	}()
	t.Cleanup(func() { c.Close(); <-done })
}

func TestAnAnswerIsHeardHoweverSoonItComes(t *testing.T) {
	inEachPlace(t, func(t *testing.T, ends ends) {
		ours, theirs := ends(t)
		echo(t, theirs)
		ours.SetDeadline(time.Now().Add(time.Minute))
		for i := range 5000 {
			question := []byte{byte(i), byte(i >> 8), '?'}
			var s shelf
			n, err := ours.Ask(question, &s)
			if err != nil || !bytes.Equal(s.buffer[:n], question) {
				t.Fatalf("question %d: %q, %v", i, s.buffer[:n], err)
			}
			if s.lent-s.returned != 1 {
				t.Fatalf("question %d: %d buffers were lent and %d returned", i, s.lent, s.returned)
			}
		}
	})
}

func TestNoBufferIsHeldWhileAnAnswerIsAwaited(t *testing.T) {
	inEachPlace(t, func(t *testing.T, ends ends) {
		ours, _ := ends(t)
		ours.SetReadDeadline(time.Now().Add(10 * time.Millisecond))
		var s shelf
		if _, err := ours.Ask([]byte("?"), &s); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatalf("error %v", err)
		}
		if s.lent != s.returned {
			t.Errorf("%d buffers were lent and %d returned", s.lent, s.returned)
		}
	})
}

func TestAQuestionTooLongToBeTakenAtOnceIsSentWhole(t *testing.T) {
	inEachPlace(t, func(t *testing.T, ends ends) {
		ours, theirs := ends(t)
		question := bytes.Repeat([]byte("0123456789abcdef"), 1<<20)
		heard := make(chan []byte, 1)
		go func() {
			b := make([]byte, len(question))
			if _, err := io.ReadFull(theirs, b); err == nil {
				theirs.Write([]byte("yes"))
			}
			heard <- b
		}()
		var s shelf
		n, err := ours.Ask(question, &s)
		if err != nil || string(s.buffer[:n]) != "yes" {
			t.Fatalf("%q, %v", s.buffer[:n], err)
		}
		if !bytes.Equal(<-heard, question) {
			t.Error("the question arrived otherwise than it was put")
		}
	})
}

func TestAQuestionIsPutThoughTheTimeToAnswerIsOver(t *testing.T) {
	inEachPlace(t, func(t *testing.T, ends ends) {
		ours, theirs := ends(t)
		ours.SetReadDeadline(time.Unix(1, 0))
		var s shelf
		_, err := ours.Ask([]byte("late?"), &s)
		var not *socket.NotAskedError
		if !errors.Is(err, os.ErrDeadlineExceeded) || errors.As(err, &not) {
			t.Fatalf("error %v", err)
		}
		b := make([]byte, 5)
		if _, err := io.ReadFull(theirs, b); err != nil || string(b) != "late?" {
			t.Errorf("%q, %v", b, err)
		}
		theirs.Write([]byte("still"))
		ours.SetReadDeadline(time.Now().Add(time.Minute))
		if n, err := ours.Await(&s); err != nil || string(s.buffer[:n]) != "still" {
			t.Errorf("%q, %v", s.buffer[:n], err)
		}
	})
}

func TestAConnectionThatEndedIsAnErrorAndNeverAnAnswer(t *testing.T) {
	t.Run("the other end closed it unheard", func(t *testing.T) {
		inEachPlace(t, func(t *testing.T, ends ends) {
			ours, theirs := ends(t)
			theirs.Close()
			ours.SetDeadline(time.Now().Add(time.Minute))
			var s shelf
			if n, err := ours.Ask([]byte("?"), &s); n != 0 || err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("%d, %v", n, err)
			}
		})
	})
	t.Run("the other end closed it instead of an answer", func(t *testing.T) {
		inEachPlace(t, func(t *testing.T, ends ends) {
			ours, theirs := ends(t)
			go func() { io.ReadFull(theirs, make([]byte, 1)); theirs.Close() }()
			var s shelf
			if n, err := ours.Ask([]byte("?"), &s); n != 0 || err != io.EOF {
				t.Errorf("%d, %v", n, err)
			}
		})
	})
	t.Run("the other end stopped sending before it was asked", func(t *testing.T) {
		inEachPlace(t, func(t *testing.T, ends ends) {
			ours, theirs := ends(t)
			theirs.CloseWrite()
			for ours.Quiet() {
				runtime.Gosched()
			}
			ours.SetReadDeadline(time.Now().Add(10 * time.Millisecond))
			var s shelf
			if n, err := ours.Ask([]byte("?"), &s); n != 0 || err != io.EOF {
				t.Errorf("%d, %v", n, err)
			}
			if s.lent != s.returned {
				t.Errorf("%d buffers were lent and %d returned", s.lent, s.returned)
			}
		})
	})
	t.Run("this end closed it before", func(t *testing.T) {
		inEachPlace(t, func(t *testing.T, ends ends) {
			ours, _ := ends(t)
			ours.Close()
			var s shelf
			_, err := ours.Ask([]byte("?"), &s)
			var not *socket.NotAskedError
			if !errors.As(err, &not) || !errors.Is(err, net.ErrClosed) {
				t.Errorf("error %v", err)
			}
			if _, err := ours.Write([]byte("?")); !errors.Is(err, net.ErrClosed) {
				t.Errorf("write: error %v", err)
			}
		})
	})
	t.Run("this end closed it meanwhile", func(t *testing.T) {
		ours, theirs := newEnds(t)
		go func() { io.ReadFull(theirs, make([]byte, 1)); ours.Close() }()
		var s shelf
		if _, err := ours.Ask([]byte("?"), &s); !errors.Is(err, net.ErrClosed) {
			t.Errorf("error %v", err)
		}
	})
}

func TestQuietIsAConnectionThatIsOpenAndSaysNothing(t *testing.T) {
	inEachPlace(t, func(t *testing.T, ends ends) {
		ours, theirs := ends(t)
		if !ours.Quiet() {
			t.Error("a new connection is not quiet")
		}
		theirs.Write([]byte("!"))
		b := make([]byte, 8)
		ours.SetReadDeadline(time.Now().Add(time.Minute))
		if n, err := ours.Read(b); n != 1 || err != nil {
			t.Fatalf("%d, %v", n, err)
		}
		if !ours.Quiet() {
			t.Error("it is not quiet though everything was read")
		}
		theirs.Write([]byte("!!"))
		if _, err := ours.Read(b[:1]); err != nil {
			t.Fatal(err)
		}
		if ours.Quiet() {
			t.Error("it is quiet though there is more to read")
		}
		theirs.CloseWrite()
		if n, err := io.Copy(io.Discard, ours); n != 1 || err != nil {
			t.Fatalf("%d, %v", n, err)
		}
		if ours.Quiet() {
			t.Error("it is quiet though the other end closed it")
		}
	})
}

func TestAWriteWaitsUntilAllIsTakenOrTheTimeIsOver(t *testing.T) {
	inEachPlace(t, func(t *testing.T, ends ends) {
		ours, theirs := ends(t)
		text := bytes.Repeat([]byte("x"), 16<<20)
		ours.SetWriteDeadline(time.Now().Add(20 * time.Millisecond))
		n, err := ours.Write(text)
		if !errors.Is(err, os.ErrDeadlineExceeded) || n == 0 || n == len(text) {
			t.Fatalf("%d bytes, %v", n, err)
		}
		read := make(chan int64, 1)
		go func() {
			n, _ := io.Copy(io.Discard, theirs)
			read <- n
		}()
		ours.SetWriteDeadline(time.Time{})
		more, err := ours.Write(text[n:])
		if err != nil || n+more != len(text) {
			t.Fatalf("%d and %d bytes, %v", n, more, err)
		}
		ours.CloseWrite()
		if n := <-read; n != int64(len(text)) {
			t.Errorf("%d bytes arrived", n)
		}
	})
}

func TestThatAConnectionHasBrokenCanBeLookedAt(t *testing.T) {
	ours, theirs := newEnds(t)
	if socket.Broken(ours.TCP()) {
		t.Error("a new connection has broken")
	}
	ours.SetWriteDeadline(time.Now().Add(20 * time.Millisecond))
	ours.Write(make([]byte, 64<<20))
	if socket.Broken(ours.TCP()) {
		t.Error("one that nobody reads from has broken")
	}
	theirs.SetLinger(0)
	theirs.Close()
	for !socket.Broken(ours.TCP()) {
		runtime.Gosched() // until the kernel has heard of it
	}
	ours.Close()
	if !socket.Broken(ours.TCP()) {
		t.Error("one that was closed has not broken")
	}
}

// TestAConnectionGoesOnWhereverItIsPut although bytes wait on both ends when it is.
func TestAConnectionGoesOnWhereverItIsPut(t *testing.T) {
	loops := looptest.Start(t, loop.Options{Loops: 2})
	ours, theirs := newEnds(t)
	local, remote := ours.LocalAddr().String(), ours.RemoteAddr().String()
	exchange := func() {
		theirs.Write([]byte("to"))
		b := make([]byte, 4)
		if n, err := io.ReadFull(ours, b[:2]); err != nil || string(b[:n]) != "to" {
			t.Errorf("%q, %v", b[:n], err)
		}
		if err := ours.WriteBoth([]byte("f"), []byte("rom")); err != nil {
			t.Error(err)
		}
		if n, err := io.ReadFull(theirs, b); err != nil || string(b[:n]) != "from" {
			t.Errorf("%q, %v", b[:n], err)
		}
		if ours.LocalAddr().String() != local || ours.RemoteAddr().String() != remote {
			t.Errorf("it is between %s and %s", ours.LocalAddr(), ours.RemoteAddr())
		}
	}
	exchange()
	for range 2 {
		l, done := loops.Pick(), make(chan struct{})
		theirs.Write([]byte("before"))
		if err := ours.Enter(l); err != nil {
			t.Fatal(err)
		}
		l.Go(func(task *loop.Task) {
			defer close(done)
			b := make([]byte, 8)
			if n, err := io.ReadFull(ours, b[:6]); err != nil || string(b[:n]) != "before" {
				t.Errorf("%q, %v", b[:n], err)
			}
			exchange()
			ours.SetReadDeadline(time.Unix(1, 0))
			if err := ours.Leave(); err != nil {
				t.Error(err)
			}
			task.Leave()
			if _, err := ours.Read(b); !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("its deadline does not hold where it is now: %v", err)
			}
			ours.SetReadDeadline(time.Time{})
			exchange()
		})
		<-done
	}
	exchange()
}

func TestWhatIsWrittenInTwoPiecesArrivesWhole(t *testing.T) {
	inEachPlace(t, func(t *testing.T, ends ends) {
		ours, theirs := ends(t)
		one, other := bytes.Repeat([]byte("one"), 1<<20), bytes.Repeat([]byte("other"), 3<<20)
		heard := make(chan []byte, 1)
		go func() {
			b, _ := io.ReadAll(theirs)
			heard <- b
		}()
		if err := ours.WriteBoth(one, other); err != nil {
			t.Error(err)
		}
		ours.CloseWrite()
		if !bytes.Equal(<-heard, append(one, other...)) {
			t.Error("it arrived otherwise than it was written")
		}
	})
}

func TestALoopThatIsLeftAfterTheConnectionWasClosedGivesAnError(t *testing.T) {
	inEachPlace(t, func(t *testing.T, ends ends) {
		ours, _ := ends(t)
		onLoop := ours.Loop() != nil
		ours.Close()
		if _, err := ours.Read(make([]byte, 1)); !errors.Is(err, net.ErrClosed) {
			t.Errorf("read: error %v", err)
		}
		if err := ours.Leave(); onLoop && !errors.Is(err, net.ErrClosed) {
			t.Errorf("leave: error %v", err)
		}
		if _, err := ours.Read(make([]byte, 1)); err == nil {
			t.Error("what was closed can be read")
		}
	})
}

// TestALookFindsWhatALoopHasNotHeardOf because it was busy since: what has arrived
// before a connection is given up must not be lost.
func TestALookFindsWhatALoopHasNotHeardOf(t *testing.T) {
	inEachPlace(t, func(t *testing.T, ends ends) {
		ours, theirs := ends(t)
		theirs.Write([]byte("!"))
		var n int
		var err error
		look := func(fd uintptr) { n, err = ours.ReadNow(fd, make([]byte, 8)) }
		for until := time.Now().Add(time.Minute); n == 0 && time.Now().Before(until); runtime.Gosched() {
			if failed := ours.Control(look); failed != nil {
				t.Fatal(failed)
			}
		}
		if n != 1 || err != nil {
			t.Errorf("%d bytes, %v", n, err)
		}
	})
}

// TestWhatIsAskedAfterALookIsSentAtOnce: whoever looks whether the other end is
// still there must not find it gone because others went first.
func TestWhatIsAskedAfterALookIsSentAtOnce(t *testing.T) {
	loops := looptest.Start(t, loop.Options{Loops: 1, Together: 1})
	ours, theirs := newEnds(t)
	l, done := loops.Pick(), make(chan struct{})
	if err := ours.Enter(l); err != nil {
		t.Fatal(err)
	}
	l.Go(func(first *loop.Task) {
		defer close(done)
		if !ours.Quiet() {
			t.Error("something has come")
		}
		written := false
		first.Go(func(*loop.Task) {
			if !written {
				t.Error("others went first")
			}
		})
		if _, err := ours.Write([]byte("?")); err != nil {
			t.Error(err)
		}
		written = true
	})
	<-done
	b := make([]byte, 1)
	if n, err := io.ReadFull(theirs, b); err != nil || b[0] != '?' {
		t.Errorf("%q, %v", b[:n], err)
	}
}
