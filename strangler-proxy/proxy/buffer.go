package proxy

import (
	"io"
	"sync"
)

// bufferSize is how much is read at once: a head with an ordinary body.
const bufferSize = 16 << 10

var pool = sync.Pool{New: func() any { return new([bufferSize]byte) }}

// wideSize is how much of a long body is read at once.
const wideSize = 64 << 10

var widePool = sync.Pool{New: func() any { return new([wideSize]byte) }}

// buffer holds bytes that were read and not used yet. It takes its memory from
// a pool and gives it back as soon as it is empty, so that a connection that
// waits holds none.
type buffer struct {
	pooled *[bufferSize]byte
	wide   *[wideSize]byte
	b      []byte // one of these, or larger for a head that does not fit into either
	r, w   int
}

func (b *buffer) unread() []byte { return b.b[b.r:b.w] }

func (b *buffer) use(n int) { b.r += n }

// room returns where to read to, moving what is unread to the front if need
// be; empty if the buffer is full.
func (b *buffer) room() []byte {
	if b.b == nil {
		b.pooled = pool.Get().(*[bufferSize]byte)
		b.b, b.r, b.w = b.pooled[:], 0, 0
	}
	if b.r == b.w {
		b.r, b.w = 0, 0
	} else if b.w == len(b.b) && b.r > 0 {
		b.r, b.w = 0, copy(b.b, b.b[b.r:b.w])
	}
	return b.b[b.w:]
}

// fill reads once.
func (b *buffer) fill(from io.Reader) (int, error) {
	n, err := from.Read(b.room())
	b.w += n
	if n > 0 {
		return n, nil // an error comes again
	}
	return n, err
}

// grow makes room for twice as much.
func (b *buffer) grow() {
	larger := make([]byte, 2*len(b.b))
	b.w = copy(larger, b.unread())
	b.r = 0
	b.giveBack()
	b.b = larger
}

// widen takes more memory for what is left of a long body, if nothing is unread.
func (b *buffer) widen() {
	if b.r < b.w || len(b.b) >= wideSize {
		return
	}
	b.giveBack()
	b.wide = widePool.Get().(*[wideSize]byte)
	b.b, b.r, b.w = b.wide[:], 0, 0
}

// Lend and Return implement [socket.Lender].

// Lend returns where to read to.
func (b *buffer) Lend() []byte { return b.room() }

// Return takes back what nothing was read to.
func (b *buffer) Return() { b.release() }

// release gives the memory back. What is unread is lost.
func (b *buffer) release() {
	b.giveBack()
	b.b, b.r, b.w = nil, 0, 0
}

func (b *buffer) giveBack() {
	if b.pooled != nil {
		pool.Put(b.pooled)
		b.pooled = nil
	}
	if b.wide != nil {
		widePool.Put(b.wide)
		b.wide = nil
	}
}

// buffers lends the same memory to [httputil.ReverseProxy].
type buffers struct{}

// Get implements [httputil.BufferPool].
func (buffers) Get() []byte { return pool.Get().(*[bufferSize]byte)[:] }

// Put implements [httputil.BufferPool].
func (buffers) Put(b []byte) { pool.Put((*[bufferSize]byte)(b)) }
