package compare

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"stranglerfig/contract-tests/match"
)

// walker compares two decoded JSON documents, member by member.
type walker struct {
	rules match.Rules
	exact bool
	path  match.Path
	*collector
}

// at compares one step further down.
func (w *walker) at(step match.Step, expected, actual any) {
	w.path = append(w.path, step)
	w.value(expected, actual)
	w.path = w.path[:len(w.path)-1]
}

func (w *walker) report(kind Kind, expected, actual, rule string) {
	w.add(Difference{Path: bodyPath + w.path.String()[1:], Kind: kind, Expected: expected, Actual: actual, Rule: rule})
}

func (w *walker) value(expected, actual any) {
	found := w.rules.For(w.path)
	if !found.Empty() {
		if err := found.Match(expected, actual); err != nil {
			w.report(kindOf(err), text(expected), text(actual), violated(found, err))
			return
		}
	}
	switch e := expected.(type) {
	case map[string]any:
		if a, ok := actual.(map[string]any); ok {
			w.object(e, a, found)
			return
		}
	case []any:
		if a, ok := actual.([]any); ok {
			w.array(e, a, found)
			return
		}
	}
	if found.Empty() {
		w.scalar(expected, actual)
	}
}

func violated(found match.Found, err error) string {
	return found.String() + ", " + err.Error()
}

func kindOf(err error) Kind {
	var m *match.Mismatch
	if errors.As(err, &m) {
		switch m.Aspect {
		case match.OfType:
			return Type
		case match.OfLength:
			return Length
		}
	}
	return Value
}

// scalar compares two values without a rule, at least one of which is scalar.
func (w *walker) scalar(expected, actual any) {
	switch {
	case match.KindOf(expected) != match.KindOf(actual):
		w.report(Type, text(expected), text(actual), "")
	case !match.Equal(expected, actual):
		w.report(Value, text(expected), text(actual), "")
	case w.exact && !sameForm(expected, actual):
		w.report(Type, text(expected), text(actual), "")
	}
}

// sameForm tells 12 from 12.0, which a client that reads integers cannot read.
func sameForm(expected, actual any) bool {
	e, ok := expected.(json.Number)
	if !ok {
		return true
	}
	a, _ := actual.(json.Number)
	return strings.ContainsAny(string(e), ".eE") == strings.ContainsAny(string(a), ".eE")
}

// object compares members in the order of their names, so that reports are
// stable.
func (w *walker) object(expected, actual map[string]any, found match.Found) {
	if found.Has(match.Values) || found.Has(match.EachKey) || found.Has(match.EachValue) {
		w.freeKeys(expected, actual, found)
		return
	}
	for _, name := range slices.Sorted(maps.Keys(expected)) {
		if value, ok := actual[name]; ok {
			w.at(match.Field(name), expected[name], value)
		} else {
			w.missing(name, expected[name])
		}
	}
	if w.exact || w.rules.SaysAbsent() {
		w.extras(expected, actual)
	}
}

func (w *walker) missing(name string, expected any) {
	w.path = append(w.path, match.Field(name))
	if !w.rules.For(w.path).Has(match.Absent) {
		w.report(Missing, text(expected), "", "")
	}
	w.path = w.path[:len(w.path)-1]
}

// extras reports members the expected object lacks, where that is an offence:
// always in Exact mode, else where a rule says absent.
func (w *walker) extras(expected, actual map[string]any) {
	for _, name := range slices.Sorted(maps.Keys(actual)) {
		if _, known := expected[name]; known {
			continue
		}
		w.path = append(w.path, match.Field(name))
		found := w.rules.For(w.path)
		if found.Has(match.Absent) {
			w.report(Extra, "", text(actual[name]), found.String())
		} else if w.exact {
			w.report(Extra, "", text(actual[name]), "")
		}
		w.path = w.path[:len(w.path)-1]
	}
}

// freeKeys compares an object that is used as a map: a key the example lacks
// is held to the example's first value.
func (w *walker) freeKeys(expected, actual map[string]any, found match.Found) {
	keys, _ := found.Get(match.EachKey)
	eachValue, _ := found.Get(match.EachValue)
	names := slices.Sorted(maps.Keys(expected))
	for _, name := range slices.Sorted(maps.Keys(actual)) {
		for _, m := range keys.Rules {
			if err := m.Match(name, name); err != nil {
				w.report(Value, "", name, violated(found, err))
			}
		}
		example, known := expected[name]
		if !known && len(names) > 0 {
			example, known = expected[names[0]], true
		}
		w.eachValue(eachValue.Rules, name, example, actual[name])
		if known && len(eachValue.Rules) == 0 {
			w.at(match.Field(name), example, actual[name])
		}
	}
}

func (w *walker) eachValue(rules []match.Matcher, name string, example, actual any) {
	w.path = append(w.path, match.Field(name))
	for _, m := range rules {
		if err := m.Match(example, actual); err != nil {
			w.report(kindOf(err), text(example), text(actual), err.Error())
		}
	}
	w.path = w.path[:len(w.path)-1]
}

func (w *walker) array(expected, actual []any, found match.Found) {
	switch contains, ok := found.Get(match.ArrayContains); {
	case ok:
		w.contains(contains.Variants, expected, actual, found)
	case found.Has(match.Unordered):
		w.unordered(expected, actual, found)
	case w.likeExample(found):
		w.alike(expected, actual)
	default:
		w.elements(expected, actual)
	}
}

