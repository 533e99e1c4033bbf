package route

import (
	"fmt"
	"strings"
)

// Request is what a lookup needs of a request.
type Request struct {
	Method, Host string
	Path         string // canonical
	Query        string // as it was sent
	Header       Header // nil: it has no fields
}

// Lookup finds the narrowest route of a request; nil where nothing is declared.
// The error names what one stack would read as a declared route and another
// would not: of the path, or of what predicates ask for.
func (t *Table) Lookup(q Request) (*Route, error) {
	s := search{Table: t, request: q}
	return s.lookup()
}

// Explain does what Lookup does, and says which routes were passed over because
// the request lacks what they ask for.
func (t *Table) Explain(q Request) (r *Route, passed []string, err error) {
	s := search{Table: t, request: q, passed: &passed}
	r, err = s.lookup()
	return r, passed, err
}

// search is one lookup under way.
type search struct {
	*Table
	request Request
	marks   uint8     // of its path
	doubt   error     // why it cannot be told which route is met; the search ends with it
	passed  *[]string // where to say which routes were passed over; nil: nowhere
}

func (s *search) lookup() (*Route, error) {
	q := &s.request
	m := marks(q.Path)
	s.marks = m
	r := s.find(q.Path)
	if s.doubt != nil {
		return nil, s.doubt
	}
	if r != nil && s.profile.Case == Refuse && (m&upper != 0 || r.capitals) && !r.spells(q.Path) {
		return nil, couldBeRead(r.inItsCase(q.Path), r)
	}
	if !s.ambiguous(m) {
		return r, nil
	}
	admitted := r != nil && r.EncodedSlash
	if r != nil && !admitted && m&encoded != 0 && s.profile.EncodedSlash == Refuse {
		return nil, fmt.Errorf("an escaped slash is ambiguous on route %q; the route may admit it with encoded_slash: true", r.ID)
	}
	for i, reading := range s.readings(q.Path, admitted) {
		if i > 0 {
			if other := s.find(reading); other != r {
				return nil, couldBeRead(reading, other)
			}
		}
		if turned := s.turned(reading); turned != "" {
			if other := s.find(turned); other != nil && other != r && s.doubtsEnd(r, other) {
				return nil, couldBeRead(turned, other)
			}
		}
		if s.doubt != nil {
			return nil, s.doubt
		}
	}
	return r, nil
}

// doubtsEnd reports whether a path that meets a route, or none, may not be read
// as one with another end, which meets another route: where that one says more
// about the path. Where the two are declared alike but for their end, whoever
// declared them tells them apart.
func (s *search) doubtsEnd(r, other *Route) bool {
	return r == nil || !twins(r, other) && saysMore(other, r)
}

func couldBeRead(as string, r *Route) error {
	if r == nil {
		return fmt.Errorf("the path could be read as %s, which meets no route", as)
	}
	return fmt.Errorf("the path could be read as %s, which is route %q", as, r.ID)
}

// ambiguous reports whether a path has other readings, by its marks.
func (s *search) ambiguous(m uint8) bool {
	p := s.profile
	return m&doubled != 0 && p.DoubleSlash == Refuse || m&encoded != 0 && p.EncodedSlash == Refuse ||
		m&parameter != 0 && p.Parameters == Refuse || m&hidden != 0 && p.Parameters != Distinct ||
		(m&trailing != 0 || s.slashed) && p.TrailingSlash == Refuse
}

func (s *search) find(path string) *Route {
	path = s.profile.apply(path, s.marks&upper != 0)
	if len(s.hosts) > 0 {
		if root, ok := s.hosts[bareHost(s.request.Host)]; ok {
			if r := s.walk(root, path[1:]); r != nil || s.doubt != nil {
				return r
			}
		}
	}
	if s.anywhere == none {
		return nil
	}
	return s.walk(s.anywhere, path[1:])
}

