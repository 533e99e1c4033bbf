package proxy

import (
	"net/http"
	"net/netip"
	"testing"
)

// TestTheClientIsWhoNoTrustedProxyStandsFor however the chain is written: some
// proxies add to a field, and some add a field, behind what a client has forged.
func TestTheClientIsWhoNoTrustedProxyStandsFor(t *testing.T) {
	o := Forwarding{Trusted: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}}
	for _, row := range []struct {
		chain []string
		want  string
	}{
		{nil, "10.0.0.1"},
		{[]string{"192.0.2.7"}, "192.0.2.7"},
		{[]string{"6.6.6.6, 192.0.2.7, 10.0.0.2"}, "192.0.2.7"},
		{[]string{"6.6.6.6", "192.0.2.7"}, "192.0.2.7"},
		{[]string{"6.6.6.6", "", "192.0.2.7, 10.0.0.2", "10.0.0.3"}, "192.0.2.7"},
		{[]string{"6.6.6.6", "nobody"}, "10.0.0.1"},
	} {
		f := httpFields{&http.Request{Header: http.Header{"X-Forwarded-For": row.chain}}}
		if got := o.client(origin{peer: "10.0.0.1", trusted: true}, f); got != row.want {
			t.Errorf("%q: the client is %s, want %s", row.chain, got, row.want)
		}
	}
}
