package route

import (
	"fmt"
	"slices"
)

// conflicts finds the pairs of routes that meet the same request with neither
// being narrower, at most mostConflicts of each route with earlier ones. A route
// is held only against those that the tree shows to meet it at all.
func (t *tree) conflicts(pause func()) []Problem {
	var problems []Problem
	m := meeting{tree: t}
	for i := range t.routes {
		r := &t.routes[i]
		m.of, m.before = int32(i), m.before[:0]
		m.walk(t.hosts[r.host], r.segments)
		slices.Sort(m.before)
		for _, at := range m.before {
			problems = append(problems, conflict(r, &t.routes[at]))
		}
		pause()
	}
	slices.SortStableFunc(problems, func(a, b Problem) int { return a.Line - b.Line })
	return problems
}

// mostConflicts bounds how much is said about a route. A pattern that is declared
// ten thousand times, as a generator may, has fifty million pairs.
const mostConflicts = 8

// conflict says what is wrong with two routes and what to do about it.
func conflict(r, other *Route) Problem {
	p := Problem{
		Line: r.Line,
		Text: fmt.Sprintf("route %q conflicts with %q (line %d): some requests meet both and neither is narrower", r.ID, other.ID, other.Line),
		Hint: "remove one of them, or make one narrower",
	}
	if len(r.predicates) > 0 && len(other.predicates) > 0 && meetAlike(r, other) == equal {
		p.Hint = "remove one of them, give one of them a predicate more, or let both ask for the same name with different values"
	}
	return p
}

// meeting finds the routes declared before one whose paths meet its own and
// that clash with it.
type meeting struct {
	*tree
	of     int32
	before []int32
}

func (m *meeting) walk(at int32, segments []segment) {
	b := &m.branches[at]
	if len(segments) == 0 {
		m.all(b.here)
		return
	}
	m.all(b.rest)
	s, after := segments[0], segments[1:]
	switch {
	case s.kind == rest:
		m.below(at)
		return
	case s.kind == literal:
		if next := m.literal(at, s.text); next != none {
			m.walk(next, after)
		}
		if s.text == "" {
			return // nothing is no segment that a wildcard takes
		}
	default:
		for next := b.child; next != none; next = m.branches[next].sibling {
			if m.branches[next].text != "" {
				m.walk(next, after)
			}
		}
	}
	if b.single != none {
		m.walk(b.single, after)
	}
}

// below finds every route that goes on from a branch.
func (m *meeting) below(at int32) {
	b := &m.branches[at]
	for next := b.child; next != none; next = m.branches[next].sibling {
		m.all(m.branches[next].here)
		m.all(m.branches[next].rest)
		m.below(next)
	}
	if b.single != none {
		m.all(m.branches[b.single].here)
		m.all(m.branches[b.single].rest)
		m.below(b.single)
	}
}

// all looks at the routes of a path, but for those that ask a name for another
// value than the route does, where they are filed by it.
func (m *meeting) all(first int32) {
	if first == none || !m.narrow(m.routes[first].fan) {
		for at := first; at != none && len(m.before) < mostConflicts; at = m.routes[at].next {
			m.hold(at)
		}
		return
	}
	f := &m.fanned[m.routes[first].fan-1]
	m.filed(f, f.plain)
	for i := range f.names {
		asked := asks(m.routes[m.of].predicates, f.names[i].ask)
		if at, some := f.names[i].values[asked.value]; some {
			m.filed(f, at)
		}
	}
}

// narrow reports whether the route asks for a value of every name that the
// routes of a fan are filed by.
func (m *meeting) narrow(fan int32) bool {
	return fan != 0 && !slices.ContainsFunc(m.fanned[fan-1].names, func(name filed) bool {
		return asks(m.routes[m.of].predicates, name.ask) == nil
	})
}

// filed looks at the routes of a fan that are filed under the same.
func (m *meeting) filed(f *fan, at int32) {
	for ; at != none && len(m.before) < mostConflicts; at = f.next[at] {
		m.hold(f.routes[at])
	}
}

// hold holds the route against another one.
func (m *meeting) hold(at int32) {
	if at < m.of && clash(&m.routes[m.of], &m.routes[at]) {
		m.before = append(m.before, at)
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
// narrower: by the precedence rules of http.ServeMux, and where these find no
// difference by the predicates.
func clash(a, b *Route) bool {
	if a.host != b.host {
		return false // a host is narrower than none; two hosts never meet
	}
	switch meetAlike(a, b) {
	case equal:
		return predicatesTie(a.predicates, b.predicates)
	case overlapping:
		return !apart(a.predicates, b.predicates)
	}
	return false
}

// meetAlike relates what two routes meet by path and method.
func meetAlike(a, b *Route) relation {
	return combine(relatePaths(a.segments, b.segments), relateMethods(a.method, b.method))
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
