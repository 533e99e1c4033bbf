package match

import (
	"math"
	"sync"
)

// index holds the rules of a body as a tree of steps, so that a value's rule is
// found while one walks down to it. It is made when it is first needed.
type index struct {
	once           sync.Once
	root           *branch
	whole, further []Found // by rank: for the value itself, and for what lies below
}

// branch is where the paths of some rules have got to.
type branch struct {
	fields   map[string]*branch
	indices  map[int]*branch
	anyStep  *branch
	anyIndex *branch
	rank     int32 // of the rule that ends here, or none
}

// none is no rule's rank; the strongest rule has rank 0.
const none = math.MaxInt32

func (x *index) build(rules []Rule) {
	x.root = &branch{rank: none}
	x.whole, x.further = make([]Found, len(rules)), make([]Found, len(rules))
	for rank := len(rules) - 1; rank >= 0; rank-- {
		r := &rules[rank]
		x.whole[rank] = Found{List: r.List, Path: r.Path}
		x.further[rank] = Found{List: r.cascaded, Path: r.Path, Cascaded: true}
		b := x.root
		for _, s := range r.Path {
			b = b.grow(s)
		}
		b.rank = int32(rank)
	}
}

// grow returns the branch behind a step of a rule's path.
func (b *branch) grow(s Step) *branch {
	switch s.kind {
	case anyStep:
		return grown(&b.anyStep)
	case anyIndex:
		return grown(&b.anyIndex)
	case indexed:
		if b.indices == nil {
			b.indices = map[int]*branch{}
		}
		next := b.indices[s.index]
		b.indices[s.index] = grown(&next)
		return next
	}
	if b.fields == nil {
		b.fields = map[string]*branch{}
	}
	next := b.fields[s.name]
	b.fields[s.name] = grown(&next)
	return next
}

func grown(b **branch) *branch {
	if *b == nil {
		*b = &branch{rank: none}
	}
	return *b
}

// Cursor is a place in a document, and knows the rule of the value there. It
// is moved by a walker: down with Field, Index and Element, up with Leave. It
// belongs to one goroutine, and can be used again after Reset.
type Cursor struct {
	index *index
	alive []*branch // of all levels, one after another
	start []int     // where each level begins in alive
	above []int32   // by level, the strongest rule that cascades down to it
}

// Reset puts the cursor at the root of a document with these rules.
func (c *Cursor) Reset(r Rules) {
	c.alive, c.start, c.above = c.alive[:0], c.start[:0], c.above[:0]
	c.index = r.index
	if c.index == nil {
		return
	}
	c.index.once.Do(func() { c.index.build(r.body) })
	c.alive = append(c.alive, c.index.root)
	c.start = append(c.start, 0)
	c.above = append(c.above, none)
}

// Field moves down to a member of an object.
func (c *Cursor) Field(name string) {
	if c.index == nil {
		return
	}
	from, to := c.descend()
	for _, b := range c.alive[from:to] {
		c.field(b, name)
	}
}

// Index moves down to an element of an array.
func (c *Cursor) Index(i int) {
	if c.index == nil {
		return
	}
	from, to := c.descend()
	for _, b := range c.alive[from:to] {
		c.step(b, i)
	}
}

// Element moves down to a child of a document's element: the ith of those that
// have its names. Pact's tools write such a path with and without the index,
// with the name that the document uses, prefix and all, or the one that its
// namespace gives it, and some write [*] in front of it.
func (c *Cursor) Element(names []string, i int) {
	if c.index == nil {
		return
	}
	from, to := c.descend()
	for _, b := range c.alive[from:to] {
		c.named(b, names)
		if b.anyIndex != nil {
			c.named(b.anyIndex, names)
		}
	}
	for _, b := range c.alive[to:] {
		c.step(b, i)
	}
}

func (c *Cursor) named(b *branch, names []string) {
	if b.anyStep != nil {
		c.alive = append(c.alive, b.anyStep)
	}
	for i, name := range names {
		if next := b.fields[name]; next != nil && (i == 0 || name != names[i-1]) {
			c.alive = append(c.alive, next)
		}
	}
}

func (c *Cursor) field(b *branch, name string) {
	if next := b.fields[name]; next != nil {
		c.alive = append(c.alive, next)
	}
	if b.anyStep != nil {
		c.alive = append(c.alive, b.anyStep)
	}
}

func (c *Cursor) step(b *branch, i int) {
	if next := b.indices[i]; next != nil {
		c.alive = append(c.alive, next)
	}
	if b.anyIndex != nil {
		c.alive = append(c.alive, b.anyIndex)
	}
	if b.anyStep != nil {
		c.alive = append(c.alive, b.anyStep)
	}
}

// descend opens a level below the present one, whose branches it returns.
func (c *Cursor) descend() (from, to int) {
	level := len(c.start) - 1
	from, to = c.start[level], len(c.alive)
	above := c.above[level]
	for _, b := range c.alive[from:to] {
		if b.rank < above && len(c.index.further[b.rank].Matchers) > 0 {
			above = b.rank
		}
	}
	c.start = append(c.start, to)
	c.above = append(c.above, above)
	return from, to
}

// Leave moves up again.
func (c *Cursor) Leave() {
	if c.index == nil {
		return
	}
	last := len(c.start) - 1
	c.alive = c.alive[:c.start[last]]
	c.start, c.above = c.start[:last], c.above[:last]
}

// nothing is the rule of a value that has none.
var nothing Found

// Found is the rule of the value at the cursor. It must not be changed.
func (c *Cursor) Found() *Found {
	if c.index == nil {
		return &nothing
	}
	level := len(c.start) - 1
	best, whole := c.above[level], false
	for _, b := range c.alive[c.start[level]:] {
		if b.rank < best {
			best, whole = b.rank, true
		}
	}
	switch {
	case best == none:
		return &nothing
	case whole:
		return &c.index.whole[best]
	}
	return &c.index.further[best]
}

// Below reports whether some rule could still apply at the cursor or further
// down. Where none can, equal values agree without being looked at.
func (c *Cursor) Below() bool {
	if c.index == nil {
		return false
	}
	level := len(c.start) - 1
	return c.above[level] != none || len(c.alive) > c.start[level]
}
