package route

import (
	"errors"
	"slices"
	"strings"
)

// Reading is how an application reads a difference between two paths.
type Reading uint8

// The readings.
const (
	// Refuse says that it is not known: a path that would meet another route if
	// it were read in the other way is refused.
	Refuse   Reading = iota
	Distinct         // the two are different paths
	Same             // the two are the same path
)

// Profile says how an application reads paths.
type Profile struct {
	TrailingSlash Reading // of /a/ and /a
	Case          Reading // of /A and /a; of letters in ASCII
	DoubleSlash   Reading // of /a//b and /a/b
	EncodedSlash  Reading // of /a%2Fb and /a/b
	Parameters    Reading // of /a;x and /a
}

// Beside returns the profile by which requests are routed that one application
// or another may get. What the first one, which had all of the paths before,
// takes for the same is brought into one form before either sees it. What it
// tells apart must be told apart by the other one as well.
func (p Profile) Beside(other Profile) Profile {
	for _, facet := range []struct {
		of *Reading
		by Reading
	}{
		{&p.TrailingSlash, other.TrailingSlash}, {&p.Case, other.Case}, {&p.DoubleSlash, other.DoubleSlash},
		{&p.EncodedSlash, other.EncodedSlash}, {&p.Parameters, other.Parameters},
	} {
		if *facet.of == Distinct && facet.by != Distinct {
			*facet.of = Refuse
		}
	}
	return p
}

// folds reports whether the table has its literals in lower case.
func (p Profile) folds() bool { return p.Case != Distinct }

// apply brings a normal path into the form that the table is keyed by.
func (p Profile) apply(path string, capitals bool) string {
	if capitals && p.folds() {
		path = strings.ToLower(path)
	}
	if p.TrailingSlash == Same {
		path = bare(path)
	}
	return path
}

// bare takes the slashes off the end of a path, but that of the root.
func bare(path string) string {
	for len(path) > 1 && path[len(path)-1] == '/' {
		path = path[:len(path)-1]
	}
	return path
}

// segments brings a pattern into the form that the table is keyed by.
func (p Profile) segments(all []segment) []segment {
	out := all
	if p.folds() {
		out = slices.Clone(all)
		for i := range out {
			out[i].text = strings.ToLower(out[i].text)
		}
	}
	if last := len(out) - 1; p.TrailingSlash == Same && last > 0 && out[last] == (segment{kind: literal}) {
		out = out[:last] // "/a/{$}" is "/a"
	}
	return out
}

// Marks of a path.
const (
	doubled   = 1 << iota // two slashes in a row
	encoded               // an escaped slash
	parameter             // a semicolon
	hidden                // an escaped one, which only some take for that
	upper                 // a letter in upper case
	trailing              // a slash at the end, of more than the root
)

// markOf is what a byte may mark a path with.
var markOf = func() (t [256]uint8) {
	for c := 'A'; c <= 'Z'; c++ {
		t[c] = upper
	}
	t[';'], t['%'] = parameter, encoded|hidden
	return t
}()

// marks returns what a canonical path has that applications read differently.
func marks(path string) (m uint8) {
	for i := 0; i < len(path); i++ {
		m |= markOf[path[i]]
	}
	if m&encoded != 0 {
		if !strings.Contains(path, "%2F") {
			m &^= encoded
		}
		if !strings.Contains(path, "%3B") {
			m &^= hidden
		}
	}
	if strings.Contains(path, "//") {
		m |= doubled
	}
	if len(path) > 1 && path[len(path)-1] == '/' {
		m |= trailing
	}
	return m
}

var errHidden = errors.New("what follows a semicolon in the path hides a dot segment or an empty one")

