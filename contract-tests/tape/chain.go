package tape

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"stranglerfig/contract-tests/contract"
	"stranglerfig/contract-tests/match"
)

// link says that requests of a cluster are about what answers of another one
// made up.
type link struct {
	from     *cluster
	capture  string      // place in the answer of from
	in       string      // place in the request
	noun     string      // what it is the id of
	sources  map[int]int // by request: the answer it follows
	strength int         // how much it is believed
}

// A link through an answer that only read something is believed where so many
// requests, and such a share of their sort, follow it; ids of small numbers
// meet by chance. What an answer created nobody can know before.
const (
	seenTwice  = 2
	mostOfThem = 0.5
)

// origin is the answer that a client knows a value from.
type origin struct {
	exchange int
	spot     spot
	created  bool
}

// tie finds the chains among clusters, and chooses each cluster's example so
// that the examples of a chain belong together.
func tie(exchanges []Exchange, clusters []*cluster) {
	of := make([]*cluster, len(exchanges))
	for _, c := range clusters {
		for _, n := range c.members {
			of[n] = c
		}
	}
	found := map[*cluster]map[string]*link{}
	for _, session := range sessions(exchanges) {
		follow(exchanges, session, func(n int, use spot, from origin) {
			a, b := of[from.exchange], of[n]
			if found[b] == nil {
				found[b] = map[string]*link{}
			}
			id := use.path + "\n" + a.key + "\n" + from.spot.path
			l := found[b][id]
			if l == nil {
				l = &link{from: a, capture: from.spot.path, in: use.path, noun: use.noun, sources: map[int]int{}}
				found[b][id] = l
			}
			l.sources[n] = from.exchange
		})
	}
	for _, c := range clusters {
		c.links = believed(c, found[c], exchanges)
	}
	cutCircles(clusters)
	touched := written(exchanges)
	for _, c := range clusters {
		exemplify(c, exchanges, touched)
	}
}

// begun is how long after its begin a tape may still show what came before it.
const begun = time.Second

// written are the things that requests on the tape, or just before it, may have
// created or changed: nobody can say how they stand when an example about them is repeated.
func written(exchanges []Exchange) map[[2]string]bool {
	all, nouns := map[[2]string]bool{}, map[string]bool{}
	for _, e := range exchanges {
		if changes(e.Request.Method) {
			for _, s := range append(uses(e), made(e)...) {
				all[[2]string{s.noun, s.value}] = true
				nouns[s.noun] = true
			}
		}
	}
	if len(exchanges) == 0 {
		return all
	}
	first, last := exchanges[0].At, exchanges[len(exchanges)-1].At
	early := first.Add(min(begun, last.Sub(first)/4))
	for _, e := range exchanges {
		for _, u := range uses(e) {
			if nouns[u.noun] && e.At.Before(early) {
				all[[2]string{u.noun, u.value}] = true
			}
		}
	}
	return all
}

// sessions groups the exchanges of one client, as far as its credentials tell.
func sessions(exchanges []Exchange) [][]int {
	by := map[string]int{}
	var all [][]int
	for n, e := range exchanges {
		key := credentials(e)
		at, known := by[key]
		if !known {
			at = len(all)
			by[key] = at
			all = append(all, nil)
		}
		all[at] = append(all[at], n)
	}
	return all
}

// credentials tell clients apart: what they show, or the pseudonyms of it. They
// are empty where a client shows nothing.
func credentials(e Exchange) string {
	var shown []string
	for _, name := range []string{"Cookie", "Authorization", "X-Api-Key", "X-Auth-Token"} {
		if value := get(e.Request.Header, name); value != "" {
			shown = append(shown, name+"="+value)
		}
	}
	return strings.Join(shown, "\n")
}

