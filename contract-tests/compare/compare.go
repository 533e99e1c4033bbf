// Package compare is the one comparator: it tells two answers, requests or
// messages apart, and says where. Contract verification and shadow traffic
// share it, so that a difference means the same thing in both.
//
// Start at [Responses]; [Requests] and [Events] are its siblings. In [Contract]
// mode the expected side is an example and Pact's semantics hold: what the
// example of an answer does not mention is free. In [Exact] mode both come from
// a running side and are compared symmetrically. In both, match.Rules loosen
// single places, and a [Bijection] may carry what is known of identifiers from
// one comparison to the next.
//
// Bodies are read as what they say they are: JSON, XML, HTML, forms, multipart,
// text, or else bytes. Of the first four, layout and the order of members do
// not matter.
//
// The package does no I/O and keeps nothing: values that a difference quotes
// come from the sides as they are, so redact before storing them.
package compare

import (
	"bytes"
	"strconv"
	"sync"

	"stranglerfig/contract-tests/match"
)

// Message is an answer. Header names are compared without regard to case. In
// Contract mode a nil Body of the expected message leaves the body unchecked,
// and an empty one demands an empty body.
type Message struct {
	Status int
	Header map[string][]string
	Body   []byte
}

// Mode is how strict the comparison is.
type Mode int

// The modes.
const (
	// Contract allows what the expected answer does not mention: further
	// headers and further members of objects.
	Contract Mode = iota
	// Exact compares both ways. Of the headers it looks at Content-Type,
	// Content-Encoding, Location, Content-Disposition, ETag, Cache-Control and
	// the names of cookies.
	Exact
)

// DefaultLimit is how many differences are listed if Options does not say.
const DefaultLimit = 50

// Options are the comparison's settings. The zero value is Contract mode with
// the default limit.
type Options struct {
	Mode  Mode
	Limit int // differences listed; further ones are counted. 0 is DefaultLimit
	// IDs is what is known of identifiers, for the matcher id. nil means that
	// they must be consistent within the comparison only.
	IDs *Bijection
	// Known has identifiers differ that IDs does not know yet, and teaches it
	// nothing: for answers between which the data may have changed.
	Known bool
}

// Responses compares two answers and returns where they differ, status first,
// then headers, then the body; nothing if they agree. The order is stable.
func Responses(expected, actual Message, rules match.Rules, o Options) []Difference {
	if same(expected, actual, rules, o) {
		return nil
	}
	c := begin(rules, o)
	defer c.end()
	c.status(expected.Status, actual.Status)
	c.headers(expected.Header, actual.Header, string(expected.Body) == string(actual.Body))
	c.body(expected.part(), actual.part())
	return c.conclude()
}

// same is the fast path: nothing to look into. In Contract mode rules can
// fail even an identical answer, so there it holds only without rules.
func same(expected, actual Message, rules match.Rules, o Options) bool {
	if expected.Status != actual.Status || rules.NamesIDs() || !bytes.Equal(expected.Body, actual.Body) {
		return false
	}
	if o.Mode == Contract {
		return rules.Empty() && len(expected.Header) == 0
	}
	return !rules.NamesHeaders() && sameHeaders(expected.Header, actual.Header)
}

// comparison is one comparison under way, and the walk through its bodies.
type comparison struct {
	rules  match.Rules
	exact  bool // both ways
	closed bool // what the expected side does not mention is not allowed
	collector
	ids identities

	cursor match.Cursor // at path
	path   match.Path   // within the body
}

// comparisons are kept, because most of what one needs is memory.
var comparisons = sync.Pool{New: func() any { return new(comparison) }}

func begin(rules match.Rules, o Options) *comparison {
	c := comparisons.Get().(*comparison)
	c.rules, c.exact, c.closed = rules, o.Mode == Exact, o.Mode == Exact
	c.collector = collector{limit: o.Limit}
	if c.limit <= 0 {
		c.limit = DefaultLimit
	}
	c.ids = identities{session: o.IDs, known: o.Known && o.IDs != nil}
	c.cursor.Reset(rules)
	c.path = c.path[:0]
	return c
}

// end gives the comparison back. What it found is the caller's.
func (c *comparison) end() {
	c.collector, c.ids, c.rules = collector{}, identities{}, match.Rules{}
	comparisons.Put(c)
}

// conclude returns what was found, and lets the session know of identifiers
// where nothing was.
func (c *comparison) conclude() []Difference {
	if c.count() == 0 {
		for _, p := range c.ids.commit() {
			c.add(p.difference("id"))
		}
	}
	return c.result()
}

func (c *comparison) status(expected, actual int) {
	list := c.rules.Status()
	d := Difference{Path: "$.status", Kind: Status, Expected: strconv.Itoa(expected), Actual: strconv.Itoa(actual)}
	switch {
	case !list.Empty():
		if err := list.Match(expected, actual); err != nil {
			d.Rule = "$.status: " + err.Error()
			c.add(d)
		}
	// An example without a status says nothing about it.
	case expected != actual && (c.exact || expected != 0):
		c.add(d)
	}
}

// identify holds a pair of values to the matcher id, if the list has one. Two
// values of which the list makes something else are none of its business.
func (c *comparison) identify(list match.List, path func() string, expected, actual any) {
	if !c.rules.NamesIDs() {
		return
	}
	m, ok := match.Found{List: list}.Get(match.ID)
	if !ok {
		return
	}
	e, okExpected := m.Identifier(expected)
	a, okActual := m.Identifier(actual)
	if !okExpected || !okActual {
		return
	}
	if p := (pair{m.Scope, e, a, path()}); !c.ids.note(p) {
		c.add(p.difference("id"))
	}
}

// at is a path that is known.
func at(path string) func() string { return func() string { return path } }
