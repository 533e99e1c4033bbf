package proxy

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"

	"stranglerfig/strangler-proxy/upstream"
)

// forwarder sends a flight to its target, and to the other backend where that
// is safe.
type forwarder struct{ p *Proxy }

// RoundTrip implements [http.RoundTripper].
func (t forwarder) RoundTrip(r *http.Request) (*http.Response, error) {
	f := flightOf(r)
	if f.other == nil {
		return f.target.RoundTrip(r)
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
	t.p.o.Metrics.fallbacks.WithLabelValues(f.route.ID).Inc()
	return f.other.RoundTrip(r.Clone(r.Context()))
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
	p.o.Metrics.failures.WithLabelValues(f.target.Name).Inc()
	var notSent *upstream.NotSentError
	var timeout net.Error
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		p.Refused("body")
		return http.StatusRequestEntityTooLarge, tooLong(tooLarge.Limit).Error()
	case errors.As(err, &notSent):
		return http.StatusServiceUnavailable, f.target.Name + " cannot be reached; nothing was sent"
	case errors.Is(err, upstream.ErrSlow), errors.As(err, &timeout) && timeout.Timeout():
		return http.StatusGatewayTimeout, f.target.Name + " did not answer in time"
	}
	return http.StatusBadGateway, f.target.Name + " did not answer"
}
