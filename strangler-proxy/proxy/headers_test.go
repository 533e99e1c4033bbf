package proxy_test

import (
	"maps"
	"net/http"
	"slices"
	"testing"

	"stranglerfig/strangler-proxy/http1"
	"stranglerfig/strangler-proxy/proxy"
)

func TestHeadersAreTheSameWhetherTheyWereListedOrMapped(t *testing.T) {
	fields := []http1.Field{{Name: "x-two", Value: "1"}, {Name: "Connection", Value: "close"}, {Name: "X-Two", Value: "2"}, {Name: "ETAG", Value: `"a"`}}
	listed := proxy.ListHeaders(fields, func(i int) bool { return fields[i].Name == "Connection" })
	want := http.Header{"X-Two": {"1", "2"}, "Etag": {`"a"`}}
	mapped := proxy.HeadersOf(want.Clone())
	for name, h := range map[string]*proxy.Headers{"listed": listed, "mapped": mapped} {
		if got := h.Map(); !maps.EqualFunc(got, want, slices.Equal[[]string]) {
			t.Errorf("%s: %v", name, got)
		}
		if h.Get("X-Two") != "1" || h.Get("ETag") != `"a"` || h.Get("Connection") != "" {
			t.Errorf("%s: %q, %q, %q", name, h.Get("X-Two"), h.Get("ETag"), h.Get("Connection"))
		}
		if n := len(h.Lines()); n != 3 {
			t.Errorf("%s: %d lines", name, n)
		}
	}
	if none := (*proxy.Headers)(nil); none.Get("X") != "" || none.Map().Get("X") != "" || none.Lines() != nil {
		t.Error("none have some")
	}
}
