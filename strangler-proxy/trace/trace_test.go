package trace_test

import (
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"stranglerfig/contract-tests/harness"
	"stranglerfig/strangler-proxy/trace"
)

// fields are a request's header.
type fields [][2]string

func (f fields) Fields() int                      { return len(f) }
func (f fields) Field(i int) (name, value string) { return f[i][0], f[i][1] }

const (
	traceID = "4bf92f3577b34da6a3ce929d0e0e4736"
	parent  = "00f067aa0ba902b7"
	sampled = "00-" + traceID + "-" + parent + "-01"
	not     = "00-" + traceID + "-" + parent + "-00"
)

// world is a tracer with its collector.
type world struct {
	collector *harness.Collector
	registry  *prometheus.Registry
	log       *strings.Builder // to be read when the tracer has ended
	tracer    *trace.Tracer
}

func newWorld(t testing.TB, set ...func(*trace.Options)) *world {
	t.Helper()
	w := &world{collector: harness.StartCollector(), registry: prometheus.NewRegistry(), log: &strings.Builder{}}
	t.Cleanup(w.collector.Close)
	o := trace.Options{Endpoint: w.collector.URL, Service: "strangler", Sample: 1, Metrics: w.registry, Log: slog.New(slog.NewTextHandler(w.log, nil))}
	for _, f := range set {
		f(&o)
	}
	var err error
	if w.tracer, err = trace.New(o); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { w.end(t) })
	return w
}

// end ends the tracer, which sends what is left, and returns what the collector
// got.
func (w *world) end(t testing.TB) []harness.Span {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := w.tracer.Close(ctx); err != nil {
		t.Error(err)
	}
	return w.collector.Spans()
}

// number is the value of a counter with a label, or any.
func (w *world) number(t testing.TB, name, label string) (sum float64) {
	t.Helper()
	families, err := w.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		for _, m := range f.Metric {
			if f.GetName() == name && (label == "" || m.Label[0].GetValue() == label) {
				sum += m.GetCounter().GetValue()
			}
		}
	}
	return sum
}

func TestATraceThatAClientBringsIsTakenUpOnlyIfItIsValid(t *testing.T) {
	w := newWorld(t)
	for name, row := range map[string]struct {
		brings fields
		state  string // passed on
		taken  bool
	}{
		"nothing":                       {nil, "", false},
		"a parent":                      {fields{{"Traceparent", sampled}}, "", true},
		"one that was not sampled":      {fields{{"traceparent", not}}, "", true},
		"with a state":                  {fields{{"traceparent", sampled}, {"tracestate", "a=1,b=2"}}, "a=1,b=2", true},
		"a state in two fields":         {fields{{"tracestate", "a=1"}, {"TRACEPARENT", sampled}, {"TraceState", "b=2"}}, "a=1,b=2", true},
		"a state that is none":          {fields{{"traceparent", sampled}, {"tracestate", "no state"}}, "", true},
		"a state twice":                 {fields{{"traceparent", sampled}, {"tracestate", "a=1,a=2"}}, "", true},
		"a state of more than 32":       {fields{{"traceparent", sampled}, {"tracestate", strings.Repeat("a=1,", 32) + "b=1"}}, "", true},
		"an empty state":                {fields{{"traceparent", sampled}, {"tracestate", ""}}, "", true},
		"a state without a parent":      {fields{{"tracestate", "a=1"}}, "", false},
		"two parents":                   {fields{{"traceparent", sampled}, {"Traceparent", sampled}, {"tracestate", "a=1"}}, "", false},
		"a later version with more":     {fields{{"traceparent", "cc" + sampled[2:] + "-what"}}, "", true},
		"more in this version":          {fields{{"traceparent", sampled + "-what"}}, "", false},
		"the version that is forbidden": {fields{{"traceparent", "ff" + sampled[2:]}}, "", false},
		"an id of zeros":                {fields{{"traceparent", "00-" + strings.Repeat("0", 32) + "-" + parent + "-01"}}, "", false},
		"a parent of zeros":             {fields{{"traceparent", "00-" + traceID + "-" + strings.Repeat("0", 16) + "-01"}}, "", false},
		"capitals":                      {fields{{"traceparent", strings.ToUpper(sampled)}}, "", false},
		"too short":                     {fields{{"traceparent", sampled[:len(sampled)-1]}}, "", false},
		"nothing in it":                 {fields{{"traceparent", ""}}, "", false},
	} {
		span := w.tracer.Request(row.brings, time.Now())
		got, state := span.Context()
		span.End()
		parts := strings.Split(got, "-")
		if len(parts) != 4 || parts[0] != "00" || len(parts[1]) != 32 || len(parts[2]) != 16 || parts[2] == parent {
			t.Errorf("%s: the backend is told %q", name, got)
			continue
		}
		if (parts[1] == traceID) != row.taken || state != row.state || parts[1] != span.ID() {
			t.Errorf("%s: the backend is told %q and %q", name, got, state)
		}
		if want := map[bool]string{true: "00", false: "01"}[name == "one that was not sampled"]; parts[3] != want {
			t.Errorf("%s: the flags are %s", name, parts[3])
		}
	}
}

