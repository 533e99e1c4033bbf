package http1_test

import (
	"errors"
	"strings"
	"testing"

	"stranglerfig/strangler-proxy/http1"
)

// TestWhatAnotherVersionOfHTTPSaysIsRefusedAsHTTP1Is for the same reasons.
func TestWhatAnotherVersionOfHTTPSaysIsRefusedAsHTTP1Is(t *testing.T) {
	fine := map[string][]string{"Accept": {"a", "b"}, "X-Any": {"\xff\t "}, "Host": {"shop.example:81"}, "Content-Length": {"3"}}
	for _, row := range []struct {
		method, target, authority string
		header                    map[string][]string
		reason                    string
	}{
		{"GET", "/a?b", "shop.example:81", fine, ""},
		{"OPTIONS", "*", "[::1]:80", nil, ""},
		{"GET", "http://a/b", "A", nil, ""},
		{"", "/", "a", nil, "method"},
		{"GET /x", "/", "a", nil, "method"},
		{strings.Repeat("M", 33), "/", "a", nil, "method"},
		{"GET", "/", "", nil, "host-missing"},
		{"GET", "/", "a b", nil, "host"},
		{"GET", "/", "user@a", nil, "host"},
		{"GET", "*", "a", nil, "target"},
		{"GET", "/a b", "a", nil, "target"},
		{"GET", "/a?b c", "a", nil, "target"},
		{"GET", "/a?b#c", "a", nil, "target"},
		{"GET", "http://b/", "a", nil, "authority-mismatch"},
		{"GET", "/" + strings.Repeat("a", 8192), "a", nil, "target-too-long"},
		{"CONNECT", "a", "a", nil, "connect"},
		{"GET", "/", "a", map[string][]string{"": {"x"}}, "field-name"},
		{"GET", "/", "a", map[string][]string{"X Y": {"x"}}, "field-name"},
		{"GET", "/", "a", map[string][]string{"X": {"a\x00"}}, "field-value"},
		{"GET", "/", "a", map[string][]string{"X": {"a\rb"}}, "bare-carriage-return"},
		{"GET", "/", "a", map[string][]string{"Host": {"b"}}, "authority-mismatch"},
		{"GET", "/", "a", map[string][]string{"Host": {"a", "a"}}, "several-hosts"},
		{"POST", "/", "a", map[string][]string{"Content-Length": {"3", "4"}}, "several-content-lengths"},
		{"POST", "/", "a", map[string][]string{"Content-Length": {"+3"}}, "content-length"},
		{"POST", "/", "a", map[string][]string{"Transfer-Encoding": {"gzip"}}, "transfer-coding"},
		{"POST", "/", "a", map[string][]string{"Expect": {"wonders"}}, "expect"},
		{"GET", "/", "a", map[string][]string{"X": make([]string, 101)}, "too-many-fields"},
	} {
		reason := ""
		var refusal *http1.Refusal
		if errors.As(http1.Vet(row.method, row.target, row.authority, row.header, limits), &refusal) {
			reason = refusal.Reason
		}
		if reason != row.reason {
			t.Errorf("%q %.30q of %q, %q: refused because of %q, want %q", row.method, row.target, row.authority, row.header, reason, row.reason)
		}
	}
}
