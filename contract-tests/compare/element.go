package compare

import (
	"fmt"
	"slices"
	"strings"

	"stranglerfig/contract-tests/match"
)

// documents compares two documents from their roots. A rule's path begins with
// the name of the root: $.html.body.
func (c *comparison) documents(expected, actual *element) {
	c.child(expected, 0, 1, func() { c.element(expected, actual) })
}

// child does something at a child of the present element: the ith of those many
// of its name.
func (c *comparison) child(e *element, i, many int, do func()) {
	before := len(c.path)
	c.path = append(c.path, match.Field(e.name))
	if many > 1 {
		c.path = append(c.path, match.Index(i))
	}
	c.cursor.Element(e.names, i)
	do()
	c.cursor.Leave()
	c.path = c.path[:before]
}

// element compares two elements at the cursor: what they are, their attributes,
// their children, their text.
func (c *comparison) element(expected, actual *element) {
	found := c.cursor.Found()
	if expected.key != actual.key {
		c.report(Type, "<"+expected.key+">", "<"+actual.key+">", "")
		return
	}
	if rule, err := onElement(found, expected, actual); err != nil {
		c.report(kindOf(err), expected.show(), actual.show(), violated(&rule, err))
		return
	}
	c.attributes(expected, actual)
	c.children(expected, actual, found)
	c.elementText(expected, actual, found)
}

// onElement holds an element as a whole to those matchers that mean something
// for it: bounds of how many children it has, and that it is not empty.
func onElement(found *match.Found, expected, actual *element) (match.Found, error) {
	rule := *found
	if found.Cascaded {
		return rule, nil
	}
	for _, m := range found.Matchers {
		e, a := match.Array(len(expected.children)), match.Array(len(actual.children))
		switch m.Kind {
		case match.Type:
		case match.NotEmpty:
			a += match.Array(len(actual.text))
		default:
			continue
		}
		if err := m.Match(e, a); err != nil {
			return rule, err
		}
	}
	return rule, nil
}

func (c *comparison) attributes(expected, actual *element) {
	for _, e := range expected.attrs {
		c.attribute(e, func(found *match.Found) {
			a, ok := actual.attribute(e.key)
			switch {
			case ok:
				c.textValue(e.value, a.value, found)
			case !found.Has(match.Absent):
				c.report(Missing, e.value, "", "")
			}
		})
	}
	if !c.closed && !c.rules.SaysAbsent() {
		return
	}
	for _, a := range actual.attrs {
		if _, known := expected.attribute(a.key); !known {
			c.attribute(a, func(found *match.Found) { c.extra(found, a.value) })
		}
	}
}

func (c *comparison) attribute(a attribute, do func(found *match.Found)) {
	c.path = append(c.path, match.Field("@"+a.name))
	c.cursor.Element(a.names, 0)
	do(c.cursor.Found())
	c.cursor.Leave()
	c.path = c.path[:len(c.path)-1]
}

// textValue compares two texts of a document under the rule of their place.
func (c *comparison) textValue(expected, actual string, found *match.Found) {
	if found.Empty() {
		if expected != actual {
			c.report(Value, expected, actual, "")
		}
		return
	}
	if err := found.Match(match.Text(expected), match.Text(actual)); err != nil {
		c.report(kindOf(err), expected, actual, violated(found, err))
		return
	}
	c.identify(found.List, c.where, match.Text(expected), match.Text(actual))
}

// elementText compares the text of two elements. What a rule says of an element
// that only a text can obey is said of its text.
func (c *comparison) elementText(expected, actual *element, own *match.Found) {
	c.member(textMark, func(found *match.Found) {
		if !own.Cascaded && !own.Empty() && (found.Cascaded || found.Empty()) {
			of := ofText(own)
			found = &of
		}
		c.textValue(expected.text, actual.text, found)
	})
}

// ofText is the part of an element's rule that a text can obey.
func ofText(own *match.Found) match.Found {
	of := *own
	of.Matchers = slices.DeleteFunc(slices.Clone(own.Matchers), func(m match.Matcher) bool {
		switch m.Kind {
		case match.Values, match.EachKey, match.EachValue, match.ArrayContains, match.Unordered, match.Absent, match.NotEmpty:
			return true
		}
		return false
	})
	return of
}

// group is the children of one name.
type group struct {
	key      string
	elements []*element
}

