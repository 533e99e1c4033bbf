package route

import (
	"errors"
	"fmt"
	"slices"
	"sort"
	"strings"
)

// Route is one declared route of a capability.
type Route struct {
	// ID is the route as it was declared, "GET /invoices/{id}".
	ID         string
	Capability string
	Owner      Owner // what the proxy obeys
	Writes     bool
	// EncodedSlash admits %2F within a path segment.
	EncodedSlash bool
	Line         int // in the file it was declared in

	method, host string
	segments     []segment
}

// segment is one part of a pattern: a literal, {name}, or {name...}.
type segment struct {
	text string // canonical, for a literal
	kind segmentKind
}

type segmentKind uint8

const (
	literal segmentKind = iota
	single
	rest
)

// Problem is something a set of routes has wrong.
type Problem struct {
	Line int
	Text string
	Hint string
}

// Parse reads a declaration "[METHOD ][HOST]/PATH" in the syntax of Go's
// http.ServeMux. Writes is set by the method: all but GET, HEAD and OPTIONS.
func Parse(id string) (Route, error) {
	r := Route{ID: strings.Join(strings.Fields(id), " ")}
	target := r.ID
	if method, after, ok := strings.Cut(r.ID, " "); ok {
		r.method, target = method, after
		if method != strings.ToUpper(method) {
			return r, fmt.Errorf("route %q: the method is written in capitals, such as GET", id)
		}
		if strings.Trim(method, "ABCDEFGHIJKLMNOPQRSTUVWXYZ-_") != "" {
			return r, fmt.Errorf("route %q: %q is not a method", id, method)
		}
	}
	slash := strings.IndexByte(target, '/')
	if slash < 0 || strings.ContainsRune(target[:slash], ' ') {
		return r, fmt.Errorf("route %q: expected \"METHOD /path\", such as \"GET /invoices/{id}\"", id)
	}
	r.host = strings.ToLower(target[:slash])
	if r.host != bareHost(r.host) || strings.ContainsAny(r.host, "{}") {
		return r, fmt.Errorf("route %q: %q is not a host: write a name without a port", id, r.host)
	}
	r.Writes = !Reads(r.method)
	segments, err := parsePattern(target[slash:])
	if err != nil {
		return r, fmt.Errorf("route %q: %w", id, err)
	}
	r.segments = segments
	return r, nil
}

// Reads reports whether a method only reads. A route without a method counts
// as writing.
func Reads(method string) bool { return method == "GET" || method == "HEAD" || method == "OPTIONS" }

func parsePattern(path string) ([]segment, error) {
	var all []segment
	names := map[string]bool{}
	parts := strings.Split(path[1:], "/")
	for i, part := range parts {
		last := i == len(parts)-1
		switch {
		case part == "" && last:
			all = append(all, segment{kind: rest}) // "/files/" is everything below
		case part == "":
			return nil, errors.New("an empty segment: write / once")
		case part == "{$}" && last:
			all = append(all, segment{kind: literal})
		case strings.HasPrefix(part, "{") && strings.HasSuffix(part, "}"):
			name, many := strings.CutSuffix(part[1:len(part)-1], "...")
			if name == "" || strings.ContainsAny(name, "{}.$") {
				return nil, fmt.Errorf("%q is not a wildcard: write {name} or, at the end, {name...}", part)
			}
			if names[name] {
				return nil, fmt.Errorf("wildcard {%s} appears twice", name)
			}
			names[name] = true
			if many && !last {
				return nil, fmt.Errorf("{%s...} must be the last segment", name)
			}
			kind := single
			if many {
				kind = rest
			}
			all = append(all, segment{kind: kind})
		case strings.ContainsAny(part, "{}"):
			return nil, fmt.Errorf("%q mixes text and a wildcard: a wildcard is a whole segment", part)
		default:
			text, err := Canonical("/" + part)
			if err != nil {
				return nil, err
			}
			if text == "/" {
				return nil, fmt.Errorf("%q is a dot segment, which no request keeps", part)
			}
			all = append(all, segment{text: text[1:]})
		}
	}
	return all, nil
}

