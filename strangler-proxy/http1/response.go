package http1

import (
	"errors"
	"fmt"
	"strings"
)

// ErrMalformed is wrapped by the errors of answers that cannot be read.
var ErrMalformed = errors.New("the backend's answer is malformed")

func malformed(what string) error { return fmt.Errorf("%w: %s", ErrMalformed, what) }

// Response is the head of an answer. Its strings are parts of the text that was
// parsed; parsing another one into it uses its lists again.
type Response struct {
	Minor, Status int
	Reason        string
	Fields        []Field
	Length        int64  // of the body, or [Chunked], or [UntilClose]
	Close         bool   // the connection cannot be used for another request
	Upgrade       string // the protocol that Connection and Upgrade tell

	kinds []kind
	cl    int
	te    int
	given int64 // by Content-Length
}

// Hop reports whether a field is about this connection, and not passed on.
func (r *Response) Hop(i int) bool { return r.kinds[i] == hop }

// Framing reports whether a field says how the body is framed.
func (r *Response) Framing(i int) bool { return r.kinds[i] == framing }

// Get returns the first value of a field.
func (r *Response) Get(name string) string { return get(r.Fields, name) }

// Parse reads the head of an answer to a request with a method, its empty line
// included. Lines may end without a carriage return and fields may be folded,
// since browsers have always read such answers; the error wraps [ErrMalformed].
func (r *Response) Parse(head, method string, l Limits) error {
	*r = Response{Fields: r.Fields[:0], kinds: r.kinds[:0]}
	if len(head) > l.Head {
		return malformed("its head is too long")
	}
	line, head := cutAnyLine(head[len(blankLines(head)):])
	if err := r.statusLine(line); err != nil {
		return err
	}
	for lines := 0; ; {
		if line, head = cutAnyLine(head); line == "" {
			break
		}
		if lines++; lines > l.Fields {
			return malformed("it has too many fields")
		}
		if blank(line[0]) && len(r.Fields) > 0 {
			if err := r.fold(line); err != nil {
				return err
			}
			continue
		}
		field, err := parseField(line)
		if err != nil {
			return malformed(err.Error())
		}
		r.Fields, r.kinds = append(r.Fields, field), append(r.kinds, plain)
	}
	for i, f := range r.Fields {
		if err := r.look(i, f); err != nil {
			return err
		}
	}
	return r.conclude(method)
}

// cutAnyLine takes a line off a text, however it ends.
func cutAnyLine(text string) (line, rest string) {
	line, rest, _ = strings.Cut(text, "\n")
	return strings.TrimSuffix(line, "\r"), rest
}

func (r *Response) fold(line string) error {
	last := &r.Fields[len(r.Fields)-1]
	more := trim(line)
	if !all(more, inValue) {
		return malformed(errValue.Text)
	}
	last.Value = trim(last.Value + " " + more)
	return nil
}

func (r *Response) statusLine(line string) error {
	const before = "HTTP/1.x "
	if len(line) < len(before)+3 || line[:7] != "HTTP/1." || line[7] != '0' && line[7] != '1' || line[8] != ' ' {
		return malformed("its first line is no status line")
	}
	r.Minor = int(line[7] - '0')
	code, reason, _ := strings.Cut(line[len(before):], " ")
	status, ok := length(code)
	if !ok || len(code) != 3 || status < 100 || !all(reason, inValue) {
		return malformed("its first line is no status line")
	}
	r.Status, r.Reason = int(status), reason
	return nil
}

// look notes what a field says about the connection or the body.
func (r *Response) look(i int, f Field) error {
	switch {
	case SameName(f.Name, "Content-Length"):
		n, ok := length(f.Value)
		if !ok || r.cl > 0 && n != r.given {
			return malformed("its Content-Length is not one number of bytes")
		}
		r.given = n
		r.kinds[i] = framing
		if r.cl++; r.cl > 1 {
			r.kinds[i] = hop // said once is enough
		}
	case SameName(f.Name, "Transfer-Encoding"):
		if r.te++; r.te > 1 || !SameName(f.Value, "chunked") {
			return malformed("its Transfer-Encoding is not chunked")
		}
		r.kinds[i] = framing
	case PerHop(f.Name):
		r.kinds[i] = hop
	}
	return nil
}

// conclude looks at what only the whole head can tell: RFC 9112, 6.3.
func (r *Response) conclude(method string) error {
	c := connection{fields: r.Fields, kinds: r.kinds, lenient: true}
	if err := c.read(); err != nil {
		return malformed(err.Error())
	}
	r.Close = c.close || r.Minor == 0 && !c.keep
	if c.upgrade {
		r.Upgrade = r.Get("Upgrade")
	}
	if r.te > 0 && r.cl > 0 {
		r.overrule()
	}
	switch {
	case r.Status < 200, r.Status == 204:
		r.unframe()
	case method == "HEAD", r.Status == 304:
		return nil
	case r.te > 0:
		r.Length = Chunked
		r.Close = r.Close || r.Minor == 0
	case r.cl > 0:
		r.Length = r.given
	default:
		r.Length, r.Close = UntilClose, true
	}
	return nil
}

// overrule drops the length of an answer that has a Transfer-Encoding as well:
// nobody further on is to choose between them, even where there is no body to
// frame, and who sends both may send anything next (RFC 9112, 6.3).
func (r *Response) overrule() {
	for i := range r.Fields {
		if SameName(r.Fields[i].Name, "Content-Length") {
			r.kinds[i] = hop
		}
	}
	r.Close = true
}

// unframe reads an answer that never has a body: what would frame one is not
// passed on (RFC 9110, 8.6; RFC 9112, 6.1). A backend that announces a body may
// send it as well, and nobody must take that for the next answer.
func (r *Response) unframe() {
	for i := range r.kinds {
		if r.kinds[i] == framing {
			r.kinds[i] = hop
		}
	}
	r.Close = r.Close || r.te > 0 || r.given > 0
}
