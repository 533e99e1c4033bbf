package match

import (
	"maps"
	"slices"
	"sort"
	"strings"
)

// List is the matchers of one place. They must all hold, unless Any says that
// one suffices.
type List struct {
	Any      bool
	Matchers []Matcher
}

// Rule is the matchers of all values at a path.
type Rule struct {
	Path Path
	List
	cascaded List // the part that also holds below the path
}

// Rules are the rules of one answer. The zero value has none.
type Rules struct {
	status List
	header map[string]List // by lower-case name
	body   []Rule          // by falling precedence
	absent bool            // some rule says absent
}

// Found is what applies to a value: the strongest rule whose path leads to it.
type Found struct {
	List
	Path     Path // of the rule
	Cascaded bool // the rule was written for something above the value
}

// Empty reports whether no rule applies.
func (f Found) Empty() bool { return len(f.Matchers) == 0 }

// Has reports whether a matcher of this kind was written for the value itself.
func (f Found) Has(k Kind) bool {
	_, ok := f.Get(k)
	return ok
}

// Get returns the matcher of this kind that was written for the value itself.
func (f Found) Get(k Kind) (Matcher, bool) {
	if f.Cascaded {
		return Matcher{}, false
	}
	for _, m := range f.Matchers {
		if m.Kind == k {
			return m, true
		}
	}
	return Matcher{}, false
}

// String names the rule, for reports.
func (f Found) String() string {
	if f.Empty() {
		return ""
	}
	return f.Path.String() + ": " + f.List.String()
}

// String names the matchers, joined as they combine.
func (l List) String() string {
	var names []string
	for _, m := range l.Matchers {
		names = append(names, string(m.Kind))
	}
	if l.Any {
		return strings.Join(names, " or ")
	}
	return strings.Join(names, " and ")
}

// Match checks a value against everything that applies to it. A matcher of
// scalars that cascades down says nothing of the containers on its way. Null
// passes wherever nullable stands among the matchers.
func (f Found) Match(expected, actual any) error {
	if f.Has(Nullable) && (actual == nil || expected == nil) {
		return nil
	}
	whole := f.Cascaded && (container(expected) || container(actual))
	var first error
	for _, m := range f.Matchers {
		var err error
		if !whole || m.Kind.container() {
			err = m.Match(expected, actual)
		} else {
			err = matchKind(expected, actual)
		}
		if err == nil && f.Any {
			return nil
		}
		if err != nil && first == nil {
			first = err
			if !f.Any {
				return err
			}
		}
	}
	return first
}

// Match checks a value that has no path, such as a status or a header.
func (l List) Match(expected, actual any) error {
	return Found{List: l}.Match(expected, actual)
}

// Empty reports whether there is no rule at all.
func (r Rules) Empty() bool {
	return len(r.status.Matchers) == 0 && len(r.header) == 0 && len(r.body) == 0
}

// For finds the rule of the body's value at path; Found is empty if there is
// none.
func (r Rules) For(path Path) Found {
	for i := range r.body {
		rule := &r.body[i]
		if !rule.Path.covers(path) {
			continue
		}
		if len(rule.Path) == len(path) {
			return Found{List: rule.List, Path: rule.Path}
		}
		if len(rule.cascaded.Matchers) > 0 {
			return Found{List: rule.cascaded, Path: rule.Path, Cascaded: true}
		}
	}
	return Found{}
}

// SaysAbsent reports whether some rule forbids a member, so that members the
// example lacks must be looked at.
func (r Rules) SaysAbsent() bool { return r.absent }

// Status returns the rules of the status.
func (r Rules) Status() List { return r.status }

// Header returns the rules of a header; its name is case-insensitive.
func (r Rules) Header(name string) List {
	if len(r.header) == 0 {
		return List{}
	}
	return r.header[strings.ToLower(name)]
}

// HeaderNames returns the lower-case names of headers that have rules, sorted.
func (r Rules) HeaderNames() []string { return slices.Sorted(maps.Keys(r.header)) }

