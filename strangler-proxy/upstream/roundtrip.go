package upstream

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// ErrSlow is the cause with which a caller cancels a request that took too
// long to be answered.
var ErrSlow = errors.New("the backend did not answer in time")

// RoundTrip sends a request to the backend, whatever host its URL names. The
// request is under way until its answer's body has been read to its end, or
// closed: that is when it is known how the backend did. A body of which no
// piece comes for as long as the backend's idle time ends with an error.
func (b *Backend) RoundTrip(r *http.Request) (*http.Response, error) {
	attempt, err := b.Begin(time.Now())
	if err != nil {
		return nil, err
	}
	return b.roundTrip(attempt, r)
}

// RoundTripAgain does the same with a request that has just failed, see
// [Backend.BeginAgain].
func (b *Backend) RoundTripAgain(r *http.Request) (*http.Response, error) {
	attempt, err := b.BeginAgain(time.Now())
	if err != nil {
		return nil, err
	}
	return b.roundTrip(attempt, r)
}

func (b *Backend) roundTrip(attempt Attempt, r *http.Request) (*http.Response, error) {
	ctx, cancel := context.WithCancelCause(r.Context())
	r = r.WithContext(ctx)
	to := *r.URL
	to.Scheme, to.Host = attempt.endpoint.url.Scheme, attempt.endpoint.url.Host
	r.URL = &to
	upload := &upload{ReadCloser: r.Body, give: cancel}
	if !streams(r.Header.Get("Content-Type")) {
		upload.limit = b.o.Timeouts.Answer
	}
	if r.Body != nil && r.Body != http.NoBody {
		r.Body = upload
	}
	res, err := b.transport.Load().RoundTrip(r)
	if late := upload.answered(); late && err != nil {
		err = ErrSlow
	}
	if err != nil {
		attempt.End(blame(ctx, upload, err), time.Now())
		cancel(nil)
		return nil, err
	}
	attempt.Begun(time.Now())
	if res.Body == http.NoBody {
		attempt.End(Well, time.Now())
		cancel(nil)
		return res, nil
	}
	res.Body = &download{ReadCloser: res.Body, idle: b.idleFor(res), give: cancel, end: func(err error) {
		switch {
		case err == io.EOF:
			attempt.End(Well, time.Now())
		case err == nil:
			attempt.End(Undecided, time.Now()) // nobody wanted the rest
		default:
			attempt.End(blame(ctx, upload, err), time.Now())
		}
		cancel(nil)
	}}
	return res, nil
}

// idleFor is how long an answer's body may stand still; 0: for any time.
func (b *Backend) idleFor(res *http.Response) time.Duration {
	if streams(res.Header.Get("Content-Type")) {
		return 0
	}
	return b.o.Timeouts.Idle
}

// streams reports whether an answer of a media type is one of events or of
// gRPC messages, which come when they come.
func streams(mediaType string) bool {
	for _, of := range [...]string{"text/event-stream", "application/grpc"} {
		if len(mediaType) >= len(of) && strings.EqualFold(mediaType[:len(of)], of) {
			return true
		}
	}
	return false
}

// blame says whose fault it is that a request was not answered to its end.
func blame(ctx context.Context, body *upload, err error) Outcome {
	var notSent *NotSentError
	var timeout net.Error
	slow := errors.Is(context.Cause(ctx), ErrSlow)
	switch {
	case ctx.Err() != nil && !slow || body.broken.Load():
		return Undecided // the client went away; that says nothing
	case errors.As(err, &notSent):
		return Unconnected(err)
	case slow, errors.As(err, &timeout) && timeout.Timeout():
		return Slow
	}
	return Failed
}

// upload is a request body that notes whether its sender broke it off. It gives
// the call up when nobody asks for more of it for too long, which net/http has
// no limit for: the backend neither takes it nor answers.
type upload struct {
	io.ReadCloser
	broken atomic.Bool
	limit  time.Duration // 0: any
	give   context.CancelCauseFunc

	mu    sync.Mutex // guards everything below
	timer *time.Timer
	over  bool // the answer has come
	late  bool // it was given up
}

// Read implements [io.Reader].
func (u *upload) Read(p []byte) (int, error) {
	u.wait(false)
	n, err := u.ReadCloser.Read(p)
	if err != nil && err != io.EOF && !errors.Is(err, http.ErrBodyReadAfterClose) {
		u.broken.Store(true)
	}
	u.wait(err == nil)
	return n, err
}

// Close implements [io.Closer].
func (u *upload) Close() error {
	u.wait(false)
	return u.ReadCloser.Close()
}

// wait begins to wait for the backend to take what was read, or ends that.
func (u *upload) wait(begin bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	switch {
	case u.limit <= 0:
	case !begin && u.timer != nil:
		u.timer.Stop()
	case begin && u.timer == nil && !u.over:
		u.timer = time.AfterFunc(u.limit, u.giveUp)
	case begin && !u.over:
		u.timer.Reset(u.limit)
	}
}

func (u *upload) giveUp() {
	u.mu.Lock()
	defer u.mu.Unlock()
	if !u.over {
		u.over, u.late = true, true
		u.give(ErrSlow)
	}
}

// answered says that the backend may take what is left of the body as it likes,
// and reports whether it was given up before.
func (u *upload) answered() (late bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.over = true; u.timer != nil {
		u.timer.Stop()
	}
	return u.late
}

// download is an answer's body that tells, once, how it ended: with io.EOF or
// another error, or nil where it was closed before.
type download struct {
	io.ReadCloser
	idle  time.Duration // between two pieces; 0: any
	timer *time.Timer
	late  atomic.Bool             // it was given up
	give  context.CancelCauseFunc // gives the call up
	once  sync.Once
	end   func(err error)
}

// Read implements [io.Reader].
func (d *download) Read(p []byte) (int, error) {
	switch {
	case d.idle <= 0:
	case d.timer == nil:
		d.timer = time.AfterFunc(d.idle, d.giveUp)
	default:
		d.timer.Reset(d.idle)
	}
	n, err := d.ReadCloser.Read(p)
	if d.timer != nil {
		d.timer.Stop()
	}
	if d.late.Load() {
		err = ErrSlow // whatever a backend ends its answer with that sees us go
	}
	if err != nil {
		d.once.Do(func() { d.end(err) })
	}
	return n, err
}

func (d *download) giveUp() {
	d.late.Store(true)
	d.give(ErrSlow)
}

// Close implements [io.Closer].
func (d *download) Close() error {
	d.once.Do(func() { d.end(nil) })
	return d.ReadCloser.Close()
}
