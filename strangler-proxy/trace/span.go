package trace

import (
	"context"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	oteltrace "go.opentelemetry.io/otel/trace"
)

// Span is a request's, or that of a part of it. A nil Span records nothing and
// has no children. It may be asked for children after its end.
type Span struct {
	tracer *Tracer
	span   oteltrace.Span
}

// Part begins the span of something that this proxy does because of the
// request.
func (s *Span) Part(name string) *Span { return s.child(name, oteltrace.SpanKindInternal) }

// Ask begins the span of a request that this proxy sends because of another.
func (s *Span) Ask(name string) *Span { return s.child(name, oteltrace.SpanKindClient) }

func (s *Span) child(name string, kind oteltrace.SpanKind) *Span {
	if s == nil {
		return nil
	}
	return s.tracer.start(oteltrace.ContextWithSpan(context.Background(), s.span), name, time.Now(), kind)
}

// Recording reports whether what is said of the span goes anywhere.
func (s *Span) Recording() bool { return s != nil && s.span.IsRecording() }

// ID is the id of the trace, in hexadecimal; "" without a span.
func (s *Span) ID() string {
	if s == nil {
		return ""
	}
	return s.span.SpanContext().TraceID().String()
}

// Name renames the span.
func (s *Span) Name(name string) {
	if s != nil {
		s.span.SetName(name)
	}
}

// Text says something of the span.
func (s *Span) Text(name, value string) {
	if s != nil {
		s.span.SetAttributes(attribute.String(name, value))
	}
}

// Whole says a whole number of the span.
func (s *Span) Whole(name string, value int64) {
	if s != nil {
		s.span.SetAttributes(attribute.Int64(name, value))
	}
}

// Millis says a time of the span, in milliseconds.
func (s *Span) Millis(name string, d time.Duration) {
	if s != nil {
		s.span.SetAttributes(attribute.Float64(name, float64(d.Microseconds())/1000))
	}
}

// Failed marks the span as one that went wrong.
func (s *Span) Failed(why string) {
	if s != nil {
		s.span.SetStatus(codes.Error, why)
	}
}

// End ends the span.
func (s *Span) End() {
	if s != nil {
		s.span.End()
	}
}
