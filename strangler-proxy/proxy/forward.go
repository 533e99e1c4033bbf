package proxy

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"time"

	"stranglerfig/strangler-proxy/route"
	"stranglerfig/strangler-proxy/upstream"
)

// forwarder sends a flight to its target, and to the other backend where that
// is safe.
type forwarder struct{ p *Proxy }

// RoundTrip implements [http.RoundTripper].
func (t forwarder) RoundTrip(r *http.Request) (*http.Response, error) {
	f := flightOf(r)
	if f.other == nil {
		return askAgain(f.target, r)
	}
	res, err := askInTime(f.target, r, f.obeyed.FallbackAfter)
	why := ""
	switch {
	case r.Context().Err() != nil:
		return res, err
	case err != nil:
		why = err.Error()
	case excuses(res.StatusCode):
		why = fmt.Sprintf("the service answered %d", res.StatusCode)
		io.Copy(io.Discard, io.LimitReader(res.Body, 64<<10))
		res.Body.Close()
	default:
		return res, nil
	}
	f.fellBack = why
	f.target.FellBack()
	t.p.o.Metrics.fallbacks.WithLabelValues(f.route.ID).Inc()
	return askAgain(f.other, r.Clone(r.Context()))
}

// askAgain sends a request, and once more to the same owner where that is safe.
func askAgain(b *upstream.Backend, r *http.Request) (*http.Response, error) {
	if r.Body == nil || r.Body == http.NoBody {
		res, err := b.RoundTrip(r)
		if err != nil && r.Context().Err() == nil && mayRepeat(b, r.Method, false, err) {
			return b.RoundTripAgain(r)
		}
		return res, err
	}
	body := &keptBody{ReadCloser: r.Body}
	r.Body = body
	res, err := b.RoundTrip(r)
	if err != nil && r.Context().Err() == nil && mayRepeat(b, r.Method, true, err) {
		return b.RoundTripAgain(r) // nothing was sent, so nothing of the body is missing
	}
	body.letGo()
	return res, err
}

// mayRepeat reports whether a request that failed may be sent once more to the
// backend that owns it: nothing of it was sent, or it only reads and has no
// body. Where it may, that is taken from the backend's budget.
func mayRepeat(b *upstream.Backend, method string, hasBody bool, err error) bool {
	var notSent *upstream.NotSentError
	if errors.As(err, &notSent) {
		return !errors.Is(err, upstream.ErrOpen) && !errors.Is(err, upstream.ErrFull) && b.RetryUnsent()
	}
	return repeatable(method, hasBody) && !tookTooLong(err) && !errors.Is(err, errTunnel) && b.Retry()
}

// repeatable reports whether a request only reads and has no body, so that it may
// be asked again whatever became of it.
func repeatable(method string, hasBody bool) bool { return route.Reads(method) && !hasBody }

func tookTooLong(err error) bool {
	var timeout net.Error
	return errors.Is(err, upstream.ErrSlow) || errors.As(err, &timeout) && timeout.Timeout()
}

// keptBody is a request's body that is still there when the request could not
// be sent, although net/http closes it then.
type keptBody struct {
	io.ReadCloser
	mu     sync.Mutex
	free   bool // closing it closes it
	closed bool // it was to be closed before
}

// Close implements [io.Closer].
func (k *keptBody) Close() error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.closed = true; !k.free {
		return nil
	}
	return k.ReadCloser.Close()
}

// letGo says that the body will not be sent another time.
func (k *keptBody) letGo() {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.free = true; k.closed {
		k.ReadCloser.Close()
	}
}

// excuses reports whether a status says that somebody else should be asked.
func excuses(status int) bool {
	return status == http.StatusBadGateway || status == http.StatusServiceUnavailable || status == http.StatusGatewayTimeout
}

// askInTime sends a request without a body and gives up when no answer has
// begun after a while.
func askInTime(b *upstream.Backend, r *http.Request, after time.Duration) (*http.Response, error) {
	ctx, cancel := context.WithCancelCause(r.Context())
	timer := time.AfterFunc(after, func() { cancel(upstream.ErrSlow) })
	res, err := b.RoundTrip(r.Clone(ctx))
	if !timer.Stop() && err == nil {
		res.Body.Close()
		err = upstream.ErrSlow
	}
	if err != nil {
		cancel(nil)
		if errors.Is(context.Cause(ctx), upstream.ErrSlow) {
			err = upstream.ErrSlow
		}
		return nil, err
	}
	res.Body = closing{res.Body, func() { cancel(nil) }}
	return res, nil
}

// closing calls back when a body is closed.
type closing struct {
	io.ReadCloser
	then func()
}

func (c closing) Close() error {
	defer c.then()
	return c.ReadCloser.Close()
}

// failed counts a request that its target did not answer, and says how it is
// answered instead.
func (p *Proxy) failed(f *flight, err error) (status int, text string) {
	var notSent *upstream.NotSentError
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		p.Refused("body")
		return http.StatusRequestEntityTooLarge, tooLong(tooLarge.Limit).Error()
	case errors.Is(err, errSlowBody):
		p.Refused("body-too-slow")
		return http.StatusRequestTimeout, err.Error()
	case errors.Is(err, errBrokenBody):
		p.Refused("content-length")
		return http.StatusBadRequest, errBrokenBody.Error()
	}
	p.o.Metrics.failures.WithLabelValues(f.target.Name).Inc()
	switch {
	case errors.Is(err, upstream.ErrFull):
		return http.StatusServiceUnavailable, f.target.Name + " has as much to do as it may have; nothing was sent"
	case errors.As(err, &notSent):
		return http.StatusServiceUnavailable, f.target.Name + " cannot be reached; nothing was sent"
	case tookTooLong(err):
		return http.StatusGatewayTimeout, f.target.Name + " did not answer in time"
	}
	return http.StatusBadGateway, f.target.Name + " did not answer"
}
