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
	if err := f.plainly(f.otherMethods(), "the method"); err != nil {
		return err
	}
	if f.mayHideMethod() {
		return f.plainly(f.obeyed.Table.Writing(), "the method that the body may name")
	}
	return nil
}

// plainly refuses a request that could be read as one of other methods, where
// those have another owner.
func (f *flight) plainly(methods []string, said string) error {
	for _, method := range methods {
		q := f.question()
		q.Method = method
		other, err := f.obeyed.Table.Lookup(q)
		if err != nil {
			return err
		}
		if other != nil && !route.Alike(f.route, f.asked.method, other, method) {
			return &disguisedError{fmt.Sprintf("%s could be read as %s, which is route %q", said, method, other.ID)}
		}
	}
	return nil
}

// mayHideMethod reports whether the request's body may name another method to
// who answers it. The body is not looked at: it comes later, where the name
// stands depends on its kind, and who wants to hide it writes much in front.
func (f *flight) mayHideMethod() bool {
	m := f.obeyed.Manners
	if f.asked.method != http.MethodPost || f.asked.length == 0 || len(m) == 0 {
		return false
	}
	return m[f.obeyed.Monolith].BodyMethod || f.route != nil && m[f.obeyed.Capabilities[f.route.Capability].Service].BodyMethod
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