// likeExample reports whether a rule frees the array from the example's
// length. Pact lets any rule do so, even one from above; between two live
// answers only a rule for the array itself does.
func (w *walker) likeExample(found match.Found) bool {
	if found.Empty() || w.exact && found.Cascaded {
		return false
	}
	for _, m := range found.Matchers {
		if m.Kind == match.Equality || m.Kind == match.Tolerance {
			return false
		}
	}
	return true
}

// alike holds every element to the example at its place, and those beyond the
// examples to the first. Without any example, everything is accepted.
func (w *walker) alike(expected, actual []any) {
	for i, value := range actual {
		switch {
		case i < len(expected):
			w.at(match.Index(i), expected[i], value)
		case len(expected) > 0:
			w.at(match.Index(i), expected[0], value)
		}
	}
}

// elements compares place by place. Where the same elements stand in another
// order, that is the one difference worth telling.
func (w *walker) elements(expected, actual []any) {
	before := *w.collector
	if len(expected) != len(actual) {
		w.report(Length, fmt.Sprintf("%d elements", len(expected)), fmt.Sprintf("%d elements", len(actual)), "")
	}
	for i := range min(len(expected), len(actual)) {
		w.at(match.Index(i), expected[i], actual[i])
	}
	if w.count() > before.count() && len(expected) == len(actual) && permuted(expected, actual) {
		*w.collector = before
		w.report(Order, text(expected), text(actual), "")
	}
}

// permuted reports whether two arrays hold the same elements.
func permuted(expected, actual []any) bool {
	counts := map[string]int{}
	for _, v := range expected {
		counts[text(v)]++
	}
	for _, v := range actual {
		key := text(v)
		if counts[key]--; counts[key] < 0 {
			return false
		}
	}
	return true
}

// agree reports whether two values agree under the rules at a place, without
// listing anything.
func (w *walker) agree(rules match.Rules, path match.Path, expected, actual any) bool {
	trial := &walker{rules: rules, exact: w.exact, path: slices.Clone(path), collector: &collector{}}
	trial.value(expected, actual)
	return trial.count() == 0
}

// contains looks for each variant among the elements.
func (w *walker) contains(variants []match.Variant, expected, actual []any, found match.Found) {
	for _, v := range variants {
		if v.Index < 0 || v.Index >= len(expected) {
			w.report(Missing, fmt.Sprintf("an example at index %d for the rule's variant", v.Index), "", found.String())
			continue
		}
		example := expected[v.Index]
		present := slices.ContainsFunc(actual, func(a any) bool { return w.agree(v.Rules, nil, example, a) })
		if !present {
			w.report(Missing, text(example), "", found.String())
		}
	}
}

// mostUnordered bounds the pairs that an unordered comparison tries: beyond
// this many elements without an identical partner, it gives up and says so.
const mostUnordered = 512

// unordered pairs the elements up, each with one that agrees with it.
func (w *walker) unordered(expected, actual []any, found match.Found) {
	if len(expected) != len(actual) {
		w.report(Length, fmt.Sprintf("%d elements", len(expected)), fmt.Sprintf("%d elements", len(actual)), found.String())
	}
	wanted, left := withoutTwins(expected, actual)
	if len(wanted) > mostUnordered || len(left) > mostUnordered {
		w.report(Order, fmt.Sprintf("%d elements without an identical partner", len(wanted)), fmt.Sprintf("%d elements without an identical partner", len(left)), found.String())
		return
	}
	partner := w.pair(expected, actual, wanted, left)
	taken := map[int]bool{}
	for _, e := range wanted {
		a, ok := partner[e]
		if !ok {
			w.report(Missing, text(expected[e]), "", found.String())
			continue
		}
		taken[a] = true
	}
	for _, a := range left {
		if !taken[a] {
			w.report(Extra, "", text(actual[a]), found.String())
		}
	}
}

// withoutTwins returns the indices of elements that have no identical partner
// on the other side.
func withoutTwins(expected, actual []any) (wanted, left []int) {
	places := map[string][]int{}
	for i, v := range actual {
		key := text(v)
		places[key] = append(places[key], i)
	}
	gone := map[int]bool{}
	for i, v := range expected {
		key := text(v)
		if twins := places[key]; len(twins) > 0 {
			gone[twins[0]] = true
			places[key] = twins[1:]
			continue
		}
		wanted = append(wanted, i)
	}
	for i := range actual {
		if !gone[i] {
			left = append(left, i)
		}
	}
	return wanted, left
}

// pair finds as many pairs as possible, by augmenting paths: a first come,
// first served choice could leave elements over that fit elsewhere.
func (w *walker) pair(expected, actual []any, wanted, left []int) map[int]int {
	owner := map[int]int{} // by index of actual
	fits := func(e, a int) bool {
		path := append(slices.Clone(w.path), match.Index(e))
		return w.agree(w.rules, path, expected[e], actual[a])
	}
	known := map[[2]int]bool{}
	var place func(e int, tried map[int]bool) bool
	place = func(e int, tried map[int]bool) bool {
		for _, a := range left {
			if tried[a] {
				continue
			}
			fit, ok := known[[2]int{e, a}]
			if !ok {
				fit = fits(e, a)
				known[[2]int{e, a}] = fit
			}
			if !fit {
				continue
			}
			tried[a] = true
			if previous, taken := owner[a]; !taken || place(previous, tried) {
				owner[a] = e
				return true
			}
		}
		return false
	}
	for _, e := range wanted {
		place(e, map[int]bool{})
	}
	partner := map[int]int{}
	for a, e := range owner {
		partner[e] = a
	}
	return partner
}

// text renders a decoded value; encoding/json sorts members, so equal values
// render alike.
func text(v any) string {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return fmt.Sprint(v)
	}
	return strings.TrimSuffix(b.String(), "\n")
}
