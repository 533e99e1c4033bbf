package kernel

import (
	"errors"
	"fmt"
	"sync/atomic"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Ring makes many calls by one call of the kernel: it is an io_uring, of which no
// more is used than that. Crossing into the kernel costs as much as what is done
// there for a small read, and more in a virtual machine. Each call is over when
// Do returns: whoever needs to know when a socket is ready asks epoll, as ever.
//
// One goroutine at a time may use it, on whatever thread.
type Ring struct {
	fd      int
	memory  []byte // of the queues
	entries []byte

	asked    []request
	answered []answer
	// Places in both, counted on and on.
	askedTo, answeredFrom, answeredTo *uint32

	calls []*Call // being made: the kernel has addresses of what they read into
}

// request is io_uring's struct io_uring_sqe, answer its struct io_uring_cqe.
type request struct {
	op      uint8
	_       [3]byte
	fd      int32
	_       uint64
	address uint64
	length  uint32
	how     uint32
	which   uint64
	_       [24]byte
}

type answer struct {
	which  uint64
	result int32
	_      uint32
}

// parameters are io_uring's struct io_uring_params.
type parameters struct {
	asked, answered uint32 // how many there is room for
	_               [8]uint32
	of              struct {
		_, tail, _, _, _, _, index, _ uint32
		_                             uint64
	}
	to struct {
		head, tail, _, _, _, entries, _, _ uint32
		_                                  uint64
	}
}

// What io_uring's header calls them.
const (
	opSend        = 26 // IORING_OP_SEND
	opReceive     = 27 // IORING_OP_RECV
	entriesOffset = 0x10000000
	getEvents     = 1 // IORING_ENTER_GETEVENTS
)

// NewRing returns a ring that makes so many calls at a time, a power of two. The
// error says that the kernel knows none, that it may not be used here, or that
// it would keep its user waiting, as old ones do.
func NewRing(size int) (*Ring, error) {
	var p parameters
	fd, _, errno := syscall.RawSyscall(unix.SYS_IO_URING_SETUP, uintptr(size), uintptr(unsafe.Pointer(&p)), 0)
	if errno != 0 {
		return nil, fmt.Errorf("io_uring: %w", errno)
	}
	r := &Ring{fd: int(fd)}
	if err := r.open(&p); err != nil {
		r.Close()
		return nil, fmt.Errorf("io_uring: %w", err)
	}
	return r, nil
}

func (r *Ring) open(p *parameters) (err error) {
	size := max(p.of.index+4*p.asked, p.to.entries+p.answered*uint32(unsafe.Sizeof(answer{})))
	if r.memory, err = share(r.fd, 0, size); err != nil {
		return err
	}
	if r.entries, err = share(r.fd, entriesOffset, p.asked*uint32(unsafe.Sizeof(request{}))); err != nil {
		return err
	}
	at := func(offset uint32) unsafe.Pointer { return unsafe.Pointer(&r.memory[offset]) }
	r.asked = unsafe.Slice((*request)(unsafe.Pointer(&r.entries[0])), p.asked)
	r.answered = unsafe.Slice((*answer)(at(p.to.entries)), p.answered)
	r.askedTo, r.answeredFrom, r.answeredTo = (*uint32)(at(p.of.tail)), (*uint32)(at(p.to.head)), (*uint32)(at(p.to.tail))
	for i, index := 0, unsafe.Slice((*uint32)(at(p.of.index)), p.asked); i < len(index); i++ {
		index[i] = uint32(i)
	}
	return r.prove()
}

func share(fd int, offset int64, size uint32) ([]byte, error) {
	return unix.Mmap(fd, offset, int(size), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED|unix.MAP_POPULATE)
}

// prove proves that calls are over at once, whatever comes of them.
func (r *Ring) prove() error {
	ends, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(ends[0])
	defer unix.Close(ends[1])
	near, far := uintptr(ends[0]), uintptr(ends[1])
	nothing := &Call{FD: near, Bytes: make([]byte, 2)}
	if r.submit([]*Call{nothing}) == 1 && r.reap() == 0 {
		unix.Shutdown(ends[0], unix.SHUT_RDWR) // which ends it
		r.await(1)
		return errors.New("it waits for what cannot be read")
	}
	said := &Call{FD: far, Bytes: []byte("!"), Writes: true}
	heard := &Call{FD: near, Bytes: make([]byte, 2)}
	made := r.submit([]*Call{said, heard})
	r.await(made - r.reap())
	if made != 2 || nothing.Err != unix.EAGAIN || said.N != 1 || heard.N != 1 || heard.Bytes[0] != '!' {
		return errors.New("it does not read what was written")
	}
	return nil
}

// Do makes calls. Those that the kernel does not take together are made one by
// one.
func (r *Ring) Do(calls []*Call) {
	for len(calls) > 0 {
		lot := calls[:min(len(calls), len(r.asked))]
		calls = calls[len(lot):]
		made := r.submit(lot)
		r.await(made - r.reap())
		for _, c := range lot[made:] {
			c.Do()
		}
	}
	r.calls = nil
}

// submit hands calls to the kernel, which makes them, and returns how many of
// them it took.
func (r *Ring) submit(calls []*Call) int {
	r.calls = calls
	from := *r.askedTo
	for i, c := range calls {
		op := uint8(opReceive)
		if c.Writes {
			op = opSend
		}
		r.asked[(from+uint32(i))%uint32(len(r.asked))] = request{
			op: op, fd: int32(c.FD), address: uint64(uintptr(unsafe.Pointer(unsafe.SliceData(c.Bytes)))), length: uint32(len(c.Bytes)),
			how: unix.MSG_DONTWAIT | unix.MSG_NOSIGNAL, which: uint64(i),
		}
	}
	atomic.StoreUint32(r.askedTo, from+uint32(len(calls)))
	taken := 0
	for taken < len(calls) {
		n, _, err := syscall.RawSyscall6(unix.SYS_IO_URING_ENTER, uintptr(r.fd), uintptr(len(calls)-taken), 0, 0, 0, 0)
		if err != 0 || n == 0 {
			// What was not taken is not there any more.
			atomic.StoreUint32(r.askedTo, from+uint32(taken))
			break
		}
		taken += int(n)
	}
	return taken
}

// reap notes what has become of calls, and returns of how many that is known.
func (r *Ring) reap() (known int) {
	from, to := *r.answeredFrom, atomic.LoadUint32(r.answeredTo)
	for ; from != to; from++ {
		a := &r.answered[from%uint32(len(r.answered))]
		c := r.calls[a.which]
		if c.N, c.Err = int(a.result), 0; a.result < 0 {
			c.N, c.Err = 0, syscall.Errno(-a.result)
		}
		known++
	}
	atomic.StoreUint32(r.answeredFrom, to)
	return known
}

// await waits for what the kernel is not done with, if anything: until it is,
// what calls read into is not their callers'.
func (r *Ring) await(missing int) {
	for missing > 0 {
		syscall.Syscall6(unix.SYS_IO_URING_ENTER, uintptr(r.fd), 0, uintptr(missing), getEvents, 0, 0)
		missing -= r.reap()
	}
}

// Close ends the ring.
func (r *Ring) Close() {
	for _, shared := range [][]byte{r.memory, r.entries} {
		if shared != nil {
			unix.Munmap(shared)
		}
	}
	unix.Close(r.fd)
}
