package proxy

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httputil"
	"strings"
	"time"

	"stranglerfig/strangler-proxy/upstream"
)

// forward sends the request on and captures it where an observer wants that.
func (p *Proxy) forward(w *answer, r *http.Request, f *flight, begun time.Time) {
	var wanting []Observer
	for _, o := range p.o.Observers {
		if o.Wants(f.route, f.decision) {
			wanting = append(wanting, o)
		}
	}
	ctx := context.WithValue(r.Context(), flightKey{}, f)
	if len(wanting) == 0 {
		p.reverse.ServeHTTP(w, r.WithContext(ctx))
		return
	}
	body := &teeBody{ReadCloser: r.Body, to: &capture{}}
	w.capture = &capture{}
	in := r.WithContext(ctx)
	if r.Body == nil || r.Body == http.NoBody {
		body.ended.Store(true)
	} else {
		in.Body = body
	}
	header := r.Header.Clone()
	p.reverse.ServeHTTP(w, in)
	sent, sentOver := body.to.taken()
	answered, answeredOver := w.capture.taken()
	x := &Exchange{
		Route: f.route, Decision: f.decision, Method: r.Method, Path: f.path, Query: r.URL.RawQuery, Host: r.Host,
		Header: header, Body: sent, Status: w.status, Answer: w.Header().Clone(), AnswerBody: answered,
		Truncated: sentOver || answeredOver || !body.ended.Load(), At: begun, Took: time.Since(begun),
	}
	if f.fellBack != "" || f.err != nil || w.status == 0 {
		return // says nothing about the side that was to answer
	}
	for _, o := range wanting {
		o.Observe(x)
	}
}

// rewrite addresses the outgoing request: the canonical path that was routed,
// everything else as it came.
func rewrite(pr *httputil.ProxyRequest) {
	f := pr.In.Context().Value(flightKey{}).(*flight)
	pr.Out.URL.RawPath = f.path
	pr.Out.URL.Path = unescape(f.path)
	pr.Out.URL.RawQuery, pr.Out.URL.ForceQuery = pr.In.URL.RawQuery, pr.In.URL.ForceQuery
	pr.Out.URL.Fragment = ""
	pr.Out.Host = pr.In.Host
	pr.Out.Trailer = pr.In.Trailer // filled in when the body has been read
	pr.SetXForwarded()
	if upgrade := pr.Out.Header.Get("Upgrade"); upgrade != "" && !strings.EqualFold(upgrade, "websocket") {
		// Tunnels of other kinds would bypass every route (h2c, for one).
		pr.Out.Header.Del("Upgrade")
		pr.Out.Header.Del("Connection")
	}
}

// forwarder sends a flight to its target, and to the other backend where that
// is safe.
type forwarder struct{ p *Proxy }

// RoundTrip implements [http.RoundTripper].
func (t forwarder) RoundTrip(r *http.Request) (*http.Response, error) {
	f := r.Context().Value(flightKey{}).(*flight)
	if f.other == nil {
		return f.target.RoundTrip(r)
	}
	res, err := askInTime(f.target, r, f.snapshot.FallbackAfter)
	why := ""
	switch {
	case r.Context().Err() != nil:
		return res, err
	case err != nil:
		why = err.Error()
	case res.StatusCode == http.StatusBadGateway, res.StatusCode == http.StatusServiceUnavailable, res.StatusCode == http.StatusGatewayTimeout:
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

// arrived sees an answer before the client does: what it has written is noted
// before it can hear of it and ask. It tells the client where the
// monolith answered in the service's place.
func arrived(res *http.Response) error {
	f := res.Request.Context().Value(flightKey{}).(*flight)
	f.wrote()
	if f.fellBack != "" {
		res.Header.Set("X-Strangler-Fallback", "monolith")
	}
	return nil
}

// fail answers a request that could not be forwarded.
func (p *Proxy) fail(w http.ResponseWriter, r *http.Request, err error) {
	f := r.Context().Value(flightKey{}).(*flight)
	f.err = err
	if r.Context().Err() != nil {
		return // nobody is left to be answered
	}
	p.o.Metrics.failures.WithLabelValues(f.target.Name).Inc()
	var notSent *upstream.NotSentError
	if errors.As(err, &notSent) {
		refuse(w, http.StatusServiceUnavailable, f.target.Name+" cannot be reached; nothing was sent")
		return
	}
	refuse(w, http.StatusBadGateway, f.target.Name+" did not answer")
}

// refuse answers in the proxy's own words.
func refuse(w http.ResponseWriter, status int, text string) {
	h := w.Header()
	h.Set("Content-Type", "text/plain; charset=utf-8")
	h.Set("X-Content-Type-Options", "nosniff")
	if status == http.StatusServiceUnavailable || status == http.StatusBadGateway {
		h.Set("Retry-After", "1")
	}
	w.WriteHeader(status)
	fmt.Fprintf(w, "strangler: %s\n", text)
}