// Profile says which differences in a path the backends do not see.
type Profile struct {
	SameTrailingSlash bool // /a/ is /a
	SameCase          bool // /A is /a
}

// apply brings a canonical path into the form that the table is keyed by.
func (p Profile) apply(path string) string {
	if p.SameCase {
		path = strings.ToLower(path)
	}
	if p.SameTrailingSlash && len(path) > 1 {
		path = strings.TrimSuffix(path, "/")
	}
	return path
}

// segments brings a pattern into the form that the table is keyed by.
func (p Profile) segments(all []segment) []segment {
	out := slices.Clone(all)
	for i, s := range out {
		if s.kind == literal && p.SameCase {
			out[i].text = strings.ToLower(s.text)
		}
	}
	if last := len(out) - 1; p.SameTrailingSlash && last > 0 && out[last] == (segment{kind: literal}) {
		out = out[:last] // "/a/{$}" is "/a"
	}
	return out
}

// Table is a compiled, immutable set of routes. Looking up costs one step for
// each path segment, whatever the number of routes.
type Table struct {
	profile Profile
	hosts   map[string]*node
	routes  []*Route
}

// node is a place in the tree of segments.
type node struct {
	literals map[string]*node
	single   *node
	here     []*Route // routes that end here
	rest     []*Route // routes that end in {name...} here
	bare     []*Route // those of rest that meet the path without its slash too
}

// Compile builds a table, or returns every problem: routes that are declared
// twice, and pairs that meet the same request with neither being narrower.
func Compile(routes []Route, profile Profile) (*Table, []Problem) {
	t := &Table{profile: profile, hosts: map[string]*node{}}
	for i := range routes {
		r := routes[i]
		r.segments = profile.segments(r.segments)
		t.routes = append(t.routes, &r)
		t.insert(&r)
	}
	if problems := conflicts(t.routes); len(problems) > 0 {
		return nil, problems
	}
	return t, nil
}

func (t *Table) insert(r *Route) {
	n := t.hosts[r.host]
	if n == nil {
		n = &node{}
		t.hosts[r.host] = n
	}
	for _, s := range r.segments {
		switch s.kind {
		case rest:
			n.rest = append(n.rest, r)
			if t.profile.SameTrailingSlash {
				n.bare = n.rest
			}
			return
		case single:
			if n.single == nil {
				n.single = &node{}
			}
			n = n.single
		default:
			if n.literals == nil {
				n.literals = map[string]*node{}
			}
			if n.literals[s.text] == nil {
				n.literals[s.text] = &node{}
			}
			n = n.literals[s.text]
		}
	}
	n.here = append(n.here, r)
}

// Routes returns the routes in the order they were declared.
func (t *Table) Routes() []*Route { return t.routes }

// Lookup finds the narrowest route of a request by its canonical path; nil
// where nothing is declared. The error names a path that one stack would read
// as a declared route and another would not.
func (t *Table) Lookup(method, host, path string) (*Route, error) {
	r := t.find(method, host, path)
	if !ambiguous(path) {
		return r, nil
	}
	admitted := r != nil && r.EncodedSlash
	if r != nil && !admitted && strings.Contains(path, "%2F") {
		return nil, fmt.Errorf("an escaped slash is ambiguous on route %q; the route may admit it with encoded_slash: true", r.ID)
	}
	for _, reading := range Readings(path, admitted) {
		if other := t.find(method, host, reading); other != nil && other != r {
			return nil, fmt.Errorf("the path could be read as %s, which is route %q", reading, other.ID)
		}
	}
	return r, nil
}

func (t *Table) find(method, host, path string) *Route {
	path = t.profile.apply(path)
	if len(t.hosts) > 1 || t.hosts[""] == nil {
		if n := t.hosts[bareHost(host)]; n != nil {
			if r := n.find(method, path[1:]); r != nil {
				return r
			}
		}
	}
	if n := t.hosts[""]; n != nil {
		return n.find(method, path[1:])
	}
	return nil
}

func bareHost(host string) string {
	host = strings.ToLower(host)
	if i := strings.LastIndexByte(host, ':'); i >= 0 && !strings.HasSuffix(host, "]") {
		host = host[:i]
	}
	return strings.TrimSuffix(host, ".")
}

