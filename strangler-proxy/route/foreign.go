package route

import (
	"fmt"
	"strings"
)

// Foreign returns a problem for each route with a segment that is a wildcard to
// other routers, and here stands for itself.
func (t *Table) Foreign() []Problem {
	var problems []Problem
	for i := range t.routes {
		r := &t.routes[i]
		for _, s := range r.declared {
			if s.kind == literal && foreign(s.text) {
				problems = append(problems, Problem{
					Line: r.Line,
					Text: fmt.Sprintf("route %q: a segment %q is taken as it is written, not for a wildcard", r.ID, s.text),
					Hint: "a wildcard is written {name}, and {name...} at the end of the path",
				})
				break
			}
		}
	}
	return problems
}

// foreign reports whether a segment is written as :name, <name> or with a star.
func foreign(segment string) bool {
	return len(segment) > 1 && segment[0] == ':' || strings.Contains(segment, "*") || strings.HasPrefix(segment, "%3C") && strings.HasSuffix(segment, "%3E")
}
