package proxy

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/httputil"
	"strings"
	"time"

	"stranglerfig/strangler-proxy/http1"
	"stranglerfig/strangler-proxy/route"
)

// flightKey finds a request's flight in its context.
type flightKey struct{}

func flightOf(r *http.Request) *flight { return r.Context().Value(flightKey{}).(*flight) }

// httpFields are the header of a request that net/http has read.
type httpFields struct{ *http.Request }

// Header implements [fields].
func (h httpFields) Header(name string) string { return h.Request.Header.Get(name) }

// Cookie implements [fields].
func (h httpFields) Cookie(name string) string {
	if c, err := h.Request.Cookie(name); err == nil {
		return c.Value
	}
	return ""
}

// All implements [fields].
func (h httpFields) All() route.Header { return &fieldList{header: h.Request.Header} }

// fieldList is a header that net/http has read, field by field. It is made when
// somebody asks.
type fieldList struct {
	header http.Header
	all    []http1.Field
}

// Fields implements [route.Header].
func (l *fieldList) Fields() int {
	if l.all == nil {
		for name, values := range l.header {
			for _, value := range values {
				l.all = append(l.all, http1.Field{Name: name, Value: value})
			}
		}
	}
	return len(l.all)
}

// Field implements [route.Header].
func (l *fieldList) Field(i int) (name, value string) { return l.all[i].Name, l.all[i].Value }

// inquire reads from a request what decisions need.
func inquire(r *http.Request) asked {
	return asked{
		method: r.Method, host: r.Host, target: rawPath(r), query: r.URL.RawQuery, length: r.ContentLength,
		upgrade: r.Header.Get("Upgrade") != "", fields: httpFields{r},
	}
}

// rawPath returns the path as it was sent.
func rawPath(r *http.Request) string {
	if strings.HasPrefix(r.RequestURI, "/") || r.RequestURI == everything {
		path, _, _ := strings.Cut(r.RequestURI, "?")
		return path
	}
	return r.URL.EscapedPath()
}

func withoutPort(addr string) string {
	if host, _, err := net.SplitHostPort(addr); err == nil {
		return host
	}
	return addr
}

var (
	errStarting = errors.New("the proxy is starting")
	errOverload = errors.New("too many requests are under way; try again in a moment")
)

// ServeHTTP decides, holds, forwards: for requests that net/http has read.
func (p *Proxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	defer p.survive()
	var refusal *http1.Refusal
	if errors.As(http1.Vet(r.Method, r.RequestURI, r.Host, r.Header, p.o.Limits.parser()), &refusal) {
		p.Refused(refusal.Reason) // no backend may be blamed for what it cannot be told
		refuse(w, refusal.Status, refusal.Text)
		return
	}
	f := &flight{asked: inquire(r), from: p.origin(r.RemoteAddr, r.TLS != nil), obeyed: p.obeyed.Load(), begun: time.Now()}
	still := &standstill{limit: p.o.Limits.BodyTimeout, on: http.NewResponseController(w)}
	if http1.HasPrefix(r.Header.Get("Content-Type"), "application/grpc") {
		still.limit = never // its messages come when they come
	}
	defer still.over()
	out := &answer{ResponseWriter: w, flight: f, still: still}
	// What the backend does not say, net/http would make up.
	w.Header()["Content-Type"], w.Header()["Date"] = nil, nil
	defer p.land(f)
	if status, err := p.admit(r.Context(), f); err != nil {
		refuse(out, status, err.Error())
		return
	}
	if f.cookie != "" {
		w.Header().Add("Set-Cookie", f.cookie)
	}
	if limit := p.o.Limits.Body; limit > 0 {
		r.Body = http.MaxBytesReader(w, r.Body, limit)
	}
	if r.Body != nil && r.Body != http.NoBody {
		r.Body = &timedBody{ReadCloser: r.Body, still: still}
	}
	p.forward(out, r, f)
}

// survive has net/http end a request that a defect of ours has met, without a
// word: the words are ours.
func (p *Proxy) survive() {
	reason := recover()
	if reason == nil {
		return
	}
	if reason != http.ErrAbortHandler {
		p.mishap(reason)
	}
	panic(http.ErrAbortHandler)
}

