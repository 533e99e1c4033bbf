package compare

import (
	"strconv"
	"sync"
)

// Bijection is the mapping between the identifiers of the two sides of a
// session or run. Two applications that hold the same data may number it
// differently; then what is a 7 here must be a 12 there each time, and what is
// a 12 there must be a 7 here. The places are those with the matcher id.
//
// The zero value is not usable: see [NewBijection]. Any number of goroutines
// may use one.
type Bijection struct {
	mutex       sync.Mutex
	limit       int
	dropped     int64
	right, left map[identifier]string // of an expected and of an actual identifier
	ring        []identifier          // of a recent one: the expected ones as they were learnt, the oldest at next
	next        int
	recent      bool
}

// identifier is one of a scope: invoices and customers may both have a 7.
type identifier struct{ scope, text string }

// DefaultPairs is how many pairs a [NewBijection] keeps that was not told.
const DefaultPairs = 100_000

// NewBijection makes a mapping that keeps as many pairs, or [DefaultPairs] if
// that is not positive. Of further identifiers nothing is known and nothing
// asked; they are counted, see [Bijection.Dropped].
func NewBijection(limit int) *Bijection {
	if limit <= 0 {
		limit = DefaultPairs
	}
	return &Bijection{limit: limit, right: map[identifier]string{}, left: map[identifier]string{}}
}

// NewRecent makes a mapping like [NewBijection] that is never full: for a further
// pair it forgets the one that it learnt first. Forgotten ones are counted as
// dropped, and may be learnt anew.
func NewRecent(limit int) *Bijection {
	b := NewBijection(limit)
	b.recent = true
	return b
}

// Pair says that an identifier of the expected side stands for one of the
// actual side. It reports false, and changes nothing, if either is known to
// stand for another.
func (b *Bijection) Pair(scope, expected, actual string) bool {
	b.mutex.Lock()
	defer b.mutex.Unlock()
	return b.pair(pair{scope: scope, expected: expected, actual: actual})
}

// Actual returns the identifier that the actual side uses for one of the
// expected side, so that a later request can be addressed to it.
func (b *Bijection) Actual(scope, expected string) (string, bool) {
	b.mutex.Lock()
	defer b.mutex.Unlock()
	text, ok := b.right[identifier{scope, expected}]
	return text, ok
}

// Expected is the inverse of [Bijection.Actual].
func (b *Bijection) Expected(scope, actual string) (string, bool) {
	b.mutex.Lock()
	defer b.mutex.Unlock()
	text, ok := b.left[identifier{scope, actual}]
	return text, ok
}

// Len is how many pairs are known.
func (b *Bijection) Len() int {
	b.mutex.Lock()
	defer b.mutex.Unlock()
	return len(b.right)
}

// Dropped is how many pairs were not kept, or not for longer, because the mapping
// was full.
func (b *Bijection) Dropped() int64 {
	b.mutex.Lock()
	defer b.mutex.Unlock()
	return b.dropped
}

// pair is what one place of a comparison says.
type pair struct {
	scope, expected, actual string
	path                    string
}

// agrees reports whether nothing known contradicts a pair; known, whether the
// pair itself is.
func (b *Bijection) agrees(p pair) (ok, known bool) {
	right, hasRight := b.right[identifier{p.scope, p.expected}]
	left, hasLeft := b.left[identifier{p.scope, p.actual}]
	return (!hasRight || right == p.actual) && (!hasLeft || left == p.expected), hasRight && hasLeft
}

func (b *Bijection) pair(p pair) bool {
	ok, known := b.agrees(p)
	switch {
	case !ok:
		return false
	case known:
	case len(b.right) >= b.limit && !b.recent:
		b.dropped++
	default:
		b.keep(p)
	}
	return true
}

func (b *Bijection) keep(p pair) {
	expected := identifier{p.scope, p.expected}
	switch {
	case !b.recent:
	case len(b.ring) < b.limit:
		b.ring = append(b.ring, expected)
	default:
		oldest := b.ring[b.next]
		delete(b.left, identifier{oldest.scope, b.right[oldest]})
		delete(b.right, oldest)
		b.ring[b.next] = expected
		b.next = (b.next + 1) % b.limit
		b.dropped++
	}
	b.right[expected] = p.actual
	b.left[identifier{p.scope, p.actual}] = p.expected
}

// identities are the pairs of one comparison. They reach the session's mapping
// together, and only if the two sides agree otherwise: what two different
// things are called says nothing.
type identities struct {
	session *Bijection // nil if the caller carries none
	known   bool       // what the session does not know contradicts it
	own     Bijection  // the pairs of this comparison
	pairs   []pair
}

// note takes a pair to the comparison's own. It reports false if the pair
// contradicts these or the session's.
func (i *identities) note(p pair) bool {
	if i.session != nil {
		i.session.mutex.Lock()
		ok, known := i.session.agrees(p)
		i.session.mutex.Unlock()
		if !ok || i.known && !known {
			return false
		}
	}
	if i.own.right == nil {
		i.own = Bijection{limit: DefaultPairs, right: map[identifier]string{}, left: map[identifier]string{}}
	}
	if !i.own.pair(p) {
		return false
	}
	i.pairs = append(i.pairs, p)
	return true
}

// since forgets the pairs that were noted after a moment, which was when there
// were so many.
func (i *identities) since(moment int) {
	if len(i.pairs) == moment {
		return
	}
	kept := i.pairs[:moment]
	i.own, i.pairs = Bijection{}, nil
	for _, p := range kept {
		i.note(p)
	}
}

// commit hands the pairs to the session, and returns those that another
// comparison has contradicted meanwhile.
func (i *identities) commit() (contradicted []pair) {
	if i.session == nil {
		return nil
	}
	i.session.mutex.Lock()
	defer i.session.mutex.Unlock()
	for _, p := range i.pairs {
		if ok, _ := i.session.agrees(p); !ok {
			contradicted = append(contradicted, p)
		}
	}
	if len(contradicted) > 0 {
		return contradicted
	}
	for _, p := range i.pairs {
		i.session.pair(p)
	}
	return nil
}

// difference is a pair that contradicts an earlier one.
func (p pair) difference(rule string) Difference {
	return Difference{Path: p.path, Kind: Identity, Expected: p.expected, Actual: p.actual, Rule: rule}
}

// counted is a number of things, in words.
func counted(n int, things string) string { return strconv.Itoa(n) + " " + things }
