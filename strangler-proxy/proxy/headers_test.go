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
		all := http.Header{}
		for name, value := range h.All() {
			all.Add(name, value)
		}
		if !maps.EqualFunc(all, want, slices.Equal[[]string]) {
			t.Errorf("%s: %v", name, all)
		}
		if lines, as := h.Lines(); as != (name == "listed") || as && !slices.Equal(lines, slices.Delete(slices.Clone(fields), 1, 2)) {
			t.Errorf("%s: %v, %t", name, lines, as)
		}
	}
	none := (*proxy.Headers)(nil)
	for name := range none.All() {
		t.Errorf("none have %q", name)
	}
	if lines, as := none.Lines(); none.Get("X") != "" || none.Map().Get("X") != "" || lines != nil || !as {
		t.Error("none have some")
	}
}
