package proxy

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"time"

	"stranglerfig/strangler-proxy/http1"
	"stranglerfig/strangler-proxy/socket"
	"stranglerfig/strangler-proxy/upstream"
)

// watchAfter is how long an answer may take before the client is listened to,
// to notice that it goes away. Most answers come sooner, and listening costs a
// goroutine.
const watchAfter = 100 * time.Millisecond

// relay forwards a request to a backend that speaks HTTP/1.1, and its answer to
// the client.
func (c *conn) relay() {
	f := &c.flight
	for again := false; ; {
		err := c.exchange(again)
		if err == nil {
			return
		}
		c.look()
		if gone := c.left(); gone != nil {
			err = gone
		}
		c.part()
		switch {
		case c.begun:
			f.err = err
			c.last = true
			c.abort()
			return
		case errors.Is(err, errGone):
			f.err = err
			c.last = true
			return
		case !again && (f.other == nil || c.stale) && mayRepeat(f.target, c.req.Method, c.req.Length != 0, err):
			again = true
			continue
		case f.other != nil:
			c.fallBack(err)
			again = false
			continue
		}
		f.err = err
		c.fail(err)
		return
	}
}

// fallBack turns the flight to the monolith, which is asked in the service's
// place.
func (c *conn) fallBack(err error) {
	f := &c.flight
	f.fellBack = err.Error()
	f.target.FellBack()
	c.proxy.o.Metrics.fallbacks.WithLabelValues(f.route.ID).Inc()
	f.target, f.other = f.other, nil
}

// fail answers a request that its target did not answer.
func (c *conn) fail(err error) {
	var refusal *http1.Refusal
	switch {
	case errors.As(err, &refusal):
		c.proxy.Refused(refusal.Reason)
		c.last = true
		c.refuse(refusal.Status, refusal.Text)
	case errors.Is(err, errTooLong):
		c.proxy.Refused("body")
		c.refuse(http.StatusRequestEntityTooLarge, err.Error())
	case errors.Is(err, errSlowBody):
		c.proxy.Refused("body-too-slow")
		c.refuse(http.StatusRequestTimeout, err.Error())
	default:
		status, text := c.proxy.failed(&c.flight, err)
		c.refuse(status, text)
	}
}

// excused is the error of an answer that says somebody else should be asked.
type excused struct{ status int }

func (e excused) Error() string { return fmt.Sprintf("the service answered %d", e.status) }

// exchange sends the request and relays its answer. again demands a new
// connection, because an idle one has just failed.
func (c *conn) exchange(again bool) (err error) {
	f := &c.flight
	c.stale = false
	begin := f.target.Begin
	if again {
		begin = f.target.BeginAgain
	}
	attempt, err := begin(c.at)
	if err != nil {
		return err
	}
	outcome := upstream.Failed
	defer func() {
		if err != nil {
			c.look()
		}
		switch {
		case err != nil && (c.left() != nil || isClientFault(err)):
			outcome = upstream.Undecided
		case errors.Is(err, upstream.ErrSlow):
			outcome = upstream.Slow
		}
		attempt.End(outcome, c.at)
	}()
	if f.target.Encrypted() {
		if err := c.leave(); err != nil {
			return &clientFault{errGone}
		}
	}
	c.up, err = attempt.Conn(context.Background(), upstream.Want{Task: c.client.Task(), Fresh: again, Sure: !repeatable(c.req.Method, c.req.Length != 0)}, c.at)
	if err != nil {
		outcome = upstream.Unconnected(err)
		return err
	}
	if c.up.On() == nil {
		if err := c.leave(); err != nil {
			return &clientFault{errGone}
		}
	}
	c.stale = c.up.Used()
	if c.up.Waited() {
		c.look()
	}
	limit := f.target.Timeouts().Answer
	if f.other != nil {
		limit = f.obeyed.FallbackAfter
	}
	if err = c.send(limit); err == nil {
		err = c.readAnswer(limit)
	}
	if err != nil {
		return err
	}
	c.stale = false
	if f.other != nil && excuses(c.res.Status) {
		outcome = upstream.Well
		return excused{c.res.Status}
	}
	attempt.Begun(c.at)
	c.proxy.wrote(f)
	f.status = c.res.Status
	if c.res.Status == http.StatusSwitchingProtocols {
		outcome = upstream.Well
		return c.tunnel()
	}
	if err := c.passOn(); err != nil {
		return err
	}
	outcome = upstream.Well
	c.settle()
	return nil
}

// part closes the connection to the backend, whatever it was in the middle of.
func (c *conn) part() {
	if c.up != nil {
		c.up.Close()
	}
	c.hush()
	c.up = nil
	c.back.release()
}

// abort ends the client's connection in the middle of an answer. A client that
// knows how long the answer is sees that it is not whole; one that takes the
// connection's end for the answer's gets a reset instead.
func (c *conn) abort() {
	if c.unframed {
		c.client.Reset()
	}
	c.client.Close()
}

// send writes the request, with what is at hand of its body. If that is all of
// it, the beginning of the answer is awaited as well; otherwise the ear sends on
// the rest.
func (c *conn) send(limit time.Duration) error {
	c.out = c.appendRequest(c.out[:0])
	if !c.body.done {
		var used int
		var err error
		if c.out, used, err = c.body.append(c.out, c.in.unread(), true, c.wantBody); err != nil {
			return &clientFault{err}
		}
		c.in.use(used)
	}
	c.up.MayTake(c.at, c.proxy.o.Limits.BodyTimeout)
	if c.sent = c.body.done; c.sent {
		return c.readBack(limit, c.out)
	}
	if _, err := c.up.Write(c.out); err != nil {
		return err
	}
	up := c.up
	c.listen(up, true, func() { up.Close() })
	return nil
}

