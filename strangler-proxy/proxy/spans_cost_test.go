package proxy

import (
	"context"
	"log/slog"
	"net/http"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"stranglerfig/contract-tests/harness"
	"stranglerfig/strangler-proxy/route"
	"stranglerfig/strangler-proxy/trace"
	"stranglerfig/strangler-proxy/upstream"
)

// bare returns a proxy that adds nothing to requests but, with a tracer, what
// is about traces.
func bare(t testing.TB, tracer *trace.Tracer) *Proxy {
	t.Helper()
	table, problems := route.Compile(nil, route.Profile{})
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	b, err := upstream.New(upstream.Options{Name: "the monolith", URLs: []string{"http://127.0.0.1:1"}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	p := New(Options{Metrics: NewMetrics(prometheus.NewRegistry()), Forwarding: Forwarding{Style: Untold, RequestID: requestIDOff}, Tracer: tracer})
	p.Obey(&Snapshot{Table: table, Monolith: b})
	return p
}

// fly takes a request through all that is about spans.
func fly(t testing.TB, p *Proxy, f *flight, h fields) {
	*f = flight{asked: asked{method: "GET", host: "shop", target: "/invoices/7", fields: h}, obeyed: p.obeyed.Load(), begun: time.Now()}
	if _, err := p.admit(context.Background(), f); err != nil {
		t.Fatal(err)
	}
	if p.o.Forwarding.replaces("traceparent", f.from) != (p.o.Tracer != nil) {
		t.Error("whose traceparent is it?")
	}
	f.status = 200
	p.land(f)
}

func someFields() fields {
	return httpFields{&http.Request{Header: http.Header{"Traceparent": {"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00"}}}}
}

func TestWithoutTracingNothingIsAllocatedForIt(t *testing.T) {
	p, h := bare(t, nil), someFields()
	var f flight
	if n := testing.AllocsPerRun(100, func() { fly(t, p, &f, h) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
	if f.span != nil || len(f.told) != 0 {
		t.Errorf("the flight has the span %v and tells %v", f.span, f.told)
	}
}

// BenchmarkTracing shows what deciding and accounting cost without spans, with
// spans that are not sampled, and with those that are.
func BenchmarkTracing(b *testing.B) {
	collector := harness.StartCollector()
	defer collector.Close()
	for name, h := range map[string]fields{
		"off": nil, "not sampled": someFields(), "sampled": httpFields{&http.Request{Header: http.Header{}}},
	} {
		b.Run(name, func(b *testing.B) {
			var tracer *trace.Tracer
			if h == nil {
				h = someFields()
			} else {
				var err error
				if tracer, err = trace.New(trace.Options{Endpoint: collector.URL, Sample: 1, Metrics: prometheus.NewRegistry(), Log: slog.New(slog.DiscardHandler)}); err != nil {
					b.Fatal(err)
				}
				defer tracer.Close(context.Background())
			}
			p := bare(b, tracer)
			var f flight
			b.ReportAllocs()
			for b.Loop() {
				fly(b, p, &f, h)
			}
		})
	}
}
