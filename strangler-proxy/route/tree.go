package route

import (
	"cmp"
	"hash/maphash"
	"slices"
	"strings"
)

// tree is the routes by their segments, as they were put in: what conflicts are
// found in and a table is made of.
type tree struct {
	profile  Profile
	hosts    map[string]int32 // the root of each host
	branches []branch
	index    []int32 // branches by what leads to them, by hash; 0: free
	seed     maphash.Seed
	routes   []Route
	methods  map[string]string // that are declared
	fanned   []fan             // of paths with many routes that ask for values
}

// branch is a place in the tree.
type branch struct {
	text    string // the literal that leads here; "" for a wildcard
	hash    uint32
	from    int32
	single  int32 // the branch behind a wildcard; none: there is none
	child   int32 // the first of those behind a literal; none: there is none
	sibling int32 // the next one of those
	here    int32 // the first of the routes that end here, once ranked in the order of precedence
	rest    int32 // the first of those that end in {name...} here
	ends    int32 // how many of here and rest there are from here on
}

func newTree(routes []Route, profile Profile, pause func()) *tree {
	t := &tree{profile: profile, hosts: map[string]int32{}, seed: maphash.MakeSeed(), routes: slices.Clone(routes), methods: map[string]string{}}
	segments := 0
	for i := range t.routes {
		r := &t.routes[i]
		r.declared, r.segments = r.segments, profile.segments(r.segments)
		r.capitals = slices.ContainsFunc(r.declared, func(s segment) bool { return strings.ToLower(s.text) != s.text })
		segments += len(r.segments)
		r.sayOwner()
		// One text for each method, so that comparing it touches one place.
		if known, ok := t.methods[r.method]; ok {
			r.method = known
		} else {
			t.methods[r.method] = r.method
		}
		pause()
	}
	t.branches = make([]branch, 0, segments+1)
	t.index = make([]int32, powerOfTwo(2*segments+2))
	for i := range t.routes {
		t.insert(int32(i))
		pause()
	}
	t.rank(pause)
	return t
}

// rank brings the routes of every path into the order of precedence, and files
// those of a path that has many.
func (t *tree) rank(pause func()) {
	var chain []int32
	for i := range t.branches {
		for _, first := range [...]*int32{&t.branches[i].here, &t.branches[i].rest} {
			if *first == none || t.routes[*first].next == none {
				continue
			}
			chain = chain[:0]
			for at := *first; at != none; at = t.routes[at].next {
				chain = append(chain, at)
			}
			slices.Reverse(chain) // as they were declared
			slices.SortStableFunc(chain, func(a, b int32) int { return precedence(&t.routes[a], &t.routes[b]) })
			*first = none
			for _, at := range slices.Backward(chain) {
				t.routes[at].next, *first = *first, at
			}
			t.file(chain)
			pause()
		}
	}
}

// powerOfTwo returns the next one from n on.
func powerOfTwo(n int) int {
	p := 1
	for p < n {
		p *= 2
	}
	return p
}

// add makes a branch.
func (t *tree) add(from int32, text string, hash uint32) int32 {
	t.branches = append(t.branches, branch{text: text, hash: hash, from: from, single: none, child: none, sibling: none, here: none, rest: none})
	return int32(len(t.branches) - 1)
}

func (t *tree) insert(i int32) {
	r := &t.routes[i]
	at, known := t.hosts[r.host]
	if !known {
		at = t.add(none, "", 0)
		t.hosts[r.host] = at
	}
	for _, s := range r.segments {
		switch s.kind {
		case rest:
			t.chain(&t.branches[at].rest, i)
			return
		case single:
			if t.branches[at].single == none {
				next := t.add(at, "", 0)
				t.branches[at].single = next
			}
			at = t.branches[at].single
		default:
			at = t.grow(at, s.text)
		}
	}
	t.chain(&t.branches[at].here, i)
}

// chain puts a route before those of the same path that were declared earlier.
func (t *tree) chain(to *int32, i int32) { t.routes[i].next, *to = *to, i }

// precedence tells which of two routes of the same path is to be asked first:
// the narrower method, then the narrower predicates.
func precedence(a, b *Route) int {
	if by := cmp.Compare(breadth(a.method), breadth(b.method)); by != 0 {
		return by
	}
	return comparePredicates(a.predicates, b.predicates)
}

// breadth ranks methods so that of two which meet the same request the narrower
// one comes first.
func breadth(method string) int {
	switch method {
	case "":
		return 2
	case "GET":
		return 1
	}
	return 0
}

// slot finds where the index has, or would have, the branch behind a literal.
func (t *tree) slot(from int32, text string) (at int, hash uint32) {
	hash = hashOf(t.seed, from, text)
	mask := len(t.index) - 1
	for at = int(hash) & mask; t.index[at] != 0; at = (at + 1) & mask {
		if b := &t.branches[t.index[at]]; b.hash == hash && b.from == from && b.text == text {
			break
		}
	}
	return at, hash
}

