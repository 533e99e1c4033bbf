package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
)

// wireBuffer holds a head and a body of 64 KiB, so that neither the load nor
// the backend needs more reads than the kernel has pieces.
const wireBuffer = 72 << 10

// wire reads the HTTP/1.1 messages of a connection with as little work as can
// be, so that load, backend and relay leave the processors to what is measured.
// It knows bodies with a Content-Length only.
type wire struct {
	net.Conn
	buffer     []byte
	begin, end int // of what was read and is not consumed
}

func newWire(c net.Conn, size int) *wire { return &wire{Conn: c, buffer: make([]byte, size)} }

var emptyLine = []byte("\r\n\r\n")

// head returns the next message's head with its empty line; it is valid until
// the next call. The error is io.EOF where the connection ended before it.
func (w *wire) head() ([]byte, error) {
	for {
		if i := bytes.Index(w.buffer[w.begin:w.end], emptyLine); i >= 0 {
			head := w.buffer[w.begin : w.begin+i+len(emptyLine)]
			w.begin += len(head)
			return head, nil
		}
		begun := w.end > w.begin
		if err := w.fill(); errors.Is(err, io.EOF) && begun {
			return nil, io.ErrUnexpectedEOF
		} else if err != nil {
			return nil, err
		}
	}
}

// fill reads what there is into the buffer's free part.
func (w *wire) fill() error {
	if w.begin == w.end {
		w.begin, w.end = 0, 0
	}
	if w.end == len(w.buffer) {
		w.end = copy(w.buffer, w.buffer[w.begin:w.end])
		w.begin = 0
	}
	if w.end == len(w.buffer) {
		return fmt.Errorf("the head is longer than %d bytes", len(w.buffer))
	}
	n, err := w.Read(w.buffer[w.end:])
	w.end += n
	if n > 0 {
		return nil
	}
	return err
}

// body consumes so many bytes, and writes them to a writer unless it is nil.
func (w *wire) body(n int64, to io.Writer) error {
	for n > 0 {
		if w.begin == w.end {
			if err := w.fill(); errors.Is(err, io.EOF) {
				return io.ErrUnexpectedEOF
			} else if err != nil {
				return err
			}
		}
		piece := w.buffer[w.begin:w.end]
		piece = piece[:min(int64(len(piece)), n)]
		if to != nil {
			if _, err := to.Write(piece); err != nil {
				return err
			}
		}
		w.begin += len(piece)
		n -= int64(len(piece))
	}
	return nil
}

// pass sends the next message on, its head together with what of its body is at
// hand.
func (w *wire) pass(to io.Writer) error {
	head, err := w.head()
	if err != nil {
		return err
	}
	length, _ := contentLength(head)
	at := min(int64(w.end-w.begin), length)
	w.begin += int(at)
	if _, err := to.Write(w.buffer[w.begin-int(at)-len(head) : w.begin]); err != nil {
		return err
	}
	return w.body(length-at, to)
}

// contentLength reads the length of the body from a head; false where it does
// not say.
func contentLength(head []byte) (int64, bool) {
	value, ok := fieldOf(head, "content-length:")
	if !ok {
		return 0, false
	}
	n, err := strconv.ParseInt(string(value), 10, 64)
	return n, err == nil && n >= 0
}

// closes reports whether a head says that the connection ends after its
// message.
func closes(head []byte) bool {
	value, _ := fieldOf(head, "connection:")
	return bytes.EqualFold(value, []byte("close"))
}

// fieldOf finds a field by its name in lower case, with the colon.
func fieldOf(head []byte, name string) ([]byte, bool) {
	for rest := head; ; {
		i := bytes.IndexByte(rest, '\n')
		if i < 0 {
			return nil, false
		}
		rest = rest[i+1:]
		// The first letter is looked at first: it spares most lines the rest.
		if len(rest) < len(name) || rest[0]|0x20 != name[0] || !strings.EqualFold(string(rest[:len(name)]), name) {
			continue
		}
		value, _, _ := bytes.Cut(rest[len(name):], []byte("\r"))
		return bytes.TrimSpace(value), true
	}
}

// statusOf reads the status from an answer's head; 0 where there is none.
func statusOf(head []byte) int {
	const from, to = len("HTTP/1.1 "), len("HTTP/1.1 200")
	if len(head) < to || !bytes.HasPrefix(head, []byte("HTTP/1.")) {
		return 0
	}
	n, err := strconv.Atoi(string(head[from:to]))
	if err != nil {
		return 0
	}
	return n
}