// readAnswer reads the head of the final answer, passing on interim ones.
func (c *conn) readAnswer(limit time.Duration) error {
	for {
		head, err := c.readAnswerHead(limit)
		if err != nil {
			return err
		}
		if err := c.res.Parse(head, c.req.Method, answerHeads); err != nil {
			return err
		}
		if c.res.Status >= 200 || c.res.Status == http.StatusSwitchingProtocols {
			return nil
		}
		if c.req.Minor > 0 {
			if err := c.write(c.appendInterim(c.out[:0])); err != nil {
				return &clientFault{errGone}
			}
		}
	}
}

// answerHeads bounds the head of an answer: more than what a client may send,
// since the backend is ours.
var answerHeads = http1.Limits{Head: 256 << 10, Fields: 1024}

func (c *conn) readAnswerHead(granted time.Duration) (string, error) {
	limit := granted
	for seen := 0; ; {
		have := c.back.unread()
		if n := http1.HeadEnd(have, seen); n > 0 {
			c.back.use(n)
			return string(have[:n]), nil
		}
		if seen = len(have); seen >= answerHeads.Head {
			return "", errors.New("the head of the answer is too long")
		}
		if len(c.back.room()) == 0 {
			c.back.grow()
		}
		if err := c.readBack(limit, nil); err != nil {
			if limit = c.timeLeft(granted); limit <= 0 || !errors.Is(err, upstream.ErrSlow) {
				return "", err
			}
		}
	}
}

// readBack reads from the backend, which has a time to send something (0: any),
// and begins to listen to the client when that takes a while. First it is sent
// a question, if there is one.
func (c *conn) readBack(limit time.Duration, question []byte) error {
	if c.ear == nil {
		soon := watchAfter
		if question == nil {
			c.look() // what came before may have taken a while to be passed on
		}
		if limit > 0 && limit < 2*soon {
			soon = limit
			c.up.SetReadDeadline(c.at.Add(soon))
		} else {
			c.up.MaySend(c.at, soon)
		}
		err := c.fillBack(question)
		c.look()
		if err == nil {
			return nil
		}
		if notAsked(err) || !errors.Is(err, os.ErrDeadlineExceeded) || soon == limit {
			return answerError(err)
		}
		question = nil
		up := c.up
		c.listen(nil, false, func() { up.Close() })
		if limit > 0 {
			limit -= soon
		}
	}
	var by time.Time
	if limit > 0 {
		by = time.Now().Add(limit)
	}
	c.up.SetReadDeadline(by)
	err := c.fillBack(question)
	c.look()
	return answerError(err)
}

// notAsked reports whether a question was not sent whole.
func notAsked(err error) bool {
	var not *socket.NotAskedError
	return errors.As(err, &not)
}

// fillBack asks a question, if there is one, and reads once.
func (c *conn) fillBack(question []byte) error {
	if question == nil {
		_, err := c.back.fill(c.up)
		return err
	}
	n, err := c.up.Ask(question, &c.back)
	c.back.w += n
	if n > 0 {
		return nil // an error comes again
	}
	return err
}

// answerError says what an error of reading an answer means.
func answerError(err error) error {
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		return upstream.ErrSlow
	case err == io.EOF:
		return io.ErrUnexpectedEOF
	}
	return err
}

// settle ends an exchange whose answer has been passed on: connections in the
// middle of something are not used again.
func (c *conn) settle() {
	c.hush()
	switch {
	case !c.body.done:
		c.last = true
		c.up.Close()
		c.client.Linger()
	case !c.sent, c.res.Close, len(c.back.unread()) > 0:
		c.up.Close()
	default:
		c.up.Keep(c.at)
	}
	c.up = nil
}

// appendRequest puts the request's head together as the target gets it: the
// canonical path that was routed, everything else as it came.
func (c *conn) appendRequest(b []byte) []byte {
	r, f := &c.req, &c.flight
	b = append(append(b, r.Method...), ' ')
	b = append(b, f.pathFor()...)
	if r.HasQuery {
		b = append(append(b, '?'), r.Query...)
	}
	b = append(b, " HTTP/1.1\r\n"...)
	host := f.hostFor()
	if host != r.Get("Host") || host == "" {
		b = appendField(b, "Host", host)
	}
	for i := range r.Fields {
		name := r.Fields[i].Name
		value, told := c.tells(i)
		switch {
		case !told:
		case http1.SameName(name, "Host") && value != host:
		case r.Framing(i) && c.body.chunked:
			// Some compare letter by letter.
			b = append(b, "Transfer-Encoding: chunked\r\n"...)
		default:
			b = appendField(b, name, value)
		}
	}
	for _, field := range f.told {
		b = appendField(b, field.Name, field.Value)
	}
	switch {
	case http1.SameName(r.Upgrade, "websocket"):
		b = append(b, "Connection: Upgrade\r\nUpgrade: websocket\r\n"...)
	case r.Trailers:
		b = append(b, "Connection: TE\r\nTE: trailers\r\n"...)
	}
	return append(b, "\r\n"...)
}

// appendInterim puts an interim answer together.
func (c *conn) appendInterim(b []byte) []byte {
	b = c.appendStatus(b)
	for i := range c.res.Fields {
		if !c.res.Hop(i) {
			b = appendField(b, c.res.Fields[i].Name, c.res.Fields[i].Value)
		}
	}
	c.out = append(b, "\r\n"...)
	return c.out
}

func (c *conn) appendStatus(b []byte) []byte { return appendStatus(b, c.res.Status, c.res.Reason) }

func appendStatus(b []byte, status int, reason string) []byte {
	b = append(b, "HTTP/1.1 "...)
	b = strconv.AppendInt(b, int64(status), 10)
	b = append(append(b, ' '), reason...)
	return append(b, "\r\n"...)
}
