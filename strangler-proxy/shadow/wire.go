package shadow

import (
	"context"
	"errors"
	"io"
	"os"
	"strconv"
	"sync"
	"time"

	"stranglerfig/strangler-proxy/http1"
	"stranglerfig/strangler-proxy/loop"
	"stranglerfig/strangler-proxy/proxy"
	"stranglerfig/strangler-proxy/route"
	"stranglerfig/strangler-proxy/upstream"
)

// Every mirrored request is one more that is sent. Where HTTP/1.1 is spoken it is
// sent as a client's is: over net/http it would cost several times as much.

// answerHeads bounds the head of an answer.
var answerHeads = http1.Limits{Head: 256 << 10, Fields: 1024}

// wire is a mirrored request on its way.
type wire struct {
	out, in []byte
	begin   int // of in, where what was not used begins
	res     http1.Response
}

// wires are kept, because most of what one needs is memory.
var wires = sync.Pool{New: func() any { return &wire{out: make([]byte, 0, 2<<10), in: make([]byte, 0, 4<<10)} }}

// keptLength is the longest answer whose memory is kept for the next one.
const keptLength = 64 << 10

func (w *wire) putAway() {
	if cap(w.in) <= keptLength && cap(w.out) <= keptLength {
		wires.Put(w)
	}
}

// sendBare sends the exchange's request to a backend that speaks HTTP/1.1, and
// returns its answer and how long that took. A read is sent once more where the
// backend had closed the connection meanwhile.
func (s *Shadow) sendBare(t *loop.Task, b *upstream.Backend, x *proxy.Exchange) (answer, time.Duration, error) {
	w := wires.Get().(*wire)
	defer w.putAway()
	w.request(x)
	for again := false; ; again = true {
		m, took, err := s.exchange(t, b, x, w, again)
		if err == nil || again || !route.Reads(x.Method) || !errors.Is(err, errUnheard) {
			return m, took, err
		}
	}
}

// errUnheard is the error of a connection that ended without a byte of an
// answer.
var errUnheard = errors.New("the backend closed the connection without an answer")

func (s *Shadow) exchange(t *loop.Task, b *upstream.Backend, x *proxy.Exchange, w *wire, fresh bool) (answer, time.Duration, error) {
	begun := time.Now()
	c, err := b.AsideConn(s.ctx, upstream.Want{Task: t, Fresh: fresh, Sure: !route.Reads(x.Method)}, begun)
	if err != nil {
		return answer{}, 0, err
	}
	if c.On() == nil {
		t.Leave()
	}
	whole := context.AfterFunc(s.ctx, c.Cut)
	c.MayTake(begun, s.o.Timeout)
	c.SetReadDeadline(begun.Add(s.o.Timeout))
	m, err := w.ask(c, x.Method, s.o.Body)
	now := time.Now()
	if !whole() && err == nil {
		err = s.ctx.Err() // the connection was cut, which may look like an answer's end
	}
	if err != nil || w.res.Close || w.begin < len(w.in) {
		c.Close()
	} else {
		c.Keep(now)
	}
	return m, now.Sub(begun), err
}

// request puts the exchange's request together.
func (w *wire) request(x *proxy.Exchange) {
	b := append(w.out[:0], x.Method...)
	b = append(append(b, ' '), x.Path...)
	if x.Query != "" {
		b = append(append(b, '?'), x.Query...)
	}
	b = append(b, " HTTP/1.1\r\n"...)
	b = appendField(b, "Host", x.Host)
	for name, value := range x.Header.All() {
		if !ofExchange(name) {
			b = appendField(b, name, value)
		}
	}
	b = append(b, "X-Strangler-Shadow: 1\r\n"...)
	if len(x.Body) > 0 || !route.Reads(x.Method) {
		b = append(b, "Content-Length: "...)
		b = append(strconv.AppendInt(b, int64(len(x.Body)), 10), "\r\n"...)
	}
	w.out = append(append(b, "\r\n"...), x.Body...)
}

