package loop

import (
	"net"
	"os"
	"sync/atomic"
	"syscall"
	"time"

	"stranglerfig/strangler-proxy/kernel"
)

// Source is a socket that a loop looks after. One task at a time uses it, and
// waits for it on the source's own loop. What others may call says so.
type Source struct {
	loop       *Loop
	fd         int // changed under the loop's lock
	place      uint32
	generation uint32

	state           atomic.Uint32 // what the kernel has said and nobody used
	readBy, writeBy atomic.Int64  // nanoseconds after start; 0: whenever
	waiter          *Task
	wanted          uint32
}

// Add has the loop look after a socket, which must not be blocking. Anybody may
// call it.
func (l *Loop) Add(fd int) (*Source, error) {
	s := &Source{loop: l, fd: fd}
	l.mu.Lock()
	defer l.mu.Unlock()
	if n := len(l.free); n > 0 {
		s.place, l.free = l.free[n-1], l.free[:n-1]
	} else {
		s.place = uint32(len(l.slots))
		l.slots = append(l.slots, slot{})
	}
	at := &l.slots[s.place]
	at.source, s.generation = s, at.generation
	if err := l.poller.add(fd, s.place, s.generation); err != nil {
		l.vacate(s)
		return nil, err
	}
	return s, nil
}

// Remove has the loop look after it no longer, and returns the socket, which must
// be open still; false: that was done before. Nobody may be waiting for it, reading
// from it or writing to it. Whoever has it may call this, on the loop or not.
func (s *Source) Remove() (fd int, was bool) {
	s.loop.mu.Lock()
	defer s.loop.mu.Unlock()
	if s.fd == nowhere {
		return nowhere, false
	}
	fd, s.fd = s.fd, nowhere
	s.loop.poller.remove(fd)
	s.loop.vacate(s)
	return fd, true
}

// vacate gives a source's place back. l.mu is held.
func (l *Loop) vacate(s *Source) {
	at := &l.slots[s.place]
	at.source = nil
	at.generation++
	l.free = append(l.free, s.place)
}

// Loop returns the loop that looks after it.
func (s *Source) Loop() *Loop { return s.loop }

// nowhere is no socket.
const nowhere = -1

// FD returns the socket; one that is none when it was removed.
func (s *Source) FD() int { return s.fd }

// Readable waits until a read may find something, or until the deadline: the
// error is [os.ErrDeadlineExceeded], or [net.ErrClosed] where it was removed.
func (s *Source) Readable() error { return s.await(readable|broken, &s.readBy) }

// Writable waits until a write may take something, or until the deadline.
func (s *Source) Writable() error { return s.await(writable|broken, &s.writeBy) }

func (s *Source) await(what uint32, by *atomic.Int64) error {
	if at := by.Load(); at != 0 && at <= s.loop.now {
		return os.ErrDeadlineExceeded // whatever may have come
	}
	for s.state.Load()&what == 0 {
		if s.fd == nowhere {
			return net.ErrClosed
		}
		s.waiter, s.wanted = s.loop.running, what
		err := s.loop.await(by)
		s.waiter = nil
		if err != nil {
			return err
		}
	}
	return nil
}

// Read reads what has arrived, without waiting for anything to arrive.
func (s *Source) Read(b []byte) (int, syscall.Errno) { return s.call(kernel.Call{Bytes: b}, false) }

// Write writes what there is room for, without waiting for any; at once: before
// anybody else goes on.
func (s *Source) Write(b []byte, atOnce bool) (int, syscall.Errno) {
	return s.call(kernel.Call{Bytes: b, Writes: true}, atOnce)
}

// Spend is to be called where something was done without waiting, so that others
// have their turn now and then.
func (s *Source) Spend() { s.loop.spend() }

// Drained says that a read has taken what there was.
func (s *Source) Drained() { s.state.And(^arrived) }

// Dry says that a read has found nothing.
func (s *Source) Dry() { s.state.And(^(readable | broken)) }

// Full says that a write has found no room.
func (s *Source) Full() { s.state.And(^(writable | broken)) }

// Quiet reports whether nothing has been heard of it that was not used.
func (s *Source) Quiet() bool { return s.state.Load()&(readable|broken) == 0 }

// Heard is when the loop has last listened to its sources. It is for its tasks.
func (s *Source) Heard() time.Time { return moment(s.loop.now) }

// ReadBy sets the time by which a read has to end; zero: whenever.
func (s *Source) ReadBy(t time.Time) { s.readBy.Store(nanos(t)) }

// WriteBy sets the time by which a write has to end; zero: whenever.
func (s *Source) WriteBy(t time.Time) { s.writeBy.Store(nanos(t)) }

// Deadlines returns by when reads and writes have to end.
func (s *Source) Deadlines() (readBy, writeBy time.Time) {
	return moment(s.readBy.Load()), moment(s.writeBy.Load())
}

// Interrupt does what ReadBy does for a read under way as well. Anybody may call
// it.
func (s *Source) Interrupt(t time.Time) {
	s.ReadBy(t)
	s.loop.post(func() { s.loop.soonest = min(s.loop.soonest, nanos(t)) })
}

// Cut ends the connection, so that whatever waits for it ends. Anybody may call
// it.
func (s *Source) Cut() {
	s.loop.mu.Lock()
	defer s.loop.mu.Unlock()
	if s.fd != nowhere {
		shutdown(s.fd)
	}
}
