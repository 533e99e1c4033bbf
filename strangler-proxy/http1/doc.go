// Package http1 reads HTTP/1.x messages: heads, framing and chunked bodies. It
// is strict with what clients send, because a message that two readers take
// for different ones is a way past whoever looks at it first: whatever is
// ambiguous is refused, never repaired. With what backends answer it is lenient
// where browsers are and nothing can be smuggled.
//
// It does no I/O, knows no clock, and allocates nothing per message but a
// list of fields that is used again. Start at [HeadEnd] and [Request.Parse].
package http1

import "bytes"

// Field is one line of a header or of trailers, as it was sent, the value
// without the blanks around it.
type Field struct{ Name, Value string }

// Limits bound a head: its length in bytes, and how many fields it has.
type Limits struct{ Head, Fields int }

// Lengths of a body that are no number of bytes.
const (
	Chunked    = -1 // the body says itself where it ends
	UntilClose = -2 // the connection's end is the body's
)

// HeadEnd returns the length of the head at the beginning of buf, its empty
// line included, or 0 while that has not come. seen is how much of buf an
// earlier call has looked at. A head ends at an empty line however its line
// ends are written: Parse refuses those that are wrong.
func HeadEnd(buf []byte, seen int) int {
	for i := max(seen-2, 0); ; {
		n := bytes.IndexByte(buf[i:], '\n')
		if n < 0 {
			return 0
		}
		i += n + 1
		if endsEmpty(buf[:i]) {
			continue // before the first line: the head would have ended here
		}
		rest := buf[i:]
		switch {
		case len(rest) > 0 && rest[0] == '\n':
			return i + 1
		case len(rest) > 1 && rest[0] == '\r' && rest[1] == '\n':
			return i + 2
		}
	}
}

// endsEmpty reports whether the last line of a text is empty. It looks at no
// more than three bytes, however many empty lines a client sends.
func endsEmpty(text []byte) bool {
	n := len(text) - 1
	if n > 0 && text[n-1] == '\r' {
		n--
	}
	return n == 0 || text[n-1] == '\n'
}

// blankLines returns the empty lines that a message begins with.
func blankLines(head string) string {
	i := 0
	for i < len(head) && (head[i] == '\r' || head[i] == '\n') {
		i++
	}
	return head[:i]
}
