// Package trace makes OpenTelemetry spans of requests. It takes up the trace
// that a client brings by W3C Trace Context, or begins one, and sends what was
// sampled to a collector, by OTLP over HTTP. No request ever waits for it: what
// does not fit into its queue, or is not taken, is dropped and counted.
//
// Start at [New]; without a [Tracer] there are no spans, and a nil [Span]
// records nothing.
package trace

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	oteltrace "go.opentelemetry.io/otel/trace"
)

// Options are what a tracer is made of.
type Options struct {
	Endpoint string                // base URL of a collector that takes OTLP over HTTP; /v1/traces is added
	Headers  map[string]string     // that the collector asks for
	Service  string                // what the collector calls this proxy (service.name)
	Sample   float64               // share, from 0 to 1, of the requests about which nobody before us has decided
	Metrics  prometheus.Registerer // counts what was sent and what was dropped
	Log      *slog.Logger          // told when the collector takes nothing, and when it does again
}

// Tracer makes spans and sends them. It is safe for concurrent use; Close ends
// it.
type Tracer struct {
	spans  *sdktrace.TracerProvider
	tracer oteltrace.Tracer
	outbox *outbox
}

const (
	exportTimeout = 10 * time.Second // of one lot, tries included
	retryAfter    = time.Second      // a lot that the collector could not take just now
	retryMost     = 5 * time.Second
)

// New returns a tracer. The collector need not be there yet.
func New(o Options) (*Tracer, error) {
	exporter, err := otlptracehttp.New(context.Background(),
		otlptracehttp.WithEndpointURL(o.Endpoint+"/v1/traces"), otlptracehttp.WithHeaders(o.Headers), otlptracehttp.WithTimeout(exportTimeout),
		otlptracehttp.WithCompression(otlptracehttp.GzipCompression),
		otlptracehttp.WithRetry(otlptracehttp.RetryConfig{Enabled: true, InitialInterval: retryAfter, MaxInterval: retryMost, MaxElapsedTime: exportTimeout}))
	if err != nil {
		return nil, fmt.Errorf("spans cannot be sent to %s: %w", o.Endpoint, err)
	}
	out := newOutbox(exporter, o.Metrics, o.Log)
	// Not what the SDK would find out: the command's arguments and its user are
	// nobody's business.
	who := resource.NewSchemaless(attribute.String("service.name", o.Service))
	spans := sdktrace.NewTracerProvider(sdktrace.WithResource(who), sdktrace.WithSpanProcessor(out),
		sdktrace.WithSampler(sdktrace.ParentBased(sdktrace.TraceIDRatioBased(o.Sample))))
	return &Tracer{spans: spans, tracer: spans.Tracer("stranglerfig"), outbox: out}, nil
}

// Close sends what is left, for as long as ctx lasts; what could not be sent by
// then is counted. Closing it again does nothing.
func (t *Tracer) Close(ctx context.Context) error {
	t.outbox.close(ctx)
	if err := t.spans.Shutdown(context.WithoutCancel(ctx)); err != nil {
		return fmt.Errorf("end tracing: %w", err)
	}
	return nil
}

// Request begins the span of a request, as a part of the trace that its fields
// name.
func (t *Tracer) Request(f Fields, at time.Time) *Span {
	ctx := oteltrace.ContextWithRemoteSpanContext(context.Background(), incoming(f))
	return t.start(ctx, "HTTP", at, oteltrace.SpanKindServer)
}

func (t *Tracer) start(ctx context.Context, name string, at time.Time, kind oteltrace.SpanKind) *Span {
	_, span := t.tracer.Start(ctx, name, oteltrace.WithTimestamp(at), oteltrace.WithSpanKind(kind))
	return &Span{tracer: t, span: span}
}
