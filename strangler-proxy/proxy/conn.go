package proxy

import (
	"errors"
	"net"
	"net/http"
	"os"
	"strconv"
	"time"

	"stranglerfig/strangler-proxy/http1"
	"stranglerfig/strangler-proxy/listener"
	"stranglerfig/strangler-proxy/route"
	"stranglerfig/strangler-proxy/upstream"
)

// conn serves HTTP/1.x on a client's connection. One goroutine runs it, or a task
// on a loop until it leaves; while
// a request is with its backend another one, the ear, may listen to the client.
type conn struct {
	proxy  *Proxy
	client *listener.Conn
	tcp    *net.TCPConn // the client's; nil under TLS, and on a loop
	from   origin

	in   buffer // from the client
	back buffer // from the backend
	out  []byte // being put together for either of them

	req    http1.Request
	res    http1.Response
	flight flight
	body   body           // the request's
	sent   bool           // it has been sent on to its end
	up     *upstream.Conn // the backend's connection, while one is held
	stale  bool           // it had been idle, and has not answered yet: it may have ended just before
	ear    *ear           // nil: nobody listens
	last   bool           // the connection ends after this answer
	begun  bool           // an answer's head has been written

	unframed bool // the client cannot tell by itself where the answer ends

	observers            []Observer // who wants to see this exchange
	wantBody, wantAnswer *capture   // what they want; nil: nothing
	header, answered     *Headers

	at      time.Time      // when the clock was last looked at
	writeBy time.Time      // deadline of what is written to the client
	told    [6]http1.Field // room for what backends are told about the client
}

// ServeHTTP1 serves requests on a connection until it ends.
func (p *Proxy) ServeHTTP1(client *listener.Conn) {
	c := &conn{proxy: p, client: client, from: p.origin(client.RemoteAddr().String(), client.Secure)}
	c.tcp, _ = client.Conn.(*net.TCPConn)
	defer c.in.release()
	defer c.back.release()
	defer func() {
		// One request's misfortune must not be everybody's.
		if reason := recover(); reason != nil {
			p.mishap(reason)
			c.part()
		}
	}()
	for c.await() && c.serve() {
	}
}

// await returns when a request has begun; false when there will be none. While
// nothing comes no buffer is held: most connections are idle most of the time.
func (c *conn) await() bool {
	if len(c.in.unread()) > 0 {
		return true
	}
	c.in.release()
	n, err := c.client.Await(&c.in)
	c.in.w += n
	return err == nil
}

// write writes to the client, which has a time to take it.
func (c *conn) write(b []byte) error {
	c.mayWrite()
	_, err := c.client.Write(b)
	return err
}

// leave has the connection served by an ordinary goroutine from here on, if it is
// on a loop: whatever waits for something else than what either end sends, or for
// both ends at once, would keep others waiting there. Where it cannot, both ends
// are closed, and an error is what whoever reads or writes gets as well.
func (c *conn) leave() error {
	if c.client.Task() == nil {
		return nil
	}
	var lost error
	if c.up != nil {
		lost = c.up.Leave()
	}
	if err := errors.Join(lost, c.client.Leave()); err != nil {
		if c.up != nil {
			c.up.Close()
		}
		c.client.Close()
		return err
	}
	c.tcp, _ = c.client.Conn.(*net.TCPConn)
	return nil
}

// look looks at the clock. Doing so costs something, so what happens within
// moments happens at the same time.
func (c *conn) look() time.Time {
	c.at = time.Now()
	return c.at
}

func (c *conn) mayWrite() {
	limit := c.proxy.o.Limits.BodyTimeout
	by := c.at.Add(limit)
	if by.Sub(c.writeBy) > limit/8 {
		c.client.SetWriteDeadline(by)
		c.writeBy = by
	}
}

