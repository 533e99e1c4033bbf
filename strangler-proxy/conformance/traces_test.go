package conformance

import (
	"io"
	"net/http"
	"strings"
	"testing"

	"stranglerfig/contract-tests/harness"
)

const (
	someTrace  = "4bf92f3577b34da6a3ce929d0e0e4736"
	someParent = "00-" + someTrace + "-00f067aa0ba902b7-01"
)

// TestTraces asks over every listener before every backend and looks at what
// the backend is told and at what an OpenTelemetry collector gets.
func TestTraces(t *testing.T) {
	for _, listener := range kinds {
		for _, backend := range kinds {
			check(t, listener.name+" to "+backend.name, func(t testing.TB) { traces(t, listener, backend) })
		}
	}
}

// seen is what a backend was told of a trace.
type seen struct{ parents, states []string }

func seeing(t testing.TB, c *cell) (path string, told <-chan seen) {
	t.Helper()
	found := make(chan seen, 1)
	return c.app.at(func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		found <- seen{r.Header.Values("Traceparent"), r.Header.Values("Tracestate")}
	}), found
}

func traces(t testing.TB, listener, backend kind) {
	collector := harness.StartCollector()
	t.Cleanup(collector.Close)
	c := newCell(t, listener, backend, "tracing: {endpoint: \""+collector.URL+"\", sample: 100%, service: edge}\n")
	path, told := seeing(t, c)
	var ids []string
	for _, row := range []struct {
		header []string
		trace  string
		states string
	}{
		{[]string{"traceparent", someParent, "tracestate", "a=1", "tracestate", "b=2"}, someTrace, "a=1,b=2"},
		{[]string{"traceparent", someParent}, someTrace, ""},
		{[]string{"traceparent", "00-nonsense", "tracestate", "a=1"}, "", ""},
		{nil, "", ""},
	} {
		c.ask(t, "POST", path, "body", row.header...)
		got := receive(t, "the request", told)
		if len(got.parents) != 1 || strings.Join(got.states, ",") != row.states {
			t.Fatalf("with %q the backend is told %q", row.header, got)
		}
		parts := strings.Split(got.parents[0], "-")
		if len(parts) != 4 || row.trace != "" && parts[1] != row.trace || got.parents[0] == someParent {
			t.Fatalf("with %q the backend is told %q", row.header, got)
		}
		ids = append(ids, parts[1]+" "+parts[2])
	}
	c.front.end() // which sends what is left
	spans := collector.Spans()
	if len(spans) != len(ids) {
		t.Fatalf("%d spans of %d requests: %+v", len(spans), len(ids), spans)
	}
	for i, s := range spans {
		if s.Trace+" "+s.ID != ids[i] || s.Service != "edge" || s.Kind != "SPAN_KIND_SERVER" || s.Name != "POST" || s.Failed {
			t.Errorf("span %d, of which the backend was told %s: %+v", i, ids[i], s)
		}
		for name, want := range map[string]string{
			"http.request.method": "POST", "url.path": path, "url.scheme": listener.scheme(), "http.response.status_code": "200", "client.address": "127.0.0.1",
			"strangler.owner": "monolith", "strangler.epoch": "0", "strangler.reason": "no route is declared, so the monolith answers",
		} {
			if s.Attributes[name] != want {
				t.Errorf("%s is %q, want %q", name, s.Attributes[name], want)
			}
		}
	}
}

// TestWithoutTracingTracesPassAsTheyCame asks for what nobody here looks at.
func TestWithoutTracingTracesPassAsTheyCame(t *testing.T) {
	for _, listener := range kinds {
		check(t, listener.name, func(t testing.TB) {
			c := newCell(t, listener, inClear, "")
			path, told := seeing(t, c)
			c.ask(t, "GET", path, "", "traceparent", "whatever it is", "tracestate", "a=1")
			if got := receive(t, "the request", told); strings.Join(got.parents, ",") != "whatever it is" || strings.Join(got.states, ",") != "a=1" {
				t.Errorf("the backend is told %q", got)
			}
		})
	}
}

