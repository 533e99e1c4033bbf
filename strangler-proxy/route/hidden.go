package route

import (
	"fmt"
	"slices"
)

// Alike reports whether a request is decided about in the same way whether it
// is of one method, and so of one route, or of another; nil is no route.
func Alike(r *Route, method string, other *Route, otherMethod string) bool {
	if r == nil || other == nil {
		return r == other
	}
	return r == other || r.Capability == other.Capability && r.Owner == other.Owner && r.WritesWith(method) == other.WritesWith(otherMethod)
}

// writing lists the methods that a POST may be taken for and that change
// something: those that frameworks know of, and those that are declared.
func writing(declared map[string]string) []string {
	all := []string{"DELETE", "PATCH", "PUT"}
	for method := range declared {
		if method != "" && method != "POST" && !Reads(method) && !slices.Contains(all, method) {
			all = append(all, method)
		}
	}
	slices.Sort(all)
	return all
}

// Writing lists the methods, besides POST, that change something and that a
// request of any route may be taken for.
func (t *Table) Writing() []string { return t.writing }

// Hidden returns a problem for each route that a POST could be meant for which
// is decided about otherwise, where looks says of the POST's own route, nil for
// none, that whoever answers it may take its method from its body. Such POSTs
// are refused. Between any two routes pause is called, which may take its time.
func (t *Table) Hidden(looks func(post *Route) bool, pause func()) []Problem {
	var problems []Problem
	for i := range t.routes {
		pause()
		r := &t.routes[i]
		method := r.method
		if method == "" {
			method = t.writing[0]
		}
		if !slices.Contains(t.writing, method) {
			continue
		}
		for _, path := range t.witnesses(r) {
			if post, hides := t.hides(r, method, path); hides && looks(post) {
				problems = append(problems, gotPast(r, post, method))
				break
			}
		}
	}
	slices.SortStableFunc(problems, func(a, b Problem) int { return a.Line - b.Line })
	return problems
}

// hides reports whether a POST to a path, and the route that it meets, is
// decided about otherwise than what meets a route there.
func (t *Table) hides(r *Route, method, path string) (post *Route, hides bool) {
	q := r.witness(path)
	q.Method = method
	if met, err := t.Lookup(q); err != nil || met != r {
		return nil, false
	}
	q.Method = "POST"
	post, err := t.Lookup(q)
	return post, err == nil && !Alike(post, "POST", r, method)
}

func gotPast(r, post *Route, method string) Problem {
	by := "that meets no route"
	if post != nil {
		by = fmt.Sprintf("that is of route %q (line %d)", post.ID, post.Line)
	}
	return Problem{
		Line: r.Line,
		Text: fmt.Sprintf("route %q could be got past by a POST %s and names %s in its body, so such a POST is refused", r.ID, by, method),
		Hint: "declare POST on the same path, in the same capability and with the same owner",
	}
}
