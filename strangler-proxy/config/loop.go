package config

import (
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"strings"
)

// called is a URL that the file has the proxy call.
type called struct {
	where string
	line  int
	url   *url.URL
}

// checkLoops refuses URLs at which the proxy itself listens: every request would
// come back until there are as many as may be.
func (p *parser) checkLoops() {
	for _, c := range p.called {
		for _, ours := range []struct{ key, address string }{{"listen", p.cfg.Listen}, {"admin.listen", p.cfg.Admin.Listen}} {
			if leadsTo(c.url, ours.address) {
				p.problem(c.line, fmt.Sprintf("%s: %s is where the strangler itself listens (%s), not an application", c.where, c.url.Redacted(), ours.key), "")
			}
		}
	}
}

// leadsTo reports whether a URL leads to an address that this machine listens
// on, as far as that can be told from how both are written.
func leadsTo(u *url.URL, address string) bool {
	host, port, err := net.SplitHostPort(address)
	if err != nil || port == "0" || port != portOf(u) {
		return false
	}
	there, here := u.Hostname(), host
	if strings.EqualFold(there, here) {
		return true
	}
	a, errA := netip.ParseAddr(plainHost(there))
	if errA != nil || !a.IsLoopback() && !a.IsUnspecified() {
		return false
	}
	if here == "" {
		return true
	}
	b, errB := netip.ParseAddr(plainHost(here))
	return errB == nil && (b.IsUnspecified() || a.IsUnspecified() && b.IsLoopback() || a == b)
}

// plainHost is the address by which this machine knows itself.
func plainHost(host string) string {
	if strings.EqualFold(host, "localhost") {
		return "127.0.0.1"
	}
	return host
}

func portOf(u *url.URL) string {
	switch {
	case u.Port() != "":
		return u.Port()
	case u.Scheme == "https":
		return "443"
	}
	return "80"
}
