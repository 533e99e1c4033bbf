package proxy

import (
	"slices"
	"strings"

	"stranglerfig/strangler-proxy/http1"
	"stranglerfig/strangler-proxy/trace"
)

// trace begins the flight's span and tells the backend of it.
func (p *Proxy) trace(f *flight) {
	f.span = p.o.Tracer.Request(f.asked.fields.All(), f.begun)
	parent, state := f.span.Context()
	f.told = append(f.told, http1.Field{Name: trace.ParentField, Value: parent})
	if state != "" {
		f.told = append(f.told, http1.Field{Name: trace.StateField, Value: state})
	}
}

// methods are those that a span may be named by: a client can make up others
// without end.
var methods = []string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"}

// conclude ends the flight's span. What is HTTP's is named by OpenTelemetry's
// conventions.
func (p *Proxy) conclude(f *flight, status int) {
	s := f.span
	defer s.End()
	if !s.Recording() {
		return
	}
	method := f.asked.method
	if !slices.Contains(methods, method) {
		s.Text("http.request.method_original", method)
		method = "_OTHER"
	}
	s.Text("http.request.method", method)
	if method == "_OTHER" {
		method = "HTTP"
	}
	s.Name(method)
	s.Text("url.path", f.path)
	s.Text("url.scheme", f.from.scheme())
	s.Text("server.address", f.asked.host)
	s.Text("client.address", f.asked.client)
	s.Whole("http.response.status_code", int64(status))
	s.Text("strangler.owner", string(f.decision.Side))
	s.Text("strangler.reason", f.decision.Reason)
	s.Whole("strangler.epoch", int64(f.decision.Epoch))
	if f.route != nil {
		s.Name(method + " " + pattern(f.route.ID))
		s.Text("http.route", pattern(f.route.ID))
		s.Text("strangler.route", f.route.ID)
		s.Text("strangler.capability", f.route.Capability)
		s.Text("strangler.word", f.route.Owner.String())
	}
	if f.held > 0 {
		s.Millis("strangler.held_ms", f.held)
	}
	if f.fellBack != "" {
		s.Text("strangler.fallback", f.fellBack)
	}
	switch {
	case f.err != nil:
		s.Failed(f.err.Error())
	case status >= 500:
		s.Failed("")
	}
}

// pattern is the part of a declared route that is about the path.
func pattern(id string) string {
	for word := range strings.FieldsSeq(id) {
		if strings.Contains(word, "/") {
			return word
		}
	}
	return id
}