// Body returns the rules of the body, strongest first.
func (r Rules) Body() []Rule { return slices.Clone(r.body) }

// WithBody returns the rules plus one for the body, which replaces a rule of
// the same path.
func (r Rules) WithBody(path Path, matchers ...Matcher) Rules {
	rules := []Rule{{Path: path, List: List{Matchers: matchers}}}
	for _, old := range r.body {
		if !slices.Equal(old.Path, path) {
			rules = append(rules, old)
		}
	}
	changed := newRules(rules)
	changed.status, changed.header = r.status, r.header
	return changed
}

// WithHeader returns the rules plus those of a header.
func (r Rules) WithHeader(name string, matchers ...Matcher) Rules {
	r.header = maps.Clone(r.header)
	if r.header == nil {
		r.header = map[string]List{}
	}
	r.header[strings.ToLower(name)] = List{Matchers: matchers}
	return r
}

// WithStatus returns the rules with those of the status replaced.
func (r Rules) WithStatus(matchers ...Matcher) Rules {
	r.status = List{Matchers: matchers}
	return r
}

// Split returns the rules Pact tools understand and those that are ours.
func (r Rules) Split() (pact, ours Rules) {
	return r.filter(func(k Kind) bool { return !k.Ours() }), r.filter(Kind.Ours)
}

// Join adds another's matchers to each place, as Split took them apart. What
// the places combine by is taken from r.
func (r Rules) Join(other Rules) Rules {
	joined := map[string]Rule{}
	for _, rule := range slices.Concat(r.body, other.body) {
		key := rule.Path.String()
		if first, ok := joined[key]; ok {
			first.Matchers = slices.Concat(first.Matchers, rule.Matchers)
			joined[key] = first
			continue
		}
		joined[key] = rule
	}
	result := newRules(slices.Collect(maps.Values(joined)))
	result.status = List{Any: r.status.Any, Matchers: slices.Concat(r.status.Matchers, other.status.Matchers)}
	if len(r.header)+len(other.header) > 0 {
		result.header = maps.Clone(other.header)
		if result.header == nil {
			result.header = map[string]List{}
		}
		for name, list := range r.header {
			result.header[name] = List{Any: list.Any, Matchers: slices.Concat(list.Matchers, other.header[name].Matchers)}
		}
	}
	return result
}

func (r Rules) filter(keep func(Kind) bool) Rules {
	var body []Rule
	for _, rule := range r.body {
		if list := rule.List.filter(keep); len(list.Matchers) > 0 {
			body = append(body, Rule{Path: rule.Path, List: list})
		}
	}
	result := newRules(body)
	result.status = r.status.filter(keep)
	for name, list := range r.header {
		if kept := list.filter(keep); len(kept.Matchers) > 0 {
			result = result.WithHeader(name, kept.Matchers...)
			result.header[name] = kept
		}
	}
	return result
}

func (l List) filter(keep func(Kind) bool) List {
	kept := List{Any: l.Any}
	for _, m := range l.Matchers {
		if keep(m.Kind) {
			kept.Matchers = append(kept.Matchers, m)
		}
	}
	return kept
}

// newRules sorts rules of a body by precedence and prepares what cascades.
func newRules(rules []Rule) Rules {
	result := Rules{body: rules}
	for i := range rules {
		rules[i].cascaded = rules[i].List.cascade()
		for _, m := range rules[i].Matchers {
			result.absent = result.absent || m.Kind == Absent
		}
	}
	sort.SliceStable(rules, func(i, j int) bool {
		a, b := rules[i].Path, rules[j].Path
		if wa, wb := a.weight(), b.weight(); wa != wb {
			return wa > wb
		}
		return a.before(b)
	})
	return result
}

// cascade is what remains of a list below its path: bounds of length concern
// only the array they were written for.
func (l List) cascade() List {
	below := l.filter(Kind.cascades)
	for i := range below.Matchers {
		below.Matchers[i].Min, below.Matchers[i].Max = nil, nil
	}
	return below
}
