package route

import (
	"slices"
	"strings"
)

// Routes of one path that ask for values are found by the value where there are
// many of them, and not one after the other: that would cost each request of
// the path as many looks as there are routes.
//
// A route is filed under one of the values that it asks for. Of a request all
// is looked up that some server could take for such a value, by the very code
// that predicates are judged with, so that what is left out is what does not
// meet the request whoever reads it. What was found is then judged as ever, in
// the order of precedence.

// manyAsking is from how many routes of a path that ask for values they are filed.
const manyAsking = 6

// longestFiled is how long a value that a route is filed under may be.
const longestFiled = 128

// fan is the routes of one path, filed.
type fan struct {
	routes []int32 // in the order of precedence; the rest speaks of places in it
	next   []int32 // the next one that is filed under the same, or none
	plain  int32   // the first of those that are filed under nothing, or none
	names  []filed
}

// filed is the routes of a fan that ask one name for a value.
type filed struct {
	ask    predicate // without a value
	values map[string]int32
}

// file makes the fan of a path, of whose routes the first one knows it, unless
// it has few.
func (t *tree) file(routes []int32) {
	times := map[predicate]int{} // that a value is asked for
	asking := 0
	for _, at := range routes {
		predicates := t.routes[at].predicates
		for _, p := range predicates {
			if p.equal {
				times[p]++
			}
		}
		if values(predicates) > 0 {
			asking++
		}
	}
	if asking < manyAsking {
		return
	}
	f := fan{routes: slices.Clone(routes), next: make([]int32, len(routes)), plain: none}
	for at := len(routes) - 1; at >= 0; at-- {
		f.file(int32(at), rarest(t.routes[routes[at]].predicates, times))
	}
	t.fanned = append(t.fanned, f)
	t.routes[routes[0]].fan = int32(len(t.fanned))
}

// rarest returns the predicate that the fewest routes share with this one; nil
// where it asks for no value that routes are filed under.
func rarest(all []predicate, times map[predicate]int) *predicate {
	var best *predicate
	for i := range all {
		p := &all[i]
		if p.equal && len(p.value) <= longestFiled && (best == nil || times[*p] < times[*best]) {
			best = p
		}
	}
	return best
}

// file puts a route before those that are filed under the same.
func (f *fan) file(at int32, under *predicate) {
	if under == nil {
		f.next[at], f.plain = f.plain, at
		return
	}
	ask := predicate{of: under.of, name: under.name}
	i := 0
	for i < len(f.names) && f.names[i].ask != ask {
		i++
	}
	if i == len(f.names) {
		f.names = append(f.names, filed{ask, map[string]int32{}})
	}
	after, some := f.names[i].values[under.value]
	if !some {
		after = none
	}
	f.next[at], f.names[i].values[under.value] = after, at
}

// among picks the first of the routes of a fan that meets the request.
func (s *search) among(f *fan) *Route {
	plain := f.plain
	for after := int32(none); ; {
		found := candidates{fan: f, after: after}
		for i := range f.names {
			found.name = &f.names[i]
			seen := sighting{want: &found.name.ask, into: &found}
			seen.look(&s.request)
		}
		for _, at := range found.list[:found.n] {
			r := s.before(at, f, &plain)
			if r == nil && s.doubt == nil && s.meet(&s.routes[f.routes[at]]) {
				r = &s.routes[f.routes[at]]
			}
			if r != nil || s.doubt != nil {
				return r
			}
		}
		if found.n < len(found.list) {
			return s.before(int32(len(f.routes)), f, &plain)
		}
		after = found.list[found.n-1]
	}
}

// before picks the first that meets the request of those routes that are filed
// under nothing and stand before a place, from one on, and goes on to the next.
func (s *search) before(at int32, f *fan, from *int32) *Route {
	for *from != none && *from < at {
		r := &s.routes[f.routes[*from]]
		*from = f.next[*from]
		if s.meet(r) {
			return r
		}
		if s.doubt != nil {
			return nil
		}
	}
	return nil
}

// candidates are the first of those routes of a fan that are filed under what a
// request has.
type candidates struct {
	*fan
	name  *filed // whose values are being looked up
	after int32  // only what comes after it is kept
	list  [32]int32
	n     int
}

// all adds a route and those that are filed under the same.
func (c *candidates) all(at int32) {
	for ; at != none && !(c.n == len(c.list) && at > c.list[c.n-1]); at = c.next[at] {
		c.add(at)
	}
}

func (c *candidates) add(at int32) {
	i := c.n
	for i > 0 && c.list[i-1] > at {
		i--
	}
	if at <= c.after || i > 0 && c.list[i-1] == at || i == len(c.list) {
		return
	}
	c.n = min(c.n+1, len(c.list))
	copy(c.list[i+1:c.n], c.list[i:])
	c.list[i] = at
}

// value looks up a value.
func (c *candidates) value(text string) {
	if at, some := c.name.values[text]; some {
		c.all(at)
	}
}

// escaped looks up the value that a text with escapes stands for.
func (c *candidates) escaped(text string) {
	if strings.IndexByte(text, '%') < 0 {
		c.value(text)
		return
	}
	var room [longestFiled]byte
	long := 0
	for text != "" {
		if long == len(room) {
			return // longer than any that is filed
		}
		b, n, _ := unescaped(text)
		room[long] = b
		text = text[n:]
		long++
	}
	if at, some := c.name.values[string(room[:long])]; some {
		c.all(at)
	}
}
