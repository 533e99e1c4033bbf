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
	owned        string // see ownedBy; "" outside of a table
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
	hosts   map[string]int32 // the root of each host's tree
	nodes   []node
	edges   map[edge]int32 // all literal segments of all nodes, so that a step is one look into one map
	routes  []*Route
}

// node is a place in a tree of segments.
type node struct {
	single int32    // the node behind a wildcard; none: there is none
	here   []*Route // routes that end here
	rest   []*Route // routes that end in {name...} here
	bare   []*Route // those of rest that meet the path without its slash too
	leaf   bool     // no literal segment follows
}

// edge leads from a node to the next by a literal segment.
type edge struct {
	from int32
	text string
}

const none = -1

// Compile builds a table, or returns every problem: routes that are declared
// twice, and pairs that meet the same request with neither being narrower.
func Compile(routes []Route, profile Profile) (*Table, []Problem) {
	t := &Table{profile: profile, hosts: map[string]int32{}, edges: map[edge]int32{}}
	for i := range routes {
		r := routes[i]
		r.segments = profile.segments(r.segments)
		if side, whole := r.Owner.whole(); whole {
			r.owned = r.ownedBy(side)
		}
		t.routes = append(t.routes, &r)
		t.insert(&r)
	}
	if problems := t.conflicts(); len(problems) > 0 {
		return nil, problems
	}
	return t, nil
}

// add makes a node.
func (t *Table) add() int32 {
	t.nodes = append(t.nodes, node{single: none, leaf: true})
	return int32(len(t.nodes) - 1)
}

func (t *Table) insert(r *Route) {
	at, known := t.hosts[r.host]
	if !known {
		at = t.add()
		t.hosts[r.host] = at
	}
	for _, s := range r.segments {
		switch s.kind {
		case rest:
			n := &t.nodes[at]
			n.rest = append(n.rest, r)
			if t.profile.SameTrailingSlash {
				n.bare = n.rest
			}
			return
		case single:
			if t.nodes[at].single == none {
				next := t.add()
				t.nodes[at].single = next
			}
			at = t.nodes[at].single
		default:
			next, known := t.edges[edge{at, s.text}]
			if !known {
				next = t.add()
				t.edges[edge{at, s.text}] = next
				t.nodes[at].leaf = false
			}
			at = next
		}
	}
	n := &t.nodes[at]
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
	anywhere, declared := t.hosts[""]
	if len(t.hosts) > 1 || !declared {
		if root, ok := t.hosts[bareHost(host)]; ok {
			if r := t.walk(root, method, path[1:]); r != nil {
				return r
			}
		}
	}
	if declared {
		return t.walk(anywhere, method, path[1:])
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

// walk follows a path from a node, literals before wildcards, stepping back
// where a way ends without a route for the method.
func (t *Table) walk(at int32, method, path string) *Route {
	n := &t.nodes[at]
	head, tail, more := strings.Cut(path, "/")
	if !n.leaf {
		if next, ok := t.edges[edge{at, head}]; ok {
			if r := t.step(next, method, tail, more); r != nil {
				return r
			}
		}
	}
	if n.single != none && head != "" {
		if r := t.step(n.single, method, tail, more); r != nil {
			return r
		}
	}
	return forMethod(n.rest, method)
}

func (t *Table) step(next int32, method, tail string, more bool) *Route {
	if more {
		return t.walk(next, method, tail)
	}
	n := &t.nodes[next]
	if r := forMethod(n.here, method); r != nil {
		return r
	}
	return forMethod(n.bare, method)
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

// conflicts finds the pairs of routes that meet the same request with neither
// being narrower. A route is held only against those that the tree shows to
// meet it at all.
func (t *Table) conflicts() []Problem {
	var problems []Problem
	m := meeting{t: t, literals: map[int32][]int32{}}
	for e, to := range t.edges {
		if e.text != "" {
			m.literals[e.from] = append(m.literals[e.from], to)
		}
	}
	index := make(map[*Route]int, len(t.routes))
	for i, r := range t.routes {
		index[r] = i
		before := []*Route{}
		m.found = func(other *Route) {
			if at, earlier := index[other]; earlier && at < i && clash(r, other) {
				before = append(before, other)
			}
		}
		m.walk(t.hosts[r.host], r.segments)
		sort.Slice(before, func(a, b int) bool { return index[before[a]] < index[before[b]] })
		for _, other := range before {
			problems = append(problems, Problem{
				Line: r.Line,
				Text: fmt.Sprintf("route %q conflicts with %q (line %d): some requests meet both and neither is narrower", r.ID, other.ID, other.Line),
				Hint: "remove one of them, or make one narrower",
			})
		}
	}
	sort.SliceStable(problems, func(i, j int) bool { return problems[i].Line < problems[j].Line })
	return problems
}

// meeting finds the routes whose paths meet those of a pattern.
type meeting struct {
	t        *Table
	literals map[int32][]int32 // what follows a node by a literal segment that is not empty
	found    func(*Route)
}

func (m *meeting) walk(at int32, segments []segment) {
	n := &m.t.nodes[at]
	if len(segments) == 0 {
		m.all(n.here)
		return
	}
	m.all(n.rest)
	s, after := segments[0], segments[1:]
	switch {
	case s.kind == rest:
		m.below(at)
		return
	case s.kind == literal:
		if next, ok := m.t.edges[edge{at, s.text}]; ok {
			m.walk(next, after)
		}
		if s.text == "" {
			return // nothing is no segment that a wildcard takes
		}
	default:
		for _, next := range m.literals[at] {
			m.walk(next, after)
		}
	}
	if n.single != none {
		m.walk(n.single, after)
	}
}

// below finds every route that goes on from a node.
func (m *meeting) below(at int32) {
	next := m.literals[at]
	if empty, ok := m.t.edges[edge{at, ""}]; ok {
		next = append(slices.Clip(next), empty)
	}
	if single := m.t.nodes[at].single; single != none {
		next = append(slices.Clip(next), single)
	}
	for _, n := range next {
		m.all(m.t.nodes[n].here)
		m.all(m.t.nodes[n].rest)
		m.below(n)
	}
}

func (m *meeting) all(routes []*Route) {
	for _, r := range routes {
		m.found(r)
	}
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
