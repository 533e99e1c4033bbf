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
}

// rewrite returns the value of an answer's field as the client gets it.
func (f *flight) rewrite(name, value string) string {
	return rewriteField(name, value, f.target.URL, f.from.scheme(), f.asked.host)
}

// rewriteHeader does the same over net/http.
func (f *flight) rewriteHeader(h http.Header) {
	for name, values := range h {
		for i, value := range values {
			values[i] = f.rewrite(name, value)
		}
	}
}

// rewriteField turns a backend's own name into what the client asked for.
func rewriteField(name, value string, backend *url.URL, scheme, host string) string {
	switch {
	case http1.SameName(name, "Location") || http1.SameName(name, "Content-Location"):
		if u, err := url.Parse(value); err == nil && u.Host != "" && strings.EqualFold(u.Host, backend.Host) {
			return scheme + "://" + host + value[strings.Index(value, u.Host)+len(u.Host):]
		}
	case http1.SameName(name, "Set-Cookie"):
		return withoutDomain(value, backend.Hostname())
	}
	return value
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