// follow walks through a session and tells of each value in a request from
// which answer the client knows it.
func follow(exchanges []Exchange, session []int, tell func(n int, use spot, from origin)) {
	known := map[[2]string]origin{} // by noun and value
	said := map[[2]string]bool{}    // values the client came with
	for _, n := range session {
		e := exchanges[n]
		for _, use := range uses(e) {
			id := [2]string{use.noun, use.value}
			if from, ok := known[id]; ok {
				tell(n, use, from)
			} else {
				said[id] = true
			}
		}
		if e.Response.Status >= 300 {
			continue
		}
		created := changes(e.Request.Method)
		for _, s := range sources(e) {
			id := [2]string{s.noun, s.value}
			if before, ok := known[id]; said[id] || ok && (before.created || !created) {
				continue
			}
			known[id] = origin{n, s, created}
		}
	}
}

// believed picks, for each place of a request, the link that most of the
// requests follow, if it is more than chance.
func believed(c *cluster, found map[string]*link, exchanges []Exchange) []link {
	best := map[string]*link{}
	for _, l := range found {
		l.strength = len(l.sources)
		first := exchanges[anyOf(l.sources)]
		if !changes(first.Request.Method) && (l.strength < seenTwice || float64(l.strength) < mostOfThem*float64(len(c.members))) {
			continue
		}
		if changes(first.Request.Method) {
			l.strength += len(exchanges) // what was created beats what was read
		}
		if b := best[l.in]; b == nil || l.strength > b.strength || l.strength == b.strength && l.capture+l.from.key < b.capture+b.from.key {
			best[l.in] = l
		}
	}
	var all []link
	for _, l := range best {
		all = append(all, *l)
	}
	slices.SortFunc(all, func(a, b link) int { return strings.Compare(a.in, b.in) })
	return all
}

// anyOf is the first of the answers that a link begins with.
func anyOf(sources map[int]int) int {
	first := -1
	for _, from := range sources {
		if first < 0 || from < first {
			first = from
		}
	}
	return first
}

// cutCircles drops the links by which a cluster would come before itself.
func cutCircles(clusters []*cluster) {
	var reaches func(from, to *cluster, seen map[*cluster]bool) bool
	reaches = func(from, to *cluster, seen map[*cluster]bool) bool {
		if from == to {
			return true
		}
		if seen[from] {
			return false
		}
		seen[from] = true
		return slices.ContainsFunc(from.links, func(l link) bool { return reaches(l.from, to, seen) })
	}
	for _, c := range clusters {
		links := c.links
		c.links = nil
		for _, l := range links {
			if !reaches(l.from, c, map[*cluster]bool{}) {
				c.links = append(c.links, l)
			}
		}
	}
}

// exemplify chooses the exchange that stands for a cluster: one that follows
// its links to the examples chosen already, if there is one, and that can be
// repeated. Of a thing that was changed meanwhile it takes one only if it is
// part of a chain.
func exemplify(c *cluster, exchanges []Exchange, touched map[[2]string]bool) {
	if c.example >= 0 {
		return
	}
	best := -1
	for _, n := range c.members {
		score := 0
		if !hidden(exchanges[n]) {
			score = 2
		}
		if !about(exchanges[n], touched) {
			score++
		}
		for _, l := range c.links {
			from, follows := l.sources[n]
			switch {
			case follows && l.from.example == from:
				score += 16
			case follows && l.from.example < 0:
				score += 8
			case follows:
				score += 4
			}
		}
		if score > best {
			best, c.example = score, n
		}
	}
	for _, l := range c.links {
		if from, follows := l.sources[c.example]; follows && l.from.example < 0 {
			l.from.example = from
			for _, above := range l.from.links {
				exemplify(above.from, exchanges, touched)
			}
		}
	}
}

// about reports whether a request is about one of some things.
func about(e Exchange, things map[[2]string]bool) bool {
	return slices.ContainsFunc(uses(e), func(u spot) bool { return things[[2]string{u.noun, u.value}] })
}

// tied reports whether the example follows an answer that made up what it is
// about.
func (c *cluster) tied() bool {
	return slices.ContainsFunc(c.links, func(l link) bool { _, follows := l.sources[c.example]; return follows })
}

