package proxy

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"time"
)

// standstill ends requests that came over HTTP/2 and whose client neither sends
// nor takes a byte while it is its turn. net/http has deadlines, but none that
// move on with every byte, and none may be set once the request was answered.
type standstill struct {
	limit time.Duration
	on    *http.ResponseController

	mu       sync.Mutex
	answered bool
	slow     bool // the client did not send
}

// never is longer than anything lasts.
const never = 100 * 365 * 24 * time.Hour

// over says that the request was answered.
func (s *standstill) over() {
	s.mu.Lock()
	s.answered = true
	s.mu.Unlock()
}

// end ends what waits for the client.
func (s *standstill) end(deadline func(time.Time) error, slow bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.answered && deadline(past) == nil {
		s.slow = s.slow || slow
	}
}

// wasSlow reports whether the client took too long to send.
func (s *standstill) wasSlow() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.slow
}

// clock is set while it is the client's turn.
type clock struct{ timer *time.Timer }

func (c *clock) set(limit time.Duration, then func()) {
	if c.timer == nil {
		c.timer = time.AfterFunc(limit, then)
	} else {
		c.timer.Reset(limit)
	}
}

// errBrokenBody is the error of a client that sends another body than it has
// announced.
var errBrokenBody = errors.New("the request's body broke off, or is not as long as it was said to be")

// timedBody is a request's body that must not stand still.
type timedBody struct {
	io.ReadCloser
	still *standstill
	clock clock
}

// Read implements [io.Reader].
func (b *timedBody) Read(p []byte) (int, error) {
	b.clock.set(b.still.limit, func() { b.still.end(b.still.on.SetReadDeadline, true) })
	n, err := b.ReadCloser.Read(p)
	b.clock.timer.Stop()
	var tooLarge *http.MaxBytesError
	switch {
	case err == nil, err == io.EOF, err == http.ErrBodyReadAfterClose, errors.As(err, &tooLarge):
	case b.still.wasSlow():
		err = errSlowBody
	default:
		err = fmt.Errorf("%w: %w", errBrokenBody, err)
	}
	return n, err
}
