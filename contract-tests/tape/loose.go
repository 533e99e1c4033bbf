package tape

import (
	"cmp"
	"slices"
	"strings"
)

// Loose is a place of requests that is about something which no answer of the
// contract makes up, because it is another capability's: it stays as it was
// recorded, and there has to be such a thing where the contract is replayed.
type Loose struct {
	Route  string `json:"route"`
	Status int    `json:"status"`
	Place  string `json:"place"` // in the request
	Noun   string `json:"noun"`  // what it is the id of
	Times  int    `json:"times"` // requests of this sort
	// From is the route that made it up, and Capability whose route that is, where
	// another capability's answers are on the tapes.
	From       string `json:"from,omitempty"`
	Capability string `json:"capability,omitempty"`
}

// looseEnds lists the places of kept sorts that are tied to no answer and are
// about what others made up: things whose id another capability answered, or
// that no request of this capability is about.
func looseEnds(own, others []Exchange, kept []*cluster) []Loose {
	nouns := map[string]bool{}
	for _, e := range own {
		nouns[subject(e)] = true
	}
	elsewhere := foreign(own, others)
	var all []Loose
	for _, c := range kept {
		example := own[c.example]
		for _, u := range uses(example) {
			if slices.ContainsFunc(c.links, func(l link) bool { return l.in == u.path }) {
				continue
			}
			from := map[string]int{}
			for _, n := range c.members {
				if source, known := elsewhere[end{n, u.path}]; known {
					from[source.Capability+"\n"+route(source)]++
				}
			}
			l := Loose{Route: route(example), Status: example.Response.Status, Place: u.path, Noun: u.noun, Times: len(c.members)}
			most := 0
			for source, times := range from {
				if capability, route, _ := strings.Cut(source, "\n"); times > most || times == most && route < l.From {
					most, l.From, l.Capability = times, route, capability
				}
			}
			if most > 0 || !nouns[u.noun] {
				all = append(all, l)
			}
		}
	}
	slices.SortStableFunc(all, func(a, b Loose) int {
		return cmp.Or(cmp.Compare(b.Times, a.Times), cmp.Compare(a.Route, b.Route), cmp.Compare(a.Place, b.Place))
	})
	return slices.CompactFunc(all, func(a, b Loose) bool {
		return a.Route == b.Route && a.Status == b.Status && a.Place == b.Place && a.From == b.From
	})
}

// end is a place in the nth request.
type end struct {
	n    int
	path string
}

// foreign finds the places of requests whose value the client knows from another
// capability's answer.
func foreign(own, others []Exchange) map[end]Exchange {
	found := map[end]Exchange{}
	if len(others) == 0 {
		return found
	}
	all := slices.Concat(own, others)
	order := make([]int, len(all))
	for n := range order {
		order[n] = n
	}
	slices.SortStableFunc(order, func(a, b int) int { return all[a].At.Compare(all[b].At) })
	inOrder := make([]Exchange, len(all))
	for at, n := range order {
		inOrder[at] = all[n]
	}
	for _, session := range sessions(inOrder) {
		follow(inOrder, session, func(at int, use spot, from origin) {
			if n, source := order[at], order[from.exchange]; n < len(own) && source >= len(own) {
				found[end{n, use.path}] = all[source]
			}
		})
	}
	return found
}