// serve reads one request and answers it; false ends the connection.
func (c *conn) serve() bool {
	head, err := c.readHead()
	if err != nil {
		return c.reject(err)
	}
	if err := c.req.Parse(head, c.proxy.o.Limits.parser()); err != nil {
		return c.reject(err)
	}
	c.begin()
	defer c.end()
	p, f := c.proxy, &c.flight
	status, err := p.admit(waiting{c}, f)
	gone := c.left()
	if c.ear != nil {
		c.hush() // whoever waited has listened
		c.look()
	}
	switch {
	case gone != nil:
		f.err = gone
		return false
	case err != nil:
		return c.refuse(status, err.Error())
	}
	c.capture()
	if f.target.Raw() && (f.other == nil || f.other.Raw()) {
		c.relay()
	} else {
		c.cross()
	}
	c.show()
	return !c.last
}

// begin readies the connection for a request that was parsed.
func (c *conn) begin() {
	if len(c.in.unread()) == 0 {
		c.in.release()
	}
	r := &c.req
	c.flight = flight{obeyed: c.proxy.obeyed.Load(), begun: c.look(), asked: asked{
		method: r.Method, host: r.Host, target: r.Path, query: r.Query, length: r.Length, upgrade: r.Upgrade != "", fields: c,
	}, from: c.from, told: c.told[:0]}
	c.body = body{chunked: r.Length < 0, left: max(r.Length, 0), done: r.Length == 0, limit: c.proxy.o.Limits.Body}
	c.last, c.begun, c.unframed, c.sent = r.Close, false, false, false
	c.observers, c.wantBody, c.wantAnswer, c.header, c.answered = nil, nil, nil, nil, nil
	c.out = pool.Get().(*[bufferSize]byte)[:0]
}

// end lets go of what the request held.
func (c *conn) end() {
	c.hush()
	c.proxy.land(&c.flight)
	c.back.release()
	if cap(c.out) == bufferSize {
		pool.Put((*[bufferSize]byte)(c.out[:bufferSize]))
	}
	c.out = nil
	if cap(c.req.Fields) > keptFields {
		c.req.Fields = nil
	}
	if cap(c.res.Fields) > keptFields {
		c.res.Fields = nil
	}
}

// keptFields is how many fields a connection keeps room for between requests.
const keptFields = 32

// capture readies what observers want of the exchange.
func (c *conn) capture() {
	if c.observers = c.proxy.wanting(&c.flight); c.observers == nil {
		return
	}
	c.wantBody, c.wantAnswer = c.proxy.newCapture(), c.proxy.newCapture()
	if c.body.done {
		c.wantBody.end()
	}
	c.header = c.toldHeaders()
}

// toldHeaders lists the request's, as its owner is told them.
func (c *conn) toldHeaders() *Headers {
	lines := make([]http1.Field, 0, len(c.req.Fields)+len(c.flight.told))
	for i := range c.req.Fields {
		if value, told := c.tells(i); told {
			lines = append(lines, http1.Field{Name: c.req.Fields[i].Name, Value: value})
		}
	}
	return &Headers{lines: append(lines, c.flight.told...)}
}

// tells returns with which value the owner is told a field of the request; false: it
// is not.
func (c *conn) tells(i int) (value string, told bool) {
	field, f := &c.req.Fields[i], &c.flight
	switch {
	case c.req.Hop(i), c.proxy.o.Forwarding.replaces(field.Name, f.from):
		return "", false
	case f.inCookie && http1.SameName(field.Name, "Cookie"):
		value = withoutToken(field.Value)
		return value, value != ""
	}
	return field.Value, true
}

// show lets observers see the exchange.
func (c *conn) show() {
	if c.observers != nil && c.answered != nil {
		c.proxy.observe(c.observers, &c.flight, c.proxy.exchangeOf(&c.flight, c.header, c.answered, c.wantBody, c.wantAnswer), c.client.Task())
	}
}

// Header implements [fields].
func (c *conn) Header(name string) string { return c.req.Get(name) }