// TestMirroredRequestsAreChildrenOfWhatTheyMirror has a route shadowed.
func TestMirroredRequestsAreChildrenOfWhatTheyMirror(t *testing.T) {
	collector := harness.StartCollector()
	t.Cleanup(collector.Close)
	id := newIdentity(t)
	monolith, service := newApplication(t, inClear, id), newApplication(t, inClear, id)
	told := make(chan seen, 1)
	monolith.cases.Store("read", http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "read") }))
	service.cases.Store("read", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		told <- seen{r.Header.Values("Traceparent"), r.Header.Values("Tracestate")}
		io.WriteString(w, "read")
	}))
	f := start(t, "tracing: {endpoint: \""+collector.URL+"\", sample: 100%}\nmonolith: "+inClear.backend(monolith.address, id)+`
capabilities:
  billing:
    service: {url: "http://`+service.address+`", health: "", build: ""}
    routes:
      GET /{name}: shadow
`)
	c := &cell{listener: inClear, app: monolith, id: id, front: f}
	c.shared = c.client(t)
	c.ask(t, "GET", "/read", "", "traceparent", someParent, "tracestate", "a=1")
	got := receive(t, "the mirrored request", told)
	eventually(t, "the comparison", func() bool { return f.number(t, "strangler_shadow_total") == 1 })
	f.end()
	spans := map[string]harness.Span{}
	for _, s := range collector.Spans() {
		spans[s.Kind] = s
	}
	request, mirror, asked := spans["SPAN_KIND_SERVER"], spans["SPAN_KIND_INTERNAL"], spans["SPAN_KIND_CLIENT"]
	if request.Name != "GET /{name}" || request.Trace != someTrace || request.Attributes["strangler.capability"] != "billing" || request.Attributes["strangler.word"] != "shadow" {
		t.Errorf("the request: %+v", request)
	}
	if mirror.Parent != request.ID || mirror.Attributes["strangler.verdict"] != "match" {
		t.Errorf("the mirror: %+v", mirror)
	}
	if asked.Parent != mirror.ID || asked.Attributes["http.response.status_code"] != "200" || asked.Attributes["strangler.backend"] != "the service billing" {
		t.Errorf("what the service was asked: %+v", asked)
	}
	if want := "00-" + someTrace + "-" + asked.ID + "-01"; strings.Join(got.parents, ",") != want || strings.Join(got.states, ",") != "a=1" {
		t.Errorf("the service is told %q, want %s", got, want)
	}
}

// TestASpanSaysWhoAnsweredInstead has a read fall back.
func TestASpanSaysWhoAnsweredInstead(t *testing.T) {
	collector := harness.StartCollector()
	t.Cleanup(collector.Close)
	id := newIdentity(t)
	monolith := newApplication(t, inClear, id)
	monolith.cases.Store("read", http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "read") }))
	service := newApplication(t, inClear, id)
	service.cases.Store("read", http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadGateway) }))
	f := start(t, "tracing: {endpoint: \""+collector.URL+"\", sample: 100%}\nmonolith: "+inClear.backend(monolith.address, id)+owners(service.address, 1))
	c := &cell{listener: inClear, app: monolith, id: id, front: f}
	c.shared = c.client(t)
	eventually(t, "the service to own the read", func() bool { return c.ask(t, "GET", "/read", "").Header.Get("X-Strangler-Fallback") != "" })
	f.end()
	spans := collector.Spans()
	last := spans[len(spans)-1]
	if !strings.Contains(last.Attributes["strangler.fallback"], "answered 502") || last.Attributes["strangler.owner"] != "service" || last.Attributes["http.response.status_code"] != "200" {
		t.Errorf("the span: %+v", last)
	}
}