// repeated reports whether the thing that the example is about was changed more
// than once in the same way before: the contract replays each way once, so that
// sums and counts come out otherwise.
func (c *cluster) repeated(exchanges []Exchange) bool {
	for _, l := range c.links {
		from, follows := l.sources[c.example]
		if !follows {
			continue
		}
		times := map[string]int{}
		for n := from + 1; n < c.example; n++ {
			e := exchanges[n]
			if changes(e.Request.Method) && slices.ContainsFunc(uses(e), func(u spot) bool { return u.noun == l.noun && u.value == valueOf(exchanges[c.example], l.in) }) {
				times[sortOf(e)]++
			}
		}
		for _, n := range times {
			if n > 1 {
				return true
			}
		}
	}
	return false
}

// valueOf is what a request has in a place.
func valueOf(e Exchange, place string) string {
	for _, u := range uses(e) {
		if u.path == place {
			return u.value
		}
	}
	return ""
}

// chains writes the links of the kept clusters into their interactions.
func chains(exchanges []Exchange, kept []*cluster, of map[*cluster]*contract.Interaction) {
	names := map[string]string{} // by cluster's key and place
	taken := map[string]bool{}
	for _, c := range kept {
		for _, l := range c.links {
			id := l.from.key + "\n" + l.capture
			name, known := names[id]
			if !known {
				name = unused(l.noun, taken)
				names[id] = name
				from := of[l.from]
				from.Chain.Captures = append(from.Chain.Captures, contract.Capture{Name: name, From: l.capture})
				freeID(from, l.capture)
				returned(from, exchanges, l.from, spot{path: l.capture, noun: l.noun}, name, func(n int) string {
					value, _ := (contract.Capture{From: l.capture}).Take(exchanges[n].Response.Header, exchanges[n].Response.Body)
					return value
				})
			}
			of[c].Chain.Uses = append(of[c].Chain.Uses, contract.Use{Name: name, In: l.in})
			returned(of[c], exchanges, c, spot{path: l.in, noun: l.noun}, name, func(n int) string {
				if _, follows := l.sources[n]; !follows {
					return ""
				}
				return valueOf(exchanges[n], l.in)
			})
		}
	}
}

func unused(noun string, taken map[string]bool) string {
	name := noun
	for n := 2; taken[name]; n++ {
		name = fmt.Sprintf("%s-%d", noun, n)
	}
	taken[name] = true
	return name
}

// returned finds where every answer of a cluster says the value again, and
// demands it there.
func returned(i *contract.Interaction, exchanges []Exchange, c *cluster, of spot, name string, value func(n int) string) {
	var common []string
	first := true
	for _, n := range c.members {
		want := value(n)
		if want == "" {
			continue
		}
		var here []string
		for _, s := range answers(exchanges[n]) {
			if s.value == want && s.noun == of.noun && s.path != of.path && !strings.Contains(s.path, "[") {
				here = append(here, s.path)
			}
		}
		if first {
			common, first = here, false
			continue
		}
		common = slices.DeleteFunc(common, func(path string) bool { return !slices.Contains(here, path) })
	}
	slices.Sort(common)
	for _, path := range common {
		i.Chain.Returns = append(i.Chain.Returns, contract.Use{Name: name, In: path})
		freeID(i, path)
	}
}

// freeID lets a captured value be another one of its kind in every run.
func freeID(i *contract.Interaction, where string) {
	rest, ok := strings.CutPrefix(where, "$.body")
	if !ok {
		return // verify knows the values that stand in headers
	}
	path, err := match.ParsePath("$" + rest)
	if err != nil || !i.Response.Rules.For(path).Empty() {
		return
	}
	value, _ := (contract.Capture{From: where}).Take(i.Response.Header, i.Response.Body)
	m := match.Matcher{Kind: match.Type}
	switch {
	case uuid.MatchString(value):
		m = match.Must(match.Matcher{Kind: match.Regex, Value: uuid.String()})
	case value != "" && strings.Trim(value, "0123456789") == "":
		m = match.Matcher{Kind: match.Integer}
	}
	i.Response.Rules = i.Response.Rules.WithBody(path, m)
}
