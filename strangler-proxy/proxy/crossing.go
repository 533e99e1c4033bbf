package proxy

import (
	"context"
	"errors"
	"io"
	"maps"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"net/url"
	"slices"
	"strings"
	"time"

	"stranglerfig/strangler-proxy/http1"
)

// cross forwards a request to a backend that speaks something other than
// HTTP/1.1, over net/http, and its answer to the client.
func (c *conn) cross() {
	c.leave()
	f := &c.flight
	ctx, cancel := context.WithCancel(context.WithValue(c.client.Closed(), flightKey{}, f))
	defer cancel()
	to := newInlet()
	early := &interims{defect: c.proxy.mishap, write: func(b []byte) error {
		c.look()
		return c.writeClient(b)
	}}
	r := c.outgoing(ctx, to, early)
	c.hush()
	c.listen(to, false, cancel)
	res, err := forwarder{c.proxy}.RoundTrip(r)
	useless := early.end()
	c.look()
	if useless == nil && err == nil && res.StatusCode == http.StatusSwitchingProtocols {
		useless = errTunnel
	}
	if useless != nil {
		if err == nil {
			res.Body.Close()
		}
		err = useless
	}
	if err == nil {
		c.proxy.wrote(f)
		err = c.passResponse(res)
		res.Body.Close()
	}
	if gone := c.left(); gone != nil {
		err = gone
	}
	to.SetWriteDeadline(past)
	c.hush()
	switch {
	case err == nil && c.body.done:
	case err == nil:
		c.last = true
		c.client.Linger()
	case c.begun:
		f.err, c.last = err, true
		c.abort()
	case errors.Is(err, errGone):
		f.err, c.last = err, true
	default:
		f.err = err
		c.fail(err)
	}
}

// outgoing makes the request that is sent over net/http.
func (c *conn) outgoing(ctx context.Context, body *inlet, early *interims) *http.Request {
	f := &c.flight
	h := http.Header(http1.Header(c.req.Fields, func(i int) bool { return c.req.Hop(i) || c.req.Framing(i) }))
	h.Del("Host")
	c.proxy.o.Forwarding.set(h, f)
	if c.req.Trailers {
		h.Set("Te", "trailers")
	}
	if h.Get("User-Agent") == "" {
		h["User-Agent"] = nil // or net/http would make one up
	}
	r := &http.Request{
		Method: c.req.Method, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Header: h, Host: f.hostFor(), ContentLength: c.req.Length,
		URL: &url.URL{Path: unescape(f.pathFor()), RawPath: f.pathFor(), RawQuery: c.req.Query, ForceQuery: c.req.HasQuery && c.req.Query == ""},
	}
	switch {
	case c.body.done:
		r.Body = http.NoBody
	default:
		r.Body, r.Trailer = body, announced(h)
		body.trailers = r.Trailer
	}
	trace := &httptrace.ClientTrace{Got1xxResponse: func(code int, h textproto.MIMEHeader) error {
		if c.req.Minor > 0 && code != http.StatusSwitchingProtocols {
			b := appendStatus(nil, code, http.StatusText(code))
			early.take(append(appendHeader(b, http.Header(h)), "\r\n"...))
		}
		return nil
	}}
	return r.WithContext(httptrace.WithClientTrace(ctx, trace))
}

// announced lists the trailers that a header announces; their values come when
// the body has been read.
func announced(h http.Header) http.Header {
	t := http.Header{}
	for _, list := range h["Trailer"] {
		for name := range strings.SplitSeq(list, ",") {
			t[textproto.CanonicalMIMEHeaderKey(strings.TrimSpace(name))] = nil
		}
	}
	h.Del("Trailer") // net/http announces them itself
	return t
}