// find walks the tree, literals before wildcards, stepping back where a way
// ends without a route for the method.
func (n *node) find(method, path string) *Route {
	head, tail, more := strings.Cut(path, "/")
	for _, next := range [...]*node{n.literals[head], n.single} {
		if next == nil || (next == n.single && head == "") {
			continue
		}
		if more {
			if r := next.find(method, tail); r != nil {
				return r
			}
		} else if r := forMethod(next.here, method); r != nil {
			return r
		} else if r := forMethod(next.bare, method); r != nil {
			return r
		}
	}
	return forMethod(n.rest, method)
}

// forMethod picks the route of a method: its own, GET for HEAD, or any.
func forMethod(routes []*Route, method string) *Route {
	var head, any *Route
	for _, r := range routes {
		switch {
		case r.method == method:
			return r
		case r.method == "GET" && method == "HEAD":
			head = r
		case r.method == "":
			any = r
		}
	}
	if head != nil {
		return head
	}
	return any
}

// conflicts compares the routes pairwise within groups that can meet at all.
func conflicts(routes []*Route) []Problem {
	var problems []Problem
	groups := map[string][]*Route{}
	var wild []*Route
	for _, r := range routes {
		against := wild
		if r.segments[0].kind == literal {
			against = append(append([]*Route(nil), wild...), groups[r.segments[0].text]...)
			groups[r.segments[0].text] = append(groups[r.segments[0].text], r)
		} else {
			against = routes[:indexOf(routes, r)]
			wild = append(wild, r)
		}
		for _, other := range against {
			if clash(r, other) {
				problems = append(problems, Problem{
					Line: r.Line,
					Text: fmt.Sprintf("route %q conflicts with %q (line %d): some requests meet both and neither is narrower", r.ID, other.ID, other.Line),
					Hint: "remove one of them, or make one narrower",
				})
			}
		}
	}
	sort.SliceStable(problems, func(i, j int) bool { return problems[i].Line < problems[j].Line })
	return problems
}

func indexOf(routes []*Route, r *Route) int {
	for i, have := range routes {
		if have == r {
			return i
		}
	}
	return len(routes)
}

// relation of two sets of requests.
type relation uint8

const (
	equal relation = iota
	narrower
	wider
	disjoint
	overlapping
)

// clash reports whether two routes meet a common request with neither being
// narrower, by the precedence rules of http.ServeMux.
func clash(a, b *Route) bool {
	if a.host != b.host {
		return false // a host is narrower than none; two hosts never meet
	}
	switch paths := relatePaths(a.segments, b.segments); paths {
	case disjoint:
		return false
	default:
		both := combine(paths, relateMethods(a.method, b.method))
		return both == equal || both == overlapping
	}
}

func relateMethods(a, b string) relation {
	switch {
	case a == b:
		return equal
	case a == "" || a == "GET" && b == "HEAD":
		return wider
	case b == "" || b == "GET" && a == "HEAD":
		return narrower
	}
	return disjoint
}

func combine(a, b relation) relation {
	switch {
	case a == disjoint || b == disjoint:
		return disjoint
	case a == equal:
		return b
	case b == equal || a == b:
		return a
	}
	return overlapping
}

func relatePaths(a, b []segment) relation {
	result := equal
	for i := 0; ; i++ {
		switch {
		case i == len(a) && i == len(b):
			return result
		case i < len(a) && a[i].kind == rest && i < len(b) && b[i].kind == rest:
			return result
		case i < len(a) && a[i].kind == rest && i < len(b):
			return combine(result, wider)
		case i < len(b) && b[i].kind == rest && i < len(a):
			return combine(result, narrower)
		case i >= len(a) || i >= len(b):
			return disjoint
		}
		switch {
		case a[i].kind == single && b[i].kind == single:
		case a[i] == (segment{kind: literal}) != (b[i] == segment{kind: literal}):
			return disjoint // {$} is nothing, a wildcard is something
		case a[i].kind == single:
			result = combine(result, wider)
		case b[i].kind == single:
			result = combine(result, narrower)
		case a[i].text != b[i].text:
			return disjoint
		}
	}
}
