package kernel

import (
	"fmt"
	"os"
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
	_               [3]uint32
	features        uint32
	_               [4]uint32
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
	oneMapping    = 1 // IORING_FEAT_SINGLE_MMAP
)

// NewRing returns a ring that makes so many calls at a time, a power of two. The
// error is an [ErrNoRing] that says why, where none can be used here.
func NewRing(size int) (*Ring, error) {
	var p parameters
	fd, _, errno := syscall.RawSyscall(unix.SYS_IO_URING_SETUP, uintptr(size), uintptr(unsafe.Pointer(&p)), 0)
	switch errno {
	case 0:
	case unix.ENOSYS, unix.EPERM:
		return nil, fmt.Errorf("%w: %w", ErrNoRing, errno)
	default:
		return nil, fmt.Errorf("io_uring: %w", errno)
	}
	r := &Ring{fd: int(fd)}
	err := r.open(&p)
	if err == nil {
		err = r.prove()
	}
	if err != nil {
		r.Close()
		return nil, err
	}
	return r, nil
}

// open maps the memory that is shared with the kernel.
func (r *Ring) open(p *parameters) (err error) {
	if p.features&oneMapping == 0 {
		return fmt.Errorf("%w: this kernel's is too old", ErrNoRing)
	}
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
	return nil
}

func share(fd int, offset int64, size uint32) ([]byte, error) {
	memory, err := unix.Mmap(fd, offset, int(size), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED|unix.MAP_POPULATE)
	return memory, os.NewSyscallError("io_uring: mmap", err)
}

// scrap is where a ring reads to that is not known yet to be done when it says so.
var scrap [1]byte

// prove proves that calls are over at once, whatever comes of them.
func (r *Ring) prove() error {
	ends, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return os.NewSyscallError("socketpair", err)
	}
	defer unix.Close(ends[0])
	defer unix.Close(ends[1])
	nothing := &Call{FD: uintptr(ends[0]), Bytes: scrap[:]}
	if _, err := r.submit([]*Call{nothing}); err != 0 {
		return fmt.Errorf("%w: %w", ErrNoRing, err)
	}
	if r.reap() == 0 {
		return fmt.Errorf("%w: this kernel's waits for what cannot be read", ErrNoRing)
	}
	if nothing.Err != unix.EAGAIN {
		return fmt.Errorf("%w: a read of nothing ends with %w", ErrNoRing, nothing.Err)
	}
	return nil
}

// Do makes calls. Those that the kernel does not take together are made one by
// one.
func (r *Ring) Do(calls []*Call) {
	for len(calls) > 0 {
		lot := calls[:min(len(calls), len(r.asked))]
		calls = calls[len(lot):]
		made, _ := r.submit(lot)
		r.await(made - r.reap())
		for i, c := range lot {
			if i >= made || c.Err == unix.EINTR {
				c.Do()
			}
		}
	}
	r.calls = nil
}

// submit hands calls to the kernel, which makes them, and returns how many of
// them it took, and why not all.
func (r *Ring) submit(calls []*Call) (taken int, err syscall.Errno) {
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
	for taken < len(calls) {
		var n uintptr
		n, _, err = syscall.RawSyscall6(unix.SYS_IO_URING_ENTER, uintptr(r.fd), uintptr(len(calls)-taken), 0, 0, 0, 0)
		if err != 0 || n == 0 {
			// What was not taken is not there any more.
			atomic.StoreUint32(r.askedTo, from+uint32(taken))
			break
		}
		taken += int(n)
	}
	return taken, err
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
// what calls read into is not their callers'. It has proven to be done, so a ring
// that is not, nor can be waited for, is one that nobody can go on with.
func (r *Ring) await(missing int) {
	for missing > 0 {
		_, _, err := syscall.Syscall6(unix.SYS_IO_URING_ENTER, uintptr(r.fd), 0, uintptr(missing), getEvents, 0, 0)
		if missing -= r.reap(); missing > 0 && err != 0 && err != unix.EINTR {
			panic(fmt.Sprintf("io_uring has not said what became of %d calls: %v", missing, err))
		}
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