// passResponse writes an answer that net/http has read to the client.
func (c *conn) passResponse(res *http.Response) error {
	f := &c.flight
	f.status = res.StatusCode
	bodiless := c.req.Method == http.MethodHead || res.StatusCode == http.StatusNoContent || res.StatusCode == http.StatusNotModified
	framed := !bodiless && (res.ContentLength < 0 || len(res.Trailer) > 0) && c.req.Minor > 0
	if c.unframed = !bodiless && res.ContentLength < 0 && !framed; c.unframed || !c.read() {
		c.last = true // or the client could go on with a body that nobody waits for
	}
	for _, hop := range [...]string{"Connection", "Keep-Alive", "Proxy-Connection", "Transfer-Encoding", "Upgrade"} {
		res.Header.Del(hop)
	}
	if c.wantAnswer != nil {
		c.answered = HeadersOf(res.Header.Clone())
	}
	if framed {
		res.Header.Del("Content-Length")
		announce(res)
	}
	if f.manners().Rewrite {
		f.rewriteHeader(res.Header)
	}
	b := appendHeader(appendStatus(c.out[:0], res.StatusCode, http.StatusText(res.StatusCode)), res.Header)
	if framed {
		b = append(b, "Transfer-Encoding: chunked\r\n"...)
	}
	c.out = append(c.appendOurs(c.appendConnection(b)), "\r\n"...)
	c.begun = true
	if bodiless {
		c.wantAnswer.keep(nil, true)
		return c.writeClient(c.out)
	}
	return c.passResponseBody(res, framed)
}

func (c *conn) passResponseBody(res *http.Response, framed bool) error {
	piece := pool.Get().(*[bufferSize]byte)
	defer pool.Put(piece)
	a := body{open: true}
	for {
		if len(c.out) > 0 {
			if err := c.writeClient(c.out); err != nil {
				return err
			}
		}
		n, err := res.Body.Read(piece[:])
		c.look() // it may have taken a while
		c.out, _, _ = a.append(c.out[:0], piece[:n], framed, c.wantAnswer)
		c.flight.bytes = a.sent
		switch {
		case err == io.EOF:
			c.wantAnswer.keep(nil, true)
			if framed {
				c.out = appendLastChunk(c.out, fieldsOf(res.Trailer))
			}
			return c.writeClient(c.out)
		case err != nil:
			return err
		}
	}
}

// announce tells which trailers an answer will have.
func announce(res *http.Response) {
	for _, name := range slices.Sorted(maps.Keys(res.Trailer)) {
		res.Header.Add("Trailer", name)
	}
}

// appendHeader writes a header that net/http has read, by name.
func appendHeader(b []byte, h http.Header) []byte {
	for _, f := range fieldsOf(h) {
		b = appendField(b, f.Name, f.Value)
	}
	return b
}

func fieldsOf(h http.Header) []http1.Field {
	var all []http1.Field
	for _, name := range slices.Sorted(maps.Keys(h)) {
		for _, value := range h[name] {
			all = append(all, http1.Field{Name: name, Value: value})
		}
	}
	return all
}

// inlet is a request's body on its way from the ear to net/http.
type inlet struct {
	*io.PipeReader
	w        *io.PipeWriter
	trailers http.Header // those that were announced
}

func newInlet() *inlet {
	r, w := io.Pipe()
	return &inlet{PipeReader: r, w: w}
}

// Write implements [sink].
func (i *inlet) Write(b []byte) (int, error) { return i.w.Write(b) }

// SetWriteDeadline implements [sink]: one that is past ends the body.
func (i *inlet) SetWriteDeadline(at time.Time) error {
	if at.Equal(past) {
		i.w.CloseWithError(errGone)
	}
	return nil
}

// finish implements [finisher].
func (i *inlet) finish(trailers []http1.Field) {
	for _, f := range trailers {
		name := textproto.CanonicalMIMEHeaderKey(f.Name)
		if _, announced := i.trailers[name]; announced {
			i.trailers[name] = append(i.trailers[name], f.Value)
		}
	}
	i.w.Close()
}