// grouped sorts children by name, in the order in which names occur first.
func grouped(children []*element) []group {
	var all []group
	places := map[string]int{}
	for _, child := range children {
		at, ok := places[child.key]
		if !ok {
			at = len(all)
			places[child.key] = at
			all = append(all, group{key: child.key})
		}
		all[at].elements = append(all[at].elements, child)
	}
	return all
}

// children compares the children of each name, as Pact does: the order of
// children of different names is free in an example. Between two running sides
// it is not.
func (c *comparison) children(expected, actual *element, found *match.Found) {
	before := c.count()
	theirs := map[string][]*element{}
	for _, g := range grouped(actual.children) {
		theirs[g.key] = g.elements
	}
	for _, g := range grouped(expected.children) {
		c.siblings(g.elements, theirs[g.key], found.Has(match.Unordered))
		delete(theirs, g.key)
	}
	for _, g := range grouped(actual.children) {
		if _, further := theirs[g.key]; further {
			c.furtherSiblings(g.elements)
		}
	}
	if c.exact && c.count() == before && !found.Has(match.Unordered) && !slices.Equal(expected.outline, actual.outline) && !c.likeExample(found) {
		c.report(Order, outlined(expected), outlined(actual), "")
	}
}

// outlined is an element's outline in words.
func outlined(e *element) string {
	var words []string
	for _, key := range e.outline {
		words = append(words, key[strings.LastIndexByte(key, ' ')+1:])
	}
	return strings.Join(words, ", ")
}

// siblings compares the children of one name, which the expected side has.
func (c *comparison) siblings(expected, actual []*element, unordered bool) {
	var found *match.Found
	c.child(expected[0], 0, 1, func() { found = c.cursor.Found() })
	switch {
	case len(actual) == 0:
		if !found.Has(match.Absent) {
			c.child(expected[0], 0, 1, func() { c.report(Missing, expected[0].show(), "", "") })
		}
	case unordered || found.Has(match.Unordered):
		c.inAnyOrder(expected, actual)
	default:
		like := found.List.Has(match.Type) && c.likeExample(found)
		c.inOrder(expected, actual, like)
	}
}

func (c *comparison) inOrder(expected, actual []*element, likeExample bool) {
	many := max(len(expected), len(actual))
	for i := range many {
		switch {
		case i < len(expected) && i < len(actual):
			c.child(expected[i], i, many, func() { c.element(expected[i], actual[i]) })
		case i < len(expected):
			if !likeExample {
				c.child(expected[i], i, many, func() { c.report(Missing, expected[i].show(), "", "") })
			}
		case likeExample:
			c.child(expected[0], i, many, func() { c.element(expected[0], actual[i]) })
		case c.closed:
			c.child(actual[i], i, many, func() { c.report(Extra, "", actual[i].show(), "") })
		}
	}
}

// furtherSiblings reports children of a name that the expected side has not: as
// Pact does, also in an answer if a rule on types covers them.
func (c *comparison) furtherSiblings(actual []*element) {
	c.child(actual[0], 0, 1, func() {
		found := c.cursor.Found()
		if found.Has(match.Absent) || c.closed || found.List.Has(match.Type) {
			c.report(Extra, "", actual[0].show(), found.String())
		}
	})
}

// inAnyOrder pairs up siblings that agree.
func (c *comparison) inAnyOrder(expected, actual []*element) {
	many := max(len(expected), len(actual))
	if many > mostUnordered {
		c.report(Order, fmt.Sprintf("%d elements", len(expected)), fmt.Sprintf("at most %d elements in any order", mostUnordered), "")
		return
	}
	wanted, left := count(len(expected)), count(len(actual))
	partner := pairUp(wanted, left, func(e, a int) bool {
		listed, noted := c.collector, len(c.ids.pairs)
		c.collector = collector{trial: true}
		c.child(expected[e], e, many, func() { c.element(expected[e], actual[a]) })
		ok := c.count() == 0
		c.collector = listed
		c.ids.since(noted)
		return ok
	})
	taken := map[int]bool{}
	for e := range expected {
		c.child(expected[e], e, many, func() {
			if a, ok := partner[e]; ok {
				taken[a] = true
				c.element(expected[e], actual[a]) // for what it says of identifiers
				return
			}
			c.report(Missing, expected[e].show(), "", "")
		})
	}
	for a := range actual {
		if !taken[a] {
			c.child(actual[a], a, many, func() { c.report(Extra, "", actual[a].show(), "") })
		}
	}
}

// count lists 0 to n-1.
func count(n int) []int {
	all := make([]int, n)
	for i := range all {
		all[i] = i
	}
	return all
}
