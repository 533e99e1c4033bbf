package proxy

import (
	"net/http"
	"strings"

	"stranglerfig/strangler-proxy/route"
)

// How a tester's token comes with a request, and what became of it is told.
const (
	OverrideField  = "X-Strangler-Override"
	OverrideCookie = "strangler_override"
)

// readOverride reads a tester's token, if there is one. One that is not obeyed
// hurts nobody: the request is decided about as if it were not there.
func (f *flight) readOverride() {
	key := f.obeyed.OverrideKey
	if len(key) == 0 {
		return
	}
	token, inCookie := f.asked.fields.Header(OverrideField), f.asked.fields.Cookie(OverrideCookie)
	f.inCookie = inCookie != ""
	if token == "" {
		token = inCookie
	}
	if token == "" {
		return
	}
	o, err := route.ReadOverride(token, key, f.begun)
	switch {
	case err != nil:
		f.overridden = "ignored: " + err.Error()
	case f.route == nil || !o.Covers(f.route):
		f.overridden = "ignored: it is about another route"
	case f.route.WritesWith(f.asked.method):
		f.overridden = "ignored: a write goes to its owner"
	default:
		f.override = o.Side
		f.overridden = string(o.Side)
	}
}

// sayOverride is what whoever sent a token is told has become of it; "" where
// there was none.
func (f *flight) sayOverride() string {
	if f.override != "" && f.override != f.decision.Side {
		return "ignored: " + f.decision.Reason
	}
	return f.overridden
}

// withoutToken takes a tester's token out of the value of a Cookie field.
func withoutToken(cookies string) string {
	kept := make([]string, 0, 8)
	for pair := range strings.SplitSeq(cookies, ";") {
		if name, _, _ := strings.Cut(strings.TrimSpace(pair), "="); name != OverrideCookie {
			kept = append(kept, pair)
		}
	}
	return strings.TrimSpace(strings.Join(kept, ";"))
}

// hideToken takes it out of a header that is a map.
func hideToken(h http.Header) {
	var kept []string
	for _, cookies := range h["Cookie"] {
		if rest := withoutToken(cookies); rest != "" {
			kept = append(kept, rest)
		}
	}
	if delete(h, "Cookie"); len(kept) > 0 {
		h["Cookie"] = kept
	}
}