func appendField(b []byte, name, value string) []byte {
	b = append(append(b, name...), ": "...)
	return append(append(b, value...), "\r\n"...)
}

// ofExchange reports whether a field is about the connection alone, or said anew
// by whoever mirrors.
func ofExchange(name string) bool {
	for _, own := range [...]string{"Connection", "Keep-Alive", "TE", "Transfer-Encoding", "Upgrade", "Expect", "Host", "Content-Length"} {
		if http1.SameName(name, own) {
			return true
		}
	}
	return false
}

// Lend implements [socket.Lender].
func (w *wire) Lend() []byte { return w.in[len(w.in):cap(w.in)] }

// Return implements [socket.Lender].
func (w *wire) Return() {}

// ask sends the request and reads the answer, of whose body at most so many
// bytes are wanted.
func (w *wire) ask(c *upstream.Conn, method string, most int64) (answer, error) {
	w.in, w.begin = w.in[:0], 0
	n, err := c.Ask(w.out, w)
	w.in = w.in[:len(w.in)+n]
	if n == 0 && err != nil {
		return answer{}, whyUnheard(err)
	}
	for {
		head, err := w.head(c)
		if err != nil {
			return answer{}, err
		}
		if err := w.res.Parse(head, method, answerHeads); err != nil {
			return answer{}, err
		}
		if w.res.Status >= 200 {
			break
		}
	}
	got := answer{status: w.res.Status, header: proxy.ListHeaders(w.res.Fields, w.res.Hop)}
	got.body, err = w.body(c, most)
	return got, err
}

// whyUnheard says what became of a request to which no byte came back.
func whyUnheard(err error) error {
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return context.DeadlineExceeded
	}
	return errors.Join(errUnheard, err)
}

// fill reads more.
func (w *wire) fill(c *upstream.Conn) error {
	if w.begin > 0 {
		w.in = w.in[:copy(w.in, w.in[w.begin:])]
		w.begin = 0
	}
	if len(w.in) == cap(w.in) {
		w.in = append(w.in, 0)[:len(w.in)]
	}
	n, err := c.Read(w.Lend())
	w.in = w.in[:len(w.in)+n]
	switch {
	case n > 0 || err == nil:
		return nil
	case errors.Is(err, os.ErrDeadlineExceeded):
		return context.DeadlineExceeded
	case err == io.EOF:
		return io.ErrUnexpectedEOF
	}
	return err
}

func (w *wire) head(c *upstream.Conn) (string, error) {
	for seen := 0; ; {
		have := w.in[w.begin:]
		if n := http1.HeadEnd(have, seen); n > 0 {
			w.begin += n
			return string(have[:n]), nil
		}
		if seen = len(have); seen >= answerHeads.Head {
			return "", errors.New("the head of the answer is too long")
		}
		if err := w.fill(c); err != nil {
			return "", err
		}
	}
}

// body reads the answer's body.
func (w *wire) body(c *upstream.Conn, most int64) ([]byte, error) {
	var body []byte
	var chunks http1.Chunks
	left := w.res.Length
	if left > most {
		return nil, errTooLong
	}
	for done := left == 0; !done; {
		have := w.in[w.begin:]
		switch w.res.Length {
		case http1.Chunked:
			data, n, last, err := chunks.Next(have)
			if err != nil {
				return nil, err
			}
			body, done = append(body, data...), last
			w.begin += n
			have = have[n:]
		case http1.UntilClose:
			body = append(body, have...)
			w.begin, have = len(w.in), nil
		default:
			have = have[:min(int64(len(have)), left)]
			body, left = append(body, have...), left-int64(len(have))
			w.begin += len(have)
			done, have = left == 0, nil
		}
		if int64(len(body)) > most {
			return nil, errTooLong
		}
		if done || len(have) > 0 {
			continue
		}
		if err := w.fill(c); err != nil {
			if w.res.Length == http1.UntilClose && errors.Is(err, io.ErrUnexpectedEOF) {
				return body, nil
			}
			return nil, err
		}
	}
	return body, nil
}
