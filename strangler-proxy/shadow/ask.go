package shadow

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"time"

	"stranglerfig/contract-tests/compare"
	"stranglerfig/contract-tests/tape"
	"stranglerfig/strangler-proxy/http1"
	"stranglerfig/strangler-proxy/loop"
	"stranglerfig/strangler-proxy/proxy"
	"stranglerfig/strangler-proxy/trace"
	"stranglerfig/strangler-proxy/upstream"
)

// errTooLong is returned for an answer that is longer than what is compared.
var errTooLong = errors.New("the answer is too long to be compared")

// answer is what a side has said.
type answer struct {
	status int
	header *proxy.Headers
	body   []byte
}

// answerOf is what the client was told.
func answerOf(x *proxy.Exchange) answer { return answer{x.Status, x.Answer, x.AnswerBody} }

// message is the answer for whoever looks into it.
func (a answer) message() compare.Message {
	return compare.Message{Status: a.status, Header: a.header.Map(), Body: a.body}
}

// alike reports whether there is hardly a difference to be found between two
// answers.
func (a answer) alike(b answer) bool { return a.status == b.status && bytes.Equal(a.body, b.body) }

// same reports whether there is none that could be found: they are the same to the
// byte, but for their dates. Where it says no, they have to be compared, which is
// all that another order of the headers costs, or headers that came as a map.
func (a answer) same(b answer) bool {
	mine, listed := a.header.Lines()
	others, alsoListed := b.header.Lines()
	if !listed || !alsoListed || !a.alike(b) || len(mine) != len(others) {
		return false
	}
	for i, h := range mine {
		if h != others[i] && (h.Name != others[i].Name || !http1.SameName(h.Name, "Date")) {
			return false
		}
	}
	return true
}

// ask sends the exchange's request to a backend, with a span of its own, and
// says how long it took. A task is left on its loop where it can be.
func (s *Shadow) ask(t *loop.Task, b *upstream.Backend, x *proxy.Exchange, parent *trace.Span) (answer, time.Duration, error) {
	span := parent.Ask(x.Method)
	defer span.End()
	span.Text("strangler.backend", b.Name)
	got, took, err := s.send(t, b, x, span)
	if err != nil {
		span.Failed(err.Error())
	} else {
		span.Whole("http.response.status_code", int64(got.status))
	}
	return got, took, err
}

// hear asks a backend on the caller's own goroutine, to look into what it says.
func (s *Shadow) hear(b *upstream.Backend, x *proxy.Exchange, parent *trace.Span) (compare.Message, time.Duration, error) {
	got, took, err := s.ask(nil, b, x, parent)
	return got.message(), took, err
}

func (s *Shadow) send(t *loop.Task, b *upstream.Backend, x *proxy.Exchange, span *trace.Span) (answer, time.Duration, error) {
	bare := b.Raw() && !span.Recording()
	if !bare || b.Encrypted() {
		t.Leave()
	}
	if bare {
		return s.sendBare(t, b, x)
	}
	ctx, cancel := s.asking()
	defer cancel()
	target := b.URL.String() + x.Path
	if x.Query != "" {
		target += "?" + x.Query
	}
	req, err := http.NewRequestWithContext(ctx, x.Method, target, bytes.NewReader(x.Body))
	if err != nil {
		return answer{}, 0, err
	}
	for name, value := range x.Header.All() {
		if !ofExchange(name) {
			req.Header.Add(name, value)
		}
	}
	req.Header.Set("X-Strangler-Shadow", "1")
	span.Tell(req.Header)
	req.Host = x.Host
	begun := time.Now()
	res, err := b.Aside(req)
	if err != nil {
		return answer{}, 0, err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(io.LimitReader(res.Body, s.o.Body+1))
	if err != nil {
		return answer{}, 0, err
	}
	if int64(len(body)) > s.o.Body {
		return answer{}, 0, errTooLong
	}
	return answer{res.StatusCode, proxy.HeadersOf(res.Header), body}, time.Since(begun), nil
}

// reasonOf says why a side gave nothing to compare.
func reasonOf(err error) Reason {
	switch {
	case errors.Is(err, errTooLong):
		return TooLong
	case errors.Is(err, upstream.ErrBusy):
		return Busy
	case errors.Is(err, errNoBackend):
		return NoBackend
	case errors.Is(err, errDefect):
		return Defect
	case errors.Is(err, context.DeadlineExceeded):
		return TimedOut
	}
	return Unreachable
}

// hidden stands for a value that cannot be shown, because what it is in could
// not be looked into for secrets.
const hidden = "(not shown)"

// redacted returns the differences of a mismatch, and the request as an example,
// without secrets: both answers are redacted, and compared again. Equal secrets
// become equal pseudonyms, so that what differed still does.
func (s *Shadow) redacted(x *proxy.Exchange, d Direction, f finding) (found []compare.Difference, example string) {
	if f.verdict != Mismatch {
		return nil, ""
	}
	expected, actual := s.clean(x, f.expected), s.clean(x, f.actual)
	found = append(s.terms(x, f.expected.Status, d).differences(message(expected), message(actual)), f.left...)
	if len(found) == 0 {
		// A body that could not be looked into is left out of what is redacted.
		found = []compare.Difference{{Path: "$.body", Kind: f.differences[0].Kind, Expected: hidden, Actual: hidden}}
	}
	example = expected.Request.Method + " " + expected.Request.Path
	if expected.Request.Query != "" {
		example += "?" + expected.Request.Query
	}
	return found, example
}

// clean is an exchange with one side's answer, without its secrets.
func (s *Shadow) clean(x *proxy.Exchange, answer compare.Message) tape.Exchange {
	return s.o.Redact(tape.Exchange{
		Request:  tape.Request{Method: x.Method, Path: x.Path, Query: x.Query},
		Response: tape.Response{Status: answer.Status, Header: answer.Header, Body: answer.Body},
	})
}

func message(e tape.Exchange) compare.Message {
	return compare.Message{Status: e.Response.Status, Header: e.Response.Header, Body: e.Response.Body}
}
