package proxy

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
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

// mostDisguises is how many other methods a request may name, and how many other
// targets. Each is looked up, which many of them could make costly; nobody has
// use for more.
const mostDisguises = 8

// undisguised refuses a request whose owner may take it for one of another
// method or path, or of both, where that one would have another owner.
func (f *flight) undisguised() error {
	d := f.disguises()
	switch {
	case f.obeyed.Table.Len() == 0:
		return nil
	case len(d.methods) > mostDisguises:
		return &disguisedError{"method-override", fmt.Sprintf("it names more than %d other methods", mostDisguises)}
	case len(d.targets) > mostDisguises:
		return &disguisedError{"path-override", fmt.Sprintf("its fields name more than %d other paths", mostDisguises)}
	}
	var hidden []string
	if f.mayHideMethod() {
		hidden = f.obeyed.Table.Writing()
	}
	if q := f.question(); f.path != everything {
		if err := f.plainly(q, d.methods, hidden); err != nil {
			return err
		}
	}
	for _, target := range d.targets {
		q, err := f.notElsewhere(target)
		if err == nil {
			err = f.plainly(q, d.methods, hidden)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// plainly refuses a request that could be read as one of other methods, those
// that it names and those that its body may, where these have another owner.
func (f *flight) plainly(q route.Request, named, hidden []string) error {
	for i, method := range slices.Concat(named, hidden) {
		q.Method = method
		other, err := f.obeyed.Table.Lookup(q)
		if err != nil {
			return err
		}
		if other != nil && !route.Alike(f.route, f.asked.method, other, method) {
			said := "the method"
			if i >= len(named) {
				said = "the method that the body may name"
			}
			return &disguisedError{"method-override", fmt.Sprintf("%s could be read as %s, which is route %q", said, method, other.ID)}
		}
	}
	return nil
}

// notElsewhere refuses a request that could be read as one for another target,
// where that has another owner; otherwise it returns that request.
func (f *flight) notElsewhere(target string) (route.Request, error) {
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
		return q, &disguisedError{"path-override", "a field names another path: " + err.Error()}
	case route.Alike(f.route, f.asked.method, other, f.asked.method):
		return q, nil
	case other == nil:
		return q, &disguisedError{"path-override", fmt.Sprintf("a field names another path, %s, which meets no route", q.Path)}
	}
	return q, &disguisedError{"path-override", fmt.Sprintf("a field names another path, which is route %q", other.ID)}
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

// disguises are the methods and the targets that a request may be taken for
// besides its own, each of them once; of too many, one more than may be.
type disguises struct{ methods, targets []string }

func (f *flight) disguises() (d disguises) {
	d.method(f.asked.method, f.asked.method) // as it is read by those who turn it into capitals
	fields := f.asked.fields.All()
	for i := range fields.Fields() {
		name, value := fields.Field(i)
		if len(name) < len("X-HTTP-Method") || name[0]|0x20 != 'x' {
			continue
		}
		for _, field := range methodFields {
			if http1.SpellsLike(name, field) {
				for one := range strings.SplitSeq(value, ",") { // of which Express takes the first
					d.method(one, f.asked.method)
				}
			}
		}
		for _, field := range pathFields {
			if http1.SpellsLike(name, field) && strings.TrimSpace(value) != "" {
				addOnce(&d.targets, targetOf(strings.TrimSpace(value)))
			}
		}
	}
	if f.isPost() {
		d.parameters(f.asked.query, f.asked.method)
		for _, target := range d.targets {
			_, query, _ := strings.Cut(target, "?")
			d.parameters(query, f.asked.method)
		}
	}
	return d
}

// parameters adds the methods that a query names.
func (d *disguises) parameters(query, own string) {
	for pair := range strings.FieldsFuncSeq(query, func(c rune) bool { return c == '&' || c == ';' }) {
		name, value, _ := strings.Cut(pair, "=")
		if route.MayName(name, "_method") {
			if value, err := url.QueryUnescape(value); err == nil {
				d.method(value, own)
			}
		}
	}
}

// method adds a method, unless it is the request's own.
func (d *disguises) method(named, own string) {
	if method := strings.ToUpper(strings.TrimSpace(named)); method != "" && method != own {
		addOnce(&d.methods, method)
	}
}

// addOnce adds a text to a list that has neither it nor too many.
func addOnce(to *[]string, text string) {
	if len(*to) <= mostDisguises && !slices.Contains(*to, text) {
		*to = append(*to, text)
	}
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
