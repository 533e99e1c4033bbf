package trace

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
)

const (
	waiting = 2048        // spans that may wait to be sent; some 2 KiB each
	lot     = 512         // spans that are sent at once
	every   = time.Second // less than a lot is sent
)

// outbox sends spans in lots. The SDK's own would drop in silence.
type outbox struct {
	exporter sdktrace.SpanExporter
	log      *slog.Logger
	queue    chan sdktrace.ReadOnlySpan
	sent     prometheus.Counter
	dropped  *prometheus.CounterVec
	full     prometheus.Counter // of dropped

	ctx    context.Context // of what is sent; ended when close gives up
	cancel context.CancelFunc
	once   sync.Once
	ending chan struct{}
	ended  chan struct{}
}

var _ sdktrace.SpanProcessor = (*outbox)(nil)

// newOutbox returns an outbox whose goroutine close ends.
func newOutbox(exporter sdktrace.SpanExporter, r prometheus.Registerer, log *slog.Logger) *outbox {
	o := &outbox{
		exporter: exporter, log: log, queue: make(chan sdktrace.ReadOnlySpan, waiting), ending: make(chan struct{}), ended: make(chan struct{}),
		sent: prometheus.NewCounter(prometheus.CounterOpts{Name: "strangler_spans_total", Help: "Spans that the collector has taken."}),
		dropped: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "strangler_spans_dropped_total", Help: "Spans that were dropped: too many waited (queue), or the collector did not take them (collector).",
		}, []string{"reason"}),
	}
	o.full = o.dropped.WithLabelValues("queue")
	o.dropped.WithLabelValues("collector")
	r.MustRegister(o.sent, o.dropped)
	o.ctx, o.cancel = context.WithCancel(context.Background())
	go o.send()
	return o
}

// OnStart implements [sdktrace.SpanProcessor].
func (o *outbox) OnStart(context.Context, sdktrace.ReadWriteSpan) {}

// OnEnd implements [sdktrace.SpanProcessor]. It never waits.
func (o *outbox) OnEnd(s sdktrace.ReadOnlySpan) {
	if !s.SpanContext().IsSampled() {
		return
	}
	select {
	case o.queue <- s:
	default:
		o.full.Inc()
	}
}

// ForceFlush implements [sdktrace.SpanProcessor]. Nobody here calls it: what
// waits is sent within a second anyway.
func (o *outbox) ForceFlush(context.Context) error { return nil }

// close sends what waits, for as long as ctx lasts, and ends the goroutine.
func (o *outbox) close(ctx context.Context) {
	o.once.Do(func() { close(o.ending) })
	select {
	case <-o.ended:
	case <-ctx.Done():
		o.cancel()
		<-o.ended
	}
	o.cancel()
}

// Shutdown implements [sdktrace.SpanProcessor], once all has been sent.
func (o *outbox) Shutdown(ctx context.Context) error { return o.exporter.Shutdown(ctx) }

// send empties the queue, a lot at a time, until the end.
func (o *outbox) send() {
	defer close(o.ended)
	tick := time.NewTicker(every)
	defer tick.Stop()
	var ready []sdktrace.ReadOnlySpan
	failing := false
	flush := func() {
		if len(ready) > 0 {
			failing = o.export(ready, failing)
			clear(ready)
			ready = ready[:0]
		}
	}
	for {
		select {
		case s := <-o.queue:
			if ready = append(ready, s); len(ready) == lot {
				flush()
			}
		case <-tick.C:
			flush()
		case <-o.ending:
			for len(o.queue) > 0 {
				if ready = append(ready, <-o.queue); len(ready) == lot {
					flush()
				}
			}
			flush()
			return
		}
	}
}

// export sends a lot and reports whether that failed. What it was before says
// whether there is news to log.
func (o *outbox) export(spans []sdktrace.ReadOnlySpan, failing bool) bool {
	bounded, cancel := context.WithTimeout(o.ctx, exportTimeout)
	defer cancel()
	err := o.exporter.ExportSpans(bounded, spans)
	if err != nil {
		o.dropped.WithLabelValues("collector").Add(float64(len(spans)))
		if !failing {
			o.log.Warn("the collector does not take spans; they are dropped and counted", "error", err)
		}
		return true
	}
	o.sent.Add(float64(len(spans)))
	if failing {
		o.log.Info("the collector takes spans again")
	}
	return false
}
