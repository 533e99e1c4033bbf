package harness

import (
	"compress/gzip"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"

	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	common "go.opentelemetry.io/proto/otlp/common/v1"
	wire "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"
)

// Collector is an OpenTelemetry collector: it takes spans by OTLP over HTTP, in
// protobuf, and keeps them.
type Collector struct {
	URL    string
	server *httptest.Server

	mu      sync.Mutex
	refuse  int // with this status; 0: nothing is refused
	spans   []Span
	headers []http.Header
}

// Span is one that a collector has got.
type Span struct {
	Service           string // the resource's name
	Name, Kind        string
	Trace, ID, Parent string // in hexadecimal
	State             string // of the trace, as vendors have it
	Failed            bool
	Why               string
	Begun, Ended      uint64 // Unix nanoseconds
	Attributes        map[string]string
}

// StartCollector starts a collector on a port of its own.
func StartCollector() *Collector {
	c := &Collector{}
	c.server = httptest.NewServer(c)
	c.URL = c.server.URL
	return c
}

// Close ends the collector.
func (c *Collector) Close() { c.server.Close() }

// Refuse makes the collector answer with a status from now on; 0: it takes
// spans again.
func (c *Collector) Refuse(status int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.refuse = status
}

// Spans returns what was got so far.
func (c *Collector) Spans() []Span {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.spans)
}

// Headers returns those of the requests so far.
func (c *Collector) Headers() []http.Header {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.headers)
}

// ServeHTTP implements [http.Handler].
func (c *Collector) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	got, err := read(r)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.headers = append(c.headers, r.Header)
	switch {
	case c.refuse != 0:
		w.WriteHeader(c.refuse)
		return
	case err != nil:
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	for _, resource := range got.ResourceSpans {
		service := attributes(resource.Resource.Attributes)["service.name"]
		for _, scope := range resource.ScopeSpans {
			for _, s := range scope.Spans {
				c.spans = append(c.spans, spanOf(service, s))
			}
		}
	}
	w.Header().Set("Content-Type", "application/x-protobuf")
}

func read(r *http.Request) (*collector.ExportTraceServiceRequest, error) {
	if r.Method != http.MethodPost || r.URL.Path != "/v1/traces" || r.Header.Get("Content-Type") != "application/x-protobuf" {
		return nil, fmt.Errorf("%s %s with %q is not OTLP in protobuf", r.Method, r.URL.Path, r.Header.Get("Content-Type"))
	}
	body := io.Reader(r.Body)
	if r.Header.Get("Content-Encoding") == "gzip" {
		unpacked, err := gzip.NewReader(body)
		if err != nil {
			return nil, err
		}
		body = unpacked
	}
	raw, err := io.ReadAll(body)
	if err != nil {
		return nil, err
	}
	got := &collector.ExportTraceServiceRequest{}
	return got, proto.Unmarshal(raw, got)
}

func spanOf(service string, s *wire.Span) Span {
	return Span{
		Service: service, Name: s.Name, Kind: s.Kind.String(), Trace: hex.EncodeToString(s.TraceId), ID: hex.EncodeToString(s.SpanId),
		Parent: hex.EncodeToString(s.ParentSpanId), State: s.TraceState, Failed: s.Status.GetCode() == wire.Status_STATUS_CODE_ERROR,
		Why: s.Status.GetMessage(), Begun: s.StartTimeUnixNano, Ended: s.EndTimeUnixNano, Attributes: attributes(s.Attributes),
	}
}

// attributes renders values as text.
func attributes(all []*common.KeyValue) map[string]string {
	text := map[string]string{}
	for _, a := range all {
		switch v := a.Value.Value.(type) {
		case *common.AnyValue_StringValue:
			text[a.Key] = v.StringValue
		case *common.AnyValue_IntValue:
			text[a.Key] = fmt.Sprint(v.IntValue)
		case *common.AnyValue_DoubleValue:
			text[a.Key] = fmt.Sprint(v.DoubleValue)
		default:
			text[a.Key] = a.Value.String()
		}
	}
	return text
}