// admit finds the route and decides, or says with what status the proxy itself
// answers.
func (p *Proxy) admit(ctx context.Context, f *flight) (status int, err error) {
	f.counted = true
	if p.underWay.Add(1) > p.o.Limits.Requests {
		p.Refused("overload")
		return http.StatusServiceUnavailable, errOverload
	}
	if f.obeyed == nil {
		return http.StatusServiceUnavailable, errStarting
	}
	if limit := p.o.Limits.Body; limit > 0 && f.asked.length > limit {
		p.Refused("body")
		return http.StatusRequestEntityTooLarge, tooLong(limit)
	}
	f.asked.client = p.o.Forwarding.client(f.from, f.asked.fields)
	f.told = p.o.Forwarding.tell(f.told, &f.asked, f.from)
	if p.o.Tracer != nil {
		p.trace(f)
	}
	if err := f.find(); err != nil {
		p.Refused(reasonOf(err))
		return http.StatusBadRequest, err
	}
	if err := p.decide(ctx, f); err != nil {
		f.err = err
		p.Refused("paused")
		return http.StatusServiceUnavailable, err
	}
	f.decided = true
	return 0, nil
}

// forward sends the request on and captures it where an observer wants that.
func (p *Proxy) forward(w *answer, r *http.Request, f *flight) {
	in := r.WithContext(context.WithValue(r.Context(), flightKey{}, f))
	wanting := p.wanting(f)
	if len(wanting) == 0 {
		p.reverse.ServeHTTP(w, in)
		return
	}
	body := &teeBody{ReadCloser: r.Body, to: p.newCapture()}
	w.capture = p.newCapture()
	if r.Body == nil || r.Body == http.NoBody {
		body.to.end()
	} else {
		in.Body = body
	}
	header := r.Header.Clone()
	p.o.Forwarding.set(header, f)
	p.reverse.ServeHTTP(w, in) // panics where the answer is broken off
	w.capture.end()
	p.observe(wanting, f, p.exchangeOf(f, HeadersOf(header), HeadersOf(w.Header().Clone()), body.to, w.capture), nil)
}

// reverseProxy makes what forwards over net/http.
func (p *Proxy) reverseProxy() *httputil.ReverseProxy {
	return &httputil.ReverseProxy{
		Rewrite: p.rewrite, Transport: forwarder{p}, FlushInterval: -1, BufferPool: buffers{},
		ErrorHandler: p.fail, ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelError),
		ModifyResponse: p.arrived,
	}
}

// rewrite addresses the outgoing request: the canonical path that was routed,
// everything else as it came.
func (p *Proxy) rewrite(pr *httputil.ProxyRequest) {
	f := flightOf(pr.In)
	pr.Out.URL.RawPath = f.pathFor()
	pr.Out.URL.Path = unescape(f.pathFor())
	pr.Out.URL.RawQuery, pr.Out.URL.ForceQuery = pr.In.URL.RawQuery, pr.In.URL.ForceQuery
	pr.Out.URL.Fragment = ""
	pr.Out.Host = f.hostFor()
	pr.Out.Trailer = pr.In.Trailer // filled in when the body has been read
	for name, values := range pr.In.Header {
		switch {
		case name == "Te", name == "Connection", name == "Upgrade": // httputil has seen to them
		case http1.PerHop(name):
			pr.Out.Header.Del(name)
		case name == "Forwarded", strings.HasPrefix(name, "X-Forwarded-"):
			pr.Out.Header[name] = values // which httputil has taken away
		}
	}
	p.o.Forwarding.set(pr.Out.Header, f)
	if upgrade := pr.Out.Header.Get("Upgrade"); upgrade != "" && !strings.EqualFold(upgrade, "websocket") {
		// Tunnels of other kinds would bypass every route (h2c, for one).
		pr.Out.Header.Del("Upgrade")
		pr.Out.Header.Del("Connection")
	}
}

// arrived sees an answer before the client does: what it has written is noted
// before it can hear of it and ask. It tells the client where the
// monolith answered in the service's place.
func (p *Proxy) arrived(res *http.Response) error {
	f := flightOf(res.Request)
	p.wrote(f)
	if said := f.sayOverride(); said != "" {
		res.Header.Set(OverrideField, said)
	}
	if f.fellBack != "" {
		res.Header.Set("X-Strangler-Fallback", "monolith")
	}
	if f.manners().Rewrite {
		f.rewriteHeader(res.Header)
	}
	return nil
}

// fail answers a request that could not be forwarded.
func (p *Proxy) fail(w http.ResponseWriter, r *http.Request, err error) {
	f := flightOf(r)
	f.err = err
	if r.Context().Err() != nil {
		return // nobody is left to be answered
	}
	status, text := p.failed(f, err)
	refuse(w, status, text)
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
