package proxy

import (
	"net/http"
	"net/url"
	"strings"

	"stranglerfig/strangler-proxy/http1"
)

// Manners are how a backend likes to be spoken to.
type Manners struct {
	// OwnHost sends the backend its own host instead of the one that the client
	// asked for.
	OwnHost bool
	// Rewrite turns the backend's own name in Location and in the Domain of
	// Set-Cookie into what the client asked for.
	Rewrite bool
	// Parameters sends it a path with what stands behind semicolons, where that
	// has no part in routing.
	Parameters bool
	// BodyMethod says that it may take the method of a POST from its body.
	BodyMethod bool
}

// rewrite returns the value of an answer's field as the client gets it.
func (f *flight) rewrite(name, value string) string {
	return rewriteField(name, value, f.target.Hosts(), f.from.scheme(), f.asked.host)
}

// rewriteHeader does the same over net/http.
func (f *flight) rewriteHeader(h http.Header) {
	for name, values := range h {
		for i, value := range values {
			values[i] = f.rewrite(name, value)
		}
	}
}

// rewriteField turns a backend's own name, that of any of its endpoints, into
// what the client asked for.
func rewriteField(name, value string, backend []*url.URL, scheme, host string) string {
	switch {
	case http1.SameName(name, "Location") || http1.SameName(name, "Content-Location"):
		u, err := url.Parse(value)
		if err != nil || u.Host == "" {
			return value
		}
		for _, own := range backend {
			if strings.EqualFold(withPort(u.Host, u.Scheme, own.Scheme), withPort(own.Host, own.Scheme, own.Scheme)) {
				return scheme + "://" + host + value[strings.Index(value, u.Host)+len(u.Host):]
			}
		}
	case http1.SameName(name, "Set-Cookie"):
		for _, own := range backend {
			value = withoutDomain(value, own.Hostname())
		}
	}
	return value
}

// withPort returns a host with its port, which may be that of its scheme; one
// that is given without a scheme has that of the backend.
func withPort(host, scheme, otherwise string) string {
	if scheme == "" {
		scheme = otherwise
	}
	if bare := (&url.URL{Host: host}); bare.Port() != "" {
		return host
	}
	if strings.EqualFold(scheme, "https") {
		return host + ":443"
	}
	return host + ":80"
}

// withoutDomain leaves out a cookie's Domain if it is the backend's own: the
// cookie is then the host's that the client asked for.
func withoutDomain(cookie, domain string) string {
	parts := strings.Split(cookie, ";")
	kept := parts[:1]
	for _, part := range parts[1:] {
		key, value, _ := strings.Cut(strings.TrimSpace(part), "=")
		if !strings.EqualFold(key, "Domain") || !strings.EqualFold(strings.TrimPrefix(value, "."), domain) {
			kept = append(kept, part)
		}
	}
	return strings.Join(kept, ";")
}