func TestSpansReachTheCollectorWithWhatWasSaidOfThem(t *testing.T) {
	w := newWorld(t, func(o *trace.Options) { o.Headers, o.Service = map[string]string{"Api-Key": "k"}, "edge" })
	at := time.Now().Add(-time.Second)
	span := w.tracer.Request(fields{{"traceparent", sampled}, {"tracestate", "a=1"}}, at)
	span.Name("GET /invoices/{id}")
	span.Text("strangler.owner", "service")
	span.Whole("strangler.epoch", 7)
	span.Millis("strangler.held_ms", 1500*time.Microsecond)
	span.Failed("it broke off")
	span.End()
	mirror := span.Part("mirror")
	ask := mirror.Ask("GET")
	ask.End()
	mirror.End()
	got := map[string]harness.Span{}
	for _, s := range w.end(t) {
		got[s.Name] = s
	}
	request := got["GET /invoices/{id}"]
	if request.Service != "edge" || request.Kind != "SPAN_KIND_SERVER" || request.Trace != traceID || request.Parent != parent || request.State != "a=1" {
		t.Errorf("the request: %+v", request)
	}
	if request.Begun != uint64(at.UnixNano()) || request.Ended < request.Begun || !request.Failed || request.Why != "it broke off" {
		t.Errorf("the request: %+v", request)
	}
	for name, want := range map[string]string{"strangler.owner": "service", "strangler.epoch": "7", "strangler.held_ms": "1.5"} {
		if request.Attributes[name] != want {
			t.Errorf("%s is %q", name, request.Attributes[name])
		}
	}
	if m := got["mirror"]; m.Parent != request.ID || m.Trace != traceID || m.Kind != "SPAN_KIND_INTERNAL" {
		t.Errorf("the mirror: %+v", m)
	}
	if a := got["GET"]; a.Parent != got["mirror"].ID || a.Trace != traceID || a.Kind != "SPAN_KIND_CLIENT" {
		t.Errorf("what was asked: %+v", a)
	}
	if sent := w.number(t, "strangler_spans_total", ""); sent != 3 {
		t.Errorf("%v spans were counted as sent", sent)
	}
	for _, h := range w.collector.Headers() {
		if h.Get("Api-Key") != "k" || h.Get("Content-Encoding") != "gzip" {
			t.Errorf("the collector was sent %v", h)
		}
	}
}

func TestWhoeverDecidedBeforeIsObeyedAndOfOthersAShareIsSampled(t *testing.T) {
	w := newWorld(t, func(o *trace.Options) { o.Sample = 0.25 })
	decided := func(f fields) (sampled int) {
		for range 1000 {
			span := w.tracer.Request(f, time.Now())
			if parent, _ := span.Context(); strings.HasSuffix(parent, "-01") != span.Recording() {
				t.Fatalf("recording %v, but the backend is told %s", span.Recording(), parent)
			}
			if span.Recording() {
				sampled++
			}
		}
		return sampled
	}
	if n := decided(fields{{"traceparent", sampled}}); n != 1000 {
		t.Errorf("%d of 1000 that were sampled before are", n)
	}
	if n := decided(fields{{"traceparent", not}}); n != 0 {
		t.Errorf("%d of 1000 that were not sampled before are", n)
	}
	if n := decided(nil); n < 250-42 || n > 250+42 { // three standard deviations
		t.Errorf("%d of 1000 are sampled, of which a quarter should be", n)
	}
}

func TestWhatACollectorDoesNotTakeIsCounted(t *testing.T) {
	w := newWorld(t)
	w.collector.Refuse(http.StatusUnauthorized)
	for range 10 {
		w.tracer.Request(fields{}, time.Now()).End()
	}
	if got := w.end(t); len(got) != 0 || w.number(t, "strangler_spans_dropped_total", "collector") != 10 {
		t.Errorf("%d spans were taken, %v are counted as dropped", len(got), w.number(t, "strangler_spans_dropped_total", "collector"))
	}
	if n := strings.Count(w.log.String(), "does not take spans"); n != 1 {
		t.Errorf("that was logged %d times:\n%s", n, w.log)
	}
}

// TestACollectorThatHangsHoldsNobodyUp fills the queue while nothing is taken.
func TestACollectorThatHangsHoldsNobodyUp(t *testing.T) {
	reached, let := make(chan bool, 1), make(chan struct{})
	w := newWorld(t, func(o *trace.Options) {
		o.Endpoint = hanging(t, reached, let)
	})
	const lot, waiting, beyond = 512, 2048, 100
	for range lot {
		w.tracer.Request(fields{}, time.Now()).End()
	}
	<-reached // whatever was sent first may be less than a lot, or one
	for range lot + waiting + beyond {
		w.tracer.Request(fields{}, time.Now()).End()
	}
	if n := w.number(t, "strangler_spans_dropped_total", "queue"); n < lot+beyond || n > lot+lot+beyond {
		t.Errorf("%v spans are counted as dropped", n)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := w.tracer.Close(ctx); err != nil { // at once, although the collector still hangs
		t.Error(err)
	}
	close(let)
	if sent, dropped := w.number(t, "strangler_spans_total", ""), w.number(t, "strangler_spans_dropped_total", ""); sent != 0 || dropped != lot+lot+waiting+beyond {
		t.Errorf("%v sent and %v dropped", sent, dropped)
	}
}

func TestANilSpanRecordsNothing(t *testing.T) {
	var s *trace.Span
	if n := testing.AllocsPerRun(100, func() {
		s.Name("x")
		s.Text("a", "b")
		s.Whole("a", 1)
		s.Millis("a", time.Second)
		s.Failed("x")
		s.Tell(nil)
		s.Part("x").Ask("y").End()
		s.End()
	}); n != 0 || s.Recording() || s.ID() != "" {
		t.Errorf("%v allocations", n)
	}
}

// hanging is a collector that tells when it is reached and answers when it is
// let.
func hanging(t testing.TB, reached chan<- bool, let <-chan struct{}) string {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		select {
		case reached <- true:
		default:
		}
		select {
		case <-let:
		case <-r.Context().Done():
		}
	}))
	t.Cleanup(s.Close)
	return s.URL
}
