package route

import (
	"fmt"
	"slices"
	"strings"
)

// Shadowed returns a problem for each route that can never be chosen, because
// narrower routes, or the policy of paths, take everything that it meets. That
// is no conflict: it is clear who answers. But whoever declared such a route
// expected something of it.
//
// It asks for every route what becomes of requests that meet it and are made up
// so that nothing meets them that does not meet all requests like them: with
// names in the place of wildcards that no other route has. In the place of a
// {name...} there stand so many of them as any route could tell apart. Between
// any two routes pause is called, which may take its time.
func (t *Table) Shadowed(pause func()) []Problem {
	var problems []Problem
	for i := range t.routes {
		pause()
		r := &t.routes[i]
		if taking, chosen := t.taking(r); !chosen {
			problems = append(problems, Problem{
				Line: r.Line,
				Text: fmt.Sprintf("route %q can never be chosen: %s", r.ID, strings.Join(taking, ", ")),
				Hint: "remove it, or what takes its requests",
			})
		}
	}
	slices.SortStableFunc(problems, func(a, b Problem) int { return a.Line - b.Line })
	return problems
}

// taking says what becomes of the requests that meet a route, unless some of
// them reach it: of each other route that takes some, the first one.
func (t *Table) taking(r *Route) (taking []string, chosen bool) {
	told := map[*Route]bool{}
	for _, path := range t.witnesses(r) {
		other, err := t.Lookup(r.witness(path))
		switch {
		case other == r:
			return nil, true
		case told[other]: // nil stands for a refusal
		case err != nil:
			told[nil] = true
			taking = append(taking, fmt.Sprintf("%s is refused: %v", path, err))
		case other != nil:
			told[other] = true
			taking = append(taking, fmt.Sprintf("%q (line %d) takes %s", other.ID, other.Line, path))
		}
	}
	return taking, false
}

// unheardOf is a segment, name or value that nobody declares: it cannot be told
// from the many others that nobody declares either.
const unheardOf = "any~thing~else"

// witnesses returns the paths that stand for all that meet a route.
func (t *Table) witnesses(r *Route) []string {
	var path strings.Builder
	for _, s := range r.declared {
		switch s.kind {
		case literal:
			path.WriteString("/" + s.text)
		case single:
			path.WriteString("/" + unheardOf)
		default:
			return t.below(path.String())
		}
	}
	return []string{path.String()}
}

// below returns the paths that stand for all below one.
func (t *Table) below(path string) []string {
	var all []string
	if t.profile.TrailingSlash == Same && path != "" {
		all = append(all, path)
	}
	all = append(all, path+"/")
	for range t.depth + 1 {
		path += "/" + unheardOf
		all = append(all, path)
	}
	return all
}

// witness makes up a request that meets a route and asks for nothing more.
func (r *Route) witness(path string) Request {
	q := Request{Method: r.method, Host: r.host, Path: path}
	if q.Method == "" {
		q.Method = unheardOf
	}
	var fields pairs
	var parameters, cookies []string
	for _, p := range r.predicates {
		value := p.value
		if !p.equal {
			value = unheardOf
		}
		switch p.of {
		case header:
			fields = append(fields, [2]string{p.name, value})
		case cookie:
			cookies = append(cookies, p.name+"="+value)
		case query:
			parameters = append(parameters, escaped(p.name)+"="+escaped(value))
		}
	}
	if len(cookies) > 0 {
		fields = append(fields, [2]string{"cookie", strings.Join(cookies, "; ")})
	}
	q.Query, q.Header = strings.Join(parameters, "&"), fields
	return q
}

// escaped writes every byte of a text as an escape.
func escaped(text string) string {
	var b strings.Builder
	for i := range len(text) {
		fmt.Fprintf(&b, "%%%02X", text[i])
	}
	return b.String()
}

// pairs are fields that were made up.
type pairs [][2]string

// Fields implements [Header].
func (p pairs) Fields() int { return len(p) }

// Field implements [Header].
func (p pairs) Field(i int) (name, value string) { return p[i][0], p[i][1] }
