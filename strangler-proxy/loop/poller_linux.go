package loop

import (
	"errors"
	"runtime"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// What the kernel says of a socket.
const (
	arrived  = uint32(unix.EPOLLIN)
	readable = arrived | uint32(unix.EPOLLRDHUP)
	writable = uint32(unix.EPOLLOUT)
	broken   = uint32(unix.EPOLLHUP | unix.EPOLLERR)
)

// bellPlace is the bell's, which is no source's.
const bellPlace = ^uint32(0)

// poller is an epoll instance and a bell that wakes whoever waits for it.
type poller struct{ epoll, bell int }

type event struct{ unix.EpollEvent }

func (e *event) bits() uint32 { return e.Events }

func (e *event) token() (place, generation uint32) { return uint32(e.Fd), uint32(e.Pad) }

func newPoller() (poller, error) {
	epoll, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return poller{}, err
	}
	bell, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		return poller{}, errors.Join(err, unix.Close(epoll))
	}
	p := poller{epoll, bell}
	// Of the bell it matters only that it rings, not that it may be rung.
	if err := p.watch(bell, unix.EPOLLIN|unix.EPOLLET, bellPlace, 0); err != nil {
		p.close()
		return poller{}, err
	}
	return p, nil
}

func (p poller) close() {
	unix.Close(p.bell)
	unix.Close(p.epoll)
}

// add is told of each change of a socket, once.
func (p poller) add(fd int, place, generation uint32) error {
	return p.watch(fd, unix.EPOLLIN|unix.EPOLLOUT|unix.EPOLLRDHUP|unix.EPOLLET, place, generation)
}

func (p poller) watch(fd int, events, place, generation uint32) error {
	e := unix.EpollEvent{Events: events, Fd: int32(place), Pad: int32(generation)}
	return unix.EpollCtl(p.epoll, unix.EPOLL_CTL_ADD, fd, &e)
}

func (p poller) remove(fd int) { unix.EpollCtl(p.epoll, unix.EPOLL_CTL_DEL, fd, nil) }

// ring wakes whoever waits.
func (p poller) ring() {
	one := [8]byte{1}
	unix.Write(p.bell, one[:])
}

// hush makes the bell ring anew the next time.
func (p poller) hush() {
	var count [8]byte
	unix.Read(p.bell, count[:])
}

// look waits for a moment. Go's scheduler believes that the thread is computing;
// when it wants the processor it interrupts the call.
func (p poller) look(events []event, limit time.Duration) []event {
	n, _, err := syscall.RawSyscall6(unix.SYS_EPOLL_PWAIT, uintptr(p.epoll), uintptr(unsafe.Pointer(unsafe.SliceData(events))), uintptr(len(events)), milliseconds(limit), 0, 0)
	return happened(events, n, err)
}

// sleep waits for as long as it takes.
func (p poller) sleep(events []event, limit time.Duration) []event {
	n, _, err := syscall.Syscall6(unix.SYS_EPOLL_PWAIT, uintptr(p.epoll), uintptr(unsafe.Pointer(unsafe.SliceData(events))), uintptr(len(events)), milliseconds(limit), 0, 0)
	runtime.KeepAlive(events)
	return happened(events, n, err)
}

func happened(events []event, n uintptr, err syscall.Errno) []event {
	if err != 0 {
		return nil // interrupted
	}
	return events[:n]
}

// milliseconds rounds up: a deadline that is waited for must be over then.
func milliseconds(d time.Duration) uintptr {
	return uintptr((min(d, 24*time.Hour) + time.Millisecond - 1) / time.Millisecond)
}

func shutdown(fd int) { unix.Shutdown(fd, unix.SHUT_RDWR) }
