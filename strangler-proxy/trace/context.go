package trace

import (
	"context"
	"net/http"
	"strings"

	"go.opentelemetry.io/otel/propagation"
	oteltrace "go.opentelemetry.io/otel/trace"
)

// The fields of W3C Trace Context.
const (
	ParentField = "traceparent"
	StateField  = "tracestate"
)

// Fields are a request's header, field by field.
type Fields interface {
	Fields() int
	Field(i int) (name, value string)
}

// Names reports whether a field says which trace a request belongs to.
func Names(field string) bool {
	return len(field) == len(ParentField) && strings.EqualFold(field, ParentField) ||
		len(field) == len(StateField) && strings.EqualFold(field, StateField)
}

// incoming reads which trace a request belongs to. By the specification's words
// (W3C Trace Context, 3.2 and 3.3): a traceparent that is not valid, or not the
// only one, says nothing, and neither does its tracestate; several fields of
// tracestate are one list; a tracestate that is not valid is left out.
func incoming(f Fields) oteltrace.SpanContext {
	var parents, states []string
	for i := range f.Fields() {
		name, value := f.Field(i)
		switch {
		case !Names(name):
		case len(name) == len(ParentField):
			parents = append(parents, value)
		case strings.Trim(value, " \t,") != "":
			states = append(states, value)
		}
	}
	if len(parents) != 1 {
		return oteltrace.SpanContext{}
	}
	said := propagation.MapCarrier{ParentField: parents[0], StateField: strings.Join(states, ",")}
	return oteltrace.SpanContextFromContext(propagation.TraceContext{}.Extract(context.Background(), said))
}

// Context returns the fields that tell a backend which trace a request belongs
// to, the span being its parent; state is "" where there is none.
func (s *Span) Context() (parent, state string) {
	said := propagation.MapCarrier{}
	propagation.TraceContext{}.Inject(oteltrace.ContextWithSpan(context.Background(), s.span), said)
	return said[ParentField], said[StateField]
}

// Tell says the same in a header, in place of what it says of a trace.
func (s *Span) Tell(h http.Header) {
	if s == nil {
		return
	}
	parent, state := s.Context()
	h.Set(ParentField, parent)
	if h.Del(StateField); state != "" {
		h.Set(StateField, state)
	}
}