func bareHost(host string) string {
	host = strings.ToLower(host)
	if i := strings.LastIndexByte(host, ':'); i >= 0 && !strings.HasSuffix(host, "]") {
		host = host[:i]
	}
	return strings.TrimSuffix(host, ".")
}

// walk follows a path from a node, literals before wildcards, stepping back
// where a way ends without a route for the request.
func (s *search) walk(at int32, path string) *Route {
	n := &s.nodes[at]
	head := path
	if slash := strings.IndexByte(path, '/'); slash >= 0 {
		head = path[:slash]
	}
	if n.literals {
		if to, ok := s.literal(at, head); ok {
			if r := s.step(to, len(head), path[len(head):]); r != nil || s.doubt != nil {
				return r
			}
		}
	}
	if n.single.to != 0 && head != "" {
		if r := s.step(n.single, 0, path[len(head):]); r != nil || s.doubt != nil {
			return r
		}
	}
	return s.first(n.rest)
}

// step goes on from a place with what is left of the path, its slash included.
// The place's text begins with so many bytes that are behind.
func (s *search) step(p place, behind int, left string) *Route {
	if p.to < 0 {
		if !s.meets(s.words(p)[behind:], left) {
			return nil
		}
		return s.first(^p.to)
	}
	if left != "" {
		return s.walk(p.to, left[1:])
	}
	n := &s.nodes[p.to]
	if r := s.first(n.here); r != nil || s.doubt != nil {
		return r
	}
	if s.profile.TrailingSlash == Same {
		return s.first(n.rest)
	}
	return nil
}

// first picks the first of the routes at the end of a path that meets the
// request: they stand in the order of precedence.
func (s *search) first(at int32) *Route {
	if at != none && s.routes[at].fan != 0 && s.passed == nil {
		return s.among(&s.fanned[s.routes[at].fan-1])
	}
	for at != none {
		r := &s.routes[at]
		if s.meet(r) {
			return r
		}
		if s.doubt != nil {
			return nil
		}
		at = r.next
	}
	return nil
}

// meet reports whether a route meets the request, whose path it has.
func (s *search) meet(r *Route) bool {
	return takes(r.method, s.request.Method) && (len(r.predicates) == 0 || s.holds(r))
}

// takes reports whether a route of a method meets requests of another.
func takes(declared, method string) bool {
	return declared == method || declared == "" || declared == "GET" && method == "HEAD"
}

// literal finds where a literal segment leads from a node.
func (t *Table) literal(from int32, segment string) (place, bool) {
	hash := hashOf(t.seed, from, segment)
	mask := len(t.edges) - 1
	for i := int(hash) & mask; t.edges[i].to != 0; i = (i + 1) & mask {
		e := &t.edges[i]
		if e.hash == hash && e.from == from && t.label(e.place) == segment {
			return e.place, true
		}
	}
	return place{}, false
}

// Before the text of a place stand the lengths of its literal and of all of it.
const lengths = 4

// label returns the literal segment that leads to a place.
func (t *Table) label(p place) string {
	text := t.text[p.text:]
	n := int(text[0]) | int(text[1])<<8
	return text[lengths : lengths+n]
}

// words returns the text of a place.
func (t *Table) words(p place) string {
	text := t.text[p.text:]
	n := int(text[2]) | int(text[3])<<8
	return text[lengths : lengths+n]
}

// meets reports whether what is left of a path meets what is left of a way.
func (t *Table) meets(way, path string) bool {
	at := 0
	for i := 0; i < len(way); i++ {
		switch c := way[i]; {
		case c == anyRest:
			return true
		case c == anySegment:
			before := at
			for at < len(path) && path[at] != '/' {
				at++
			}
			if at == before {
				return false // nothing is no segment that a wildcard takes
			}
		case at == len(path):
			return t.profile.TrailingSlash == Same && way[i:] == "/"+string(anyRest)
		case path[at] != c:
			return false
		default:
			at++
		}
	}
	return at == len(path)
}