// Cookie implements [fields].
func (c *conn) Cookie(name string) string {
	for i := range c.req.Fields {
		if f := &c.req.Fields[i]; len(f.Name) == len("Cookie") && http1.SameName(f.Name, "Cookie") {
			if value, ok := cookieIn(f.Value, name); ok {
				return value
			}
		}
	}
	return ""
}

// All implements [fields].
func (c *conn) All() route.Header { return c }

// Fields implements [route.Header].
func (c *conn) Fields() int { return len(c.req.Fields) }

// Field implements [route.Header].
func (c *conn) Field(i int) (name, value string) {
	if c.req.Hop(i) {
		return "", ""
	}
	return c.req.Fields[i].Name, c.req.Fields[i].Value
}

// readHead reads a request's head.
func (c *conn) readHead() (string, error) {
	limit := c.proxy.o.Limits.Head
	timed := false
	for seen := 0; ; {
		have := c.in.unread()
		if n := http1.HeadEnd(have, seen); n > 0 && n <= limit {
			c.in.use(n)
			return string(have[:n]), nil
		}
		if seen = len(have); seen >= limit {
			return "", errHeadTooLong
		}
		if len(c.in.room()) == 0 {
			c.in.grow()
		}
		if !timed {
			timed = true
			c.client.SetReadDeadline(time.Now().Add(c.proxy.o.Limits.HeadTimeout))
		}
		if _, err := c.in.fill(c.client); err != nil {
			return "", err
		}
	}
}

var (
	errHeadTooLong = &http1.Refusal{Status: http.StatusRequestHeaderFieldsTooLarge, Reason: "head-too-long", Text: "the request's head is too long"}
	errHeadTooSlow = &http1.Refusal{Status: http.StatusRequestTimeout, Reason: "head-too-slow", Text: "the request's head took too long"}
)

// reject answers what is no request, and ends the connection.
func (c *conn) reject(err error) bool {
	var refusal *http1.Refusal
	if errors.Is(err, os.ErrDeadlineExceeded) {
		err = errHeadTooSlow
	}
	if !errors.As(err, &refusal) {
		return false // the client went away in the middle of it
	}
	c.flight = flight{}
	c.req.Method = ""
	c.last = true
	c.proxy.Refused(refusal.Reason)
	c.answer(refusal.Status, refusal.Text)
	c.client.Linger()
	return false
}

// refuse answers in the proxy's own words; false ends the connection.
func (c *conn) refuse(status int, text string) bool {
	c.hush()
	if !c.body.done {
		c.last = true
	}
	c.flight.status = status
	c.answer(status, text)
	if !c.body.done {
		c.client.Linger()
	}
	return !c.last
}

// answer writes an answer of the proxy's own.
func (c *conn) answer(status int, text string) {
	c.look()
	text = "strangler: " + text + "\n"
	b := append(c.out[:0], "HTTP/1.1 "...)
	b = strconv.AppendInt(b, int64(status), 10)
	b = append(append(b, ' '), http.StatusText(status)...)
	b = append(b, "\r\nContent-Type: text/plain; charset=utf-8\r\nX-Content-Type-Options: nosniff\r\n"...)
	if status == http.StatusServiceUnavailable || status == http.StatusBadGateway {
		b = append(b, "Retry-After: 1\r\n"...)
	}
	b = c.appendConnection(b)
	b = append(b, "Content-Length: "...)
	b = strconv.AppendInt(b, int64(len(text)), 10)
	b = append(b, "\r\n\r\n"...)
	if c.req.Method != http.MethodHead {
		b = append(b, text...)
	}
	c.out = b
	if err := c.write(b); err != nil {
		c.last = true
	}
}

// appendConnection tells the client whether the connection goes on, where it
// could think otherwise.
func (c *conn) appendConnection(b []byte) []byte {
	c.last = c.last || c.client.Draining()
	switch {
	case c.last:
		return append(b, "Connection: close\r\n"...)
	case c.req.Minor == 0:
		return append(b, "Connection: keep-alive\r\n"...)
	}
	return b
}
