package proxy

import (
	"io"
	"slices"
	"sync"
	"time"

	"stranglerfig/strangler-proxy/loop"
	"stranglerfig/strangler-proxy/route"
	"stranglerfig/strangler-proxy/trace"
)

// Observer sees exchanges after they were answered.
type Observer interface {
	// Wants reports whether the exchange that begins is to be captured.
	Wants(r *route.Route, d route.Decision) bool
	// Observe takes a captured exchange. It must not block. Where the exchange was
	// served on a loop, on is the task that has; others may be started there.
	Observe(x *Exchange, on *loop.Task)
}

// Exchange is a captured request with its answer.
type Exchange struct {
	Route      *route.Route // nil where none is declared
	Client     uint64       // hash of what the client is recognised by, the same after a restart
	Decision   route.Decision
	Method     string
	Path       string // canonical
	Query      string
	Host       string
	Header     *Headers // of the request, as its owner is told it
	Body       []byte   // of the request
	Status     int
	Answer     *Headers
	AnswerBody []byte
	Truncated  bool // a body was longer than Options.Capture, or not wanted to its end
	At         time.Time
	Took       time.Duration
	Span       *trace.Span // of the request; nil where there is none
}

// CaptureLimit bounds each captured body, in bytes, where the options do not.
const CaptureLimit = 256 << 10

// wanting lists who wants to see a flight's exchange.
func (p *Proxy) wanting(f *flight) (who []Observer) {
	for _, o := range p.o.Observers {
		if o.Wants(f.route, f.decision) {
			who = append(who, o)
		}
	}
	return who
}

// exchangeOf makes of a flight what observers see.
func (p *Proxy) exchangeOf(f *flight, header, answer *Headers, body, answered *capture) *Exchange {
	x := &Exchange{
		Route: f.route, Decision: f.decision, Method: f.asked.method, Path: f.path, Query: f.asked.query, Host: f.asked.host,
		Header: header, Status: f.status, Answer: answer, At: f.begun, Took: time.Since(f.begun), Span: f.span,
	}
	var sentWhole, answeredWhole bool
	x.Body, sentWhole = body.taken()
	x.AnswerBody, answeredWhole = answered.taken()
	x.Truncated = !sentWhole || !answeredWhole
	if f.capability != nil {
		who := p.identify(&f.asked, f.capability.CanaryBy)
		x.Client = who.lasting
	}
	return x
}

// observe shows an exchange, unless it says nothing about the side that was to
// answer.
func (p *Proxy) observe(who []Observer, f *flight, x *Exchange, on *loop.Task) {
	if f.fellBack != "" || f.err != nil || f.status == 0 {
		return
	}
	for _, o := range who {
		o.Observe(x, on)
	}
}

// capture keeps the beginning of a body. A request's body may still be read
// when its answer has ended.
type capture struct {
	limit int // of bytes
	mu    sync.Mutex
	bytes []byte
	over  bool // there was more
	ended bool // all of it was seen
}

func (p *Proxy) newCapture() *capture { return &capture{limit: p.o.Capture} }

// taken returns what was kept so far, and whether that is the whole body.
func (c *capture) taken() (bytes []byte, whole bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clip(c.bytes), c.ended && !c.over
}

// keep adds to what is kept, if anything is.
func (c *capture) keep(b []byte, end bool) {
	if c == nil {
		return
	}
	c.add(b)
	if end {
		c.end()
	}
}

// end notes that the body was seen to its end.
func (c *capture) end() {
	c.mu.Lock()
	c.ended = true
	c.mu.Unlock()
}

func (c *capture) add(b []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	room := c.limit - len(c.bytes)
	if len(b) > room {
		c.over = true
		b = b[:room]
	}
	if need := len(c.bytes) + len(b); need > cap(c.bytes) {
		// Never more than the limit, which append would not mind.
		grown := make([]byte, len(c.bytes), min(c.limit, max(need, 2*cap(c.bytes))))
		copy(grown, c.bytes)
		c.bytes = grown
	}
	c.bytes = append(c.bytes, b...)
}

// teeBody captures a request body as it is read.
type teeBody struct {
	io.ReadCloser
	to *capture
}

func (t *teeBody) Read(b []byte) (int, error) {
	n, err := t.ReadCloser.Read(b)
	t.to.add(b[:n])
	if err == io.EOF {
		t.to.end()
	}
	return n, err
}