// Normal brings a canonical path into the one form of all that are the same to
// the applications. With is the same path with its parameters, for whoever
// takes them; they take no part in routing.
func (t *Table) Normal(path string) (normal, with string, err error) {
	p := t.profile
	if p.DoubleSlash != Same && p.EncodedSlash != Same && p.Parameters != Same {
		return path, path, nil
	}
	m := marks(path)
	if m&(doubled|encoded|parameter) == 0 {
		return path, path, nil
	}
	if p.EncodedSlash == Same {
		path = resolveDots(decodeSlashes(path))
	}
	if p.DoubleSlash == Same {
		path = mergeSlashes(path)
	}
	if p.Parameters != Same || m&parameter == 0 {
		return path, path, nil
	}
	segments := strings.Split(path[1:], "/")
	for i, s := range segments {
		name, _, has := strings.Cut(s, ";")
		if has && (name == "" || name == "." || name == "..") {
			return "", "", errHidden // no two stacks agree on what /..;/ is
		}
		segments[i] = name
	}
	return "/" + strings.Join(segments, "/"), path, nil
}

// Spell writes the path of a request as its route declares it, in what is the
// same to the applications: the case of its literals, the slash at its end.
// With the parameters that the path came with it goes to whoever takes those.
func (t *Table) Spell(r *Route, normal, with string) (path, withParameters string) {
	if r == nil || t.profile.Case != Same && t.profile.TrailingSlash != Same {
		return normal, with
	}
	path = normal
	if t.profile.TrailingSlash == Same {
		path = r.endsLike(path)
	}
	if t.profile.Case == Same {
		path = r.inItsCase(path)
	}
	if path == normal {
		return normal, with
	}
	if with == normal {
		return path, path
	}
	segments, parameters := strings.Split(path, "/"), strings.Split(with, "/")
	for i := range min(len(segments), len(parameters)) {
		if at := strings.IndexByte(parameters[i], ';'); at >= 0 {
			segments[i] += parameters[i][at:]
		}
	}
	return path, strings.Join(segments, "/")
}

// endsLike ends a path with a slash, or without one, as the route does.
func (r *Route) endsLike(path string) string {
	switch last := r.declared[len(r.declared)-1]; {
	case last.kind == rest || len(path) == 1:
		return path // any end is as it was declared
	case last == segment{kind: literal}:
		return strings.TrimSuffix(bare(path), "/") + "/"
	}
	return bare(path)
}

// inItsCase writes the literals of the route in a path as they were declared.
func (r *Route) inItsCase(path string) string {
	if r.spells(path) {
		return path
	}
	segments := strings.Split(path[1:], "/")
	for i, s := range r.declared {
		if s.kind == literal && i < len(segments) {
			segments[i] = s.text
		}
	}
	return "/" + strings.Join(segments, "/")
}

// spells reports whether the literals of the route stand in a path that meets
// it, whatever their case, as they were declared.
func (r *Route) spells(path string) bool {
	left := path[1:]
	for _, s := range r.declared {
		segment := left
		if slash := strings.IndexByte(left, '/'); slash >= 0 {
			segment, left = left[:slash], left[slash+1:]
		} else {
			left = ""
		}
		if s.kind == rest {
			return true
		}
		if s.kind == literal && segment != s.text {
			return false
		}
	}
	return true
}

// twins reports whether two routes are declared alike but for the slash at the
// end, so that whoever declared them tells the two apart.
func twins(a, b *Route) bool {
	short, long := a.segments, b.segments
	if len(short) > len(long) {
		short, long = long, short
	}
	if len(long) != len(short)+1 || long[len(short)].kind == single || long[len(short)].text != "" {
		return false
	}
	for i, s := range short {
		if s.kind != long[i].kind || s.text != long[i].text {
			return false
		}
	}
	return true
}

// saysMore reports whether a route says more than another about the paths that
// meet it: at the first difference, a name more than a wildcard, and that more
// than everything below.
func saysMore(a, b *Route) bool {
	if (a.host == "") != (b.host == "") {
		return a.host != ""
	}
	for i := range min(len(a.declared), len(b.declared)) {
		if a.declared[i].kind != b.declared[i].kind {
			return a.declared[i].kind < b.declared[i].kind
		}
	}
	return len(a.declared) > len(b.declared)
}
