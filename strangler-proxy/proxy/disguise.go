package proxy

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"stranglerfig/strangler-proxy/http1"
	"stranglerfig/strangler-proxy/route"
)

// overrides are the fields by which a client may ask a framework to take a
// request for one of another method.
var overrides = [...]string{"X-HTTP-Method-Override", "X-HTTP-Method", "X-Method-Override"}

// disguisedError is the error of a request that its owner may take for one of
// another method, which another route has.
type disguisedError struct{ text string }

func (e *disguisedError) Error() string { return e.text }

// undisguised refuses a request whose owner may take it for one of another
// method, where that one would have another owner.
func (f *flight) undisguised() error {
	for _, method := range f.otherMethods() {
		q := f.question()
		q.Method = method
		other, err := f.obeyed.Table.Lookup(q)
		if err != nil {
			return err
		}
		if other != nil && !f.treatsAlike(other, method) {
			return &disguisedError{fmt.Sprintf("the method could be read as %s, which is route %q", method, other.ID)}
		}
	}
	return nil
}

// treatsAlike reports whether the request is decided about as it would be if
// it were of another method and route.
func (f *flight) treatsAlike(other *route.Route, method string) bool {
	r := f.route
	return r == other || r != nil && r.Capability == other.Capability && r.Owner == other.Owner && r.WritesWith(f.asked.method) == other.WritesWith(method)
}

// otherMethods lists the methods that a request may be taken for besides its
// own.
func (f *flight) otherMethods() (all []string) {
	add := func(value string) {
		if method := strings.ToUpper(strings.TrimSpace(value)); method != "" && method != f.asked.method {
			all = append(all, method)
		}
	}
	fields := f.asked.fields.All()
	for i := range fields.Fields() {
		name, value := fields.Field(i)
		if len(name) < len("X-HTTP-Method") || name[0]|0x20 != 'x' {
			continue
		}
		for _, override := range overrides {
			if http1.SpellsLike(name, override) {
				add(value)
			}
		}
	}
	if f.asked.method == http.MethodPost && f.asked.query != "" {
		for pair := range strings.FieldsFuncSeq(f.asked.query, func(c rune) bool { return c == '&' || c == ';' }) {
			name, value, _ := strings.Cut(pair, "=")
			if route.MayName(name, "_method") {
				if value, err := url.QueryUnescape(value); err == nil {
					add(value)
				}
			}
		}
	}
	return all
}
