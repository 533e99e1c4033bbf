package proxy

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"stranglerfig/strangler-proxy/http1"
	"stranglerfig/strangler-proxy/route"
)

// methodFields are those by which a client may ask a framework to take a request
// for one of another method.
var methodFields = [...]string{"X-HTTP-Method-Override", "X-HTTP-Method", "X-Method-Override"}

// pathFields are those by which rewriting servers tell what was asked for, which
// frameworks that stand behind such ones take for the path.
var pathFields = [...]string{"X-Original-URL", "X-Rewrite-URL"}

// disguisedError is the error of a request that its owner may take for another
// one, which is of another route.
type disguisedError struct{ reason, text string }

func (e *disguisedError) Error() string { return e.text }

// undisguised refuses a request whose owner may take it for one of another
// method or path, where that one would have another owner.
func (f *flight) undisguised() error {
	methods, targets := f.disguises()
	if err := f.plainly(methods, "the method"); err != nil {
		return err
	}
	if f.mayHideMethod() {
		if err := f.plainly(f.obeyed.Table.Writing(), "the method that the body may name"); err != nil {
			return err
		}
	}
	for _, target := range targets {
		if err := f.notElsewhere(target); err != nil {
			return err
		}
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
			return &disguisedError{"method-override", fmt.Sprintf("%s could be read as %s, which is route %q", said, method, other.ID)}
		}
	}
	return nil
}

// notElsewhere refuses a request that could be read as one for another target,
// where that has another owner.
func (f *flight) notElsewhere(target string) error {
	q := f.question()
	path, query, _ := strings.Cut(target, "?")
	path, err := route.Canonical(path)
	if err == nil {
		q.Query = query
		q.Path, _, err = f.obeyed.Table.Normal(path)
	}
	var other *route.Route
	if err == nil {
		other, err = f.obeyed.Table.Lookup(q)
	}
	switch {
	case err != nil:
		return &disguisedError{"path-override", "a field names another path: " + err.Error()}
	case route.Alike(f.route, f.asked.method, other, f.asked.method):
		return nil
	case other == nil:
		return &disguisedError{"path-override", fmt.Sprintf("a field names another path, %s, which meets no route", q.Path)}
	}
	return &disguisedError{"path-override", fmt.Sprintf("a field names another path, which is route %q", other.ID)}
}

// isPost reports whether a server may take the request for a POST: some read
// methods in whatever case.
func (f *flight) isPost() bool {
	return f.asked.method == http.MethodPost || strings.EqualFold(f.asked.method, http.MethodPost)
}

// mayHideMethod reports whether the request's body may name another method to
// who answers it. The body is not looked at: it comes later, where the name
// stands depends on its kind, and who wants to hide it writes much in front.
func (f *flight) mayHideMethod() bool {
	m := f.obeyed.Manners
	if len(m) == 0 || f.asked.length == 0 || !f.isPost() {
		return false
	}
	return m[f.obeyed.Monolith].BodyMethod || f.route != nil && m[f.obeyed.Capabilities[f.route.Capability].Service].BodyMethod
}

// disguises lists the methods and the targets that a request may be taken for
// besides its own.
func (f *flight) disguises() (methods, targets []string) {
	add := func(value string) {
		if method := strings.ToUpper(strings.TrimSpace(value)); method != "" && method != f.asked.method {
			methods = append(methods, method)
		}
	}
	add(f.asked.method) // as it is read by those who turn it into capitals
	fields := f.asked.fields.All()
	for i := range fields.Fields() {
		name, value := fields.Field(i)
		if len(name) < len("X-HTTP-Method") || name[0]|0x20 != 'x' {
			continue
		}
		for _, field := range methodFields {
			if http1.SpellsLike(name, field) {
				add(value)
			}
		}
		for _, field := range pathFields {
			if http1.SpellsLike(name, field) && strings.TrimSpace(value) != "" {
				targets = append(targets, targetOf(strings.TrimSpace(value)))
			}
		}
	}
	if f.asked.query != "" && f.isPost() {
		for pair := range strings.FieldsFuncSeq(f.asked.query, func(c rune) bool { return c == '&' || c == ';' }) {
			name, value, _ := strings.Cut(pair, "=")
			if route.MayName(name, "_method") {
				if value, err := url.QueryUnescape(value); err == nil {
					add(value)
				}
			}
		}
	}
	return methods, targets
}

// targetOf returns what a field says of a target, a URL or a path, from the path
// on.
func targetOf(said string) string {
	if _, rest, absolute := strings.Cut(said, "://"); absolute && !strings.HasPrefix(said, "/") {
		slash := strings.IndexByte(rest, '/')
		if slash < 0 {
			return "/"
		}
		return rest[slash:]
	}
	if !strings.HasPrefix(said, "/") {
		return "/" + said
	}
	return said
}
