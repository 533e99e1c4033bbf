package compare

import (
	"slices"

	"stranglerfig/contract-tests/match"
)

func (w walker) array(expected, actual int32, found *match.Found) {
	e, a := w.e.below(expected), w.a.below(actual)
	contains, variants := found.Get(match.ArrayContains)
	each, values := found.Get(match.EachValue)
	switch {
	case variants:
		w.contains(contains.Variants, e, a, found)
	case values:
		w.eachElement(each.Rules, e, a)
	case found.Has(match.Unordered):
		w.unordered(e, a, found)
	case w.likeExample(found):
		w.likeThese(e, a)
	default:
		w.elements(expected, actual, e, a)
	}
}

// likeExample reports whether a rule frees the array from the example's
// length. Pact lets any rule do so, even one from above; between two live
// answers only a rule for the array itself does.
func (c *comparison) likeExample(found *match.Found) bool {
	if found.Empty() || c.exact && found.Cascaded {
		return false
	}
	for _, m := range found.Matchers {
		if m.Kind == match.Equality || m.Kind == match.Tolerance {
			return false
		}
	}
	return true
}

// likeThese holds every element to the example at its place, and those beyond
// the examples to the first. Without any example, everything is accepted.
func (w walker) likeThese(expected, actual []int32) {
	for i, a := range actual {
		switch {
		case i < len(expected):
			w.element(i, expected[i], a)
		case len(expected) > 0:
			w.element(i, expected[0], a)
		}
	}
}

// eachElement holds every element to the matchers of the array, whatever the
// example has at its place.
func (w walker) eachElement(rules []match.Matcher, expected, actual []int32) {
	for i, a := range actual {
		example := int32(0)
		if len(expected) > 0 {
			example = expected[min(i, len(expected)-1)]
		}
		w.path = append(w.path, match.Index(i))
		w.cursor.Index(i)
		w.eachValue(rules, example, a)
		w.cursor.Leave()
		w.path = w.path[:len(w.path)-1]
	}
}

// elements compares place by place. Where the same elements stand in another
// order, that is the one difference worth telling.
func (w walker) elements(expected, actual int32, e, a []int32) {
	before, noted := w.collector, len(w.ids.pairs)
	if len(e) != len(a) {
		w.comparison.report(Length, counted(len(e), "elements"), counted(len(a), "elements"), "")
	}
	for i := range min(len(e), len(a)) {
		w.element(i, e[i], a[i])
	}
	if w.count() > before.count() && len(e) == len(a) && w.permuted(e, a) {
		w.comparison.collector = before
		w.ids.since(noted)
		w.report(Order, expected, actual, "")
	}
}

// permuted reports whether two arrays hold the same elements.
func (w walker) permuted(expected, actual []int32) bool {
	counts := map[string]int{}
	for _, e := range expected {
		counts[w.e.key(e)]++
	}
	for _, a := range actual {
		key := w.a.key(a)
		if counts[key]--; counts[key] < 0 {
			return false
		}
	}
	return true
}

// contains looks for each variant among the elements.
func (w walker) contains(variants []match.Variant, expected, actual []int32, found *match.Found) {
	for _, v := range variants {
		if v.Index < 0 || v.Index >= len(expected) {
			w.comparison.report(Missing, "an example at index "+counted(v.Index, "for the rule's variant"), "", found.String())
			continue
		}
		example := expected[v.Index]
		if !slices.ContainsFunc(actual, func(a int32) bool { return w.agree(&v.Rules, example, a) }) {
			w.comparison.report(Missing, w.e.show(example), "", found.String())
		}
	}
}

// unordered pairs the elements up, each with one that agrees with it.
func (w walker) unordered(expected, actual []int32, found *match.Found) {
	if len(expected) != len(actual) {
		w.comparison.report(Length, counted(len(expected), "elements"), counted(len(actual), "elements"), found.String())
	}
	twins, wanted, left := w.twins(expected, actual)
	if len(wanted) > mostUnordered || len(left) > mostUnordered {
		w.comparison.report(Order, counted(len(wanted), "elements without an identical partner"), counted(len(left), "elements without an identical partner"), found.String())
		return
	}
	partner := pairUp(wanted, left, func(e, a int) bool {
		w.cursor.Index(e)
		ok := w.agree(nil, expected[e], actual[a])
		w.cursor.Leave()
		return ok
	})
	for e, a := range partner {
		twins[e] = a
	}
	taken := map[int]bool{}
	for e := range expected {
		a, ok := twins[e]
		if !ok {
			w.comparison.report(Missing, w.e.show(expected[e]), "", found.String())
			continue
		}
		taken[a] = true
		w.element(e, expected[e], actual[a]) // for what it says of identifiers
	}
	for a := range actual {
		if !taken[a] {
			w.comparison.report(Extra, "", w.a.show(actual[a]), found.String())
		}
	}
}

// twins pairs up the elements that are the same, and returns the places of
// those that have no twin.
func (w walker) twins(expected, actual []int32) (pairs map[int]int, wanted, left []int) {
	places := map[string][]int{}
	for i, a := range actual {
		key := w.a.key(a)
		places[key] = append(places[key], i)
	}
	pairs = map[int]int{}
	gone := map[int]bool{}
	for i, e := range expected {
		key := w.e.key(e)
		if same := places[key]; len(same) > 0 {
			pairs[i], gone[same[0]] = same[0], true
			places[key] = same[1:]
			continue
		}
		wanted = append(wanted, i)
	}
	for i := range actual {
		if !gone[i] {
			left = append(left, i)
		}
	}
	return pairs, wanted, left
}