// literal finds the branch behind a literal, or none.
func (t *tree) literal(from int32, text string) int32 {
	if at, _ := t.slot(from, text); t.index[at] != 0 {
		return t.index[at]
	}
	return none
}

// grow finds or makes the branch behind a literal.
func (t *tree) grow(from int32, text string) int32 {
	at, hash := t.slot(from, text)
	if t.index[at] == 0 {
		next := t.add(from, text, hash)
		t.branches[next].sibling = t.branches[from].child
		t.branches[from].child = next
		t.index[at] = next // never 0, which is a root
	}
	return t.index[at]
}

func hashOf(seed maphash.Seed, from int32, segment string) uint32 {
	h := maphash.String(seed, segment) ^ uint64(from)*0x9e3779b97f4a7c15
	return uint32(h >> 32)
}

// table lays the tree out for lookups.
func (t *tree) table(pause func()) *Table {
	made := &Table{profile: t.profile, hosts: map[string]int32{}, anywhere: none, seed: t.seed, routes: t.routes, fanned: t.fanned, writing: writing(t.methods)}
	for i := range t.routes {
		t.routes[i].place = int32(i)
		made.asks = made.asks || len(t.routes[i].predicates) > 0
		made.depth = max(made.depth, len(t.routes[i].segments))
		if last := t.routes[i].declared[len(t.routes[i].declared)-1]; last.kind == rest || last == (segment{kind: literal}) {
			made.slashed = true
		}
	}
	l := layout{tree: t, table: made, pause: pause}
	l.count()
	for host, root := range t.hosts {
		at := l.node(root)
		if host == "" {
			made.anywhere = at
		} else {
			made.hosts[host] = at
		}
	}
	l.index()
	made.text = string(l.text)
	return made
}

// layout is a table under construction.
type layout struct {
	*tree
	table *Table
	text  []byte
	edges []edge
	pause func()
}

// count tells each branch how many ends there are from it on. What a branch
// leads to was always made later.
func (l *layout) count() {
	for i := len(l.branches) - 1; i >= 0; i-- {
		b := &l.branches[i]
		if b.here != none {
			b.ends++
		}
		if b.rest != none {
			b.ends++
		}
		if b.from != none {
			l.branches[b.from].ends += b.ends
		}
	}
}

// node makes the node of a branch and everything behind it.
func (l *layout) node(of int32) int32 {
	l.pause()
	b := &l.branches[of]
	at := int32(len(l.table.nodes))
	l.table.nodes = append(l.table.nodes, node{here: b.here, rest: b.rest, literals: b.child != none})
	for next := b.child; next != none; next = l.branches[next].sibling {
		l.edges = append(l.edges, edge{from: at, place: l.place(next)})
	}
	if b.single != none {
		single := l.place(b.single)
		l.table.nodes[at].single = single
	}
	return at
}

// place makes what a segment leads to.
func (l *layout) place(of int32) place {
	if l.branches[of].ends == 1 {
		text, end := l.way(of)
		return place{text: text, to: ^end}
	}
	text := l.write(l.branches[of].text)
	return place{text: text, to: l.node(of)}
}

// way writes the only way on from a branch.
func (l *layout) way(from int32) (text, end int32) {
	b := &l.branches[from]
	text = l.write(b.text)
	for b.here == none && b.rest == none {
		l.text = append(l.text, '/')
		if b.single != none {
			b = &l.branches[b.single]
			l.text = append(l.text, anySegment)
		} else {
			b = &l.branches[b.child]
			l.text = append(l.text, b.text...)
		}
	}
	end = b.here
	if end == none {
		end = b.rest
		l.text = append(l.text, '/', anyRest)
	}
	n := len(l.text) - int(text) - lengths
	l.text[text+2], l.text[text+3] = byte(n), byte(n>>8)
	return text, end
}

// write begins the text of a place: two lengths of two bytes each, of the
// literal and of the whole text, and the literal.
func (l *layout) write(literal string) int32 {
	at, n := len(l.text), len(literal)
	l.text = append(l.text, byte(n), byte(n>>8), byte(n), byte(n>>8))
	l.text = append(l.text, literal...)
	return int32(at)
}

// index makes the edges findable by their hash.
func (l *layout) index() {
	t := l.table
	t.edges = make([]edge, powerOfTwo(2*len(l.edges)+1))
	mask := len(t.edges) - 1
	text := string(l.text)
	for _, e := range l.edges {
		n := int(text[e.text]) | int(text[e.text+1])<<8
		e.hash = hashOf(t.seed, e.from, text[int(e.text)+lengths:int(e.text)+lengths+n])
		at := int(e.hash) & mask
		for t.edges[at].to != 0 {
			at = (at + 1) & mask
		}
		t.edges[at] = e
	}
}
