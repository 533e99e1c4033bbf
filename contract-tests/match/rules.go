package match

import (
	"maps"
	"slices"
	"sort"
	"strings"
)

// Rule is the matchers of all values at a path.
type Rule struct {
	Path Path
	List
	cascaded List // the part that also holds below the path
}

// Rules are the rules of one request, answer or message. The zero value has
// none. They are not changed once they are made: the functions that add to them
// return others, and any number of goroutines may use the same.
type Rules struct {
	status, path List
	header       map[string]List // by lower-case name
	query        map[string]List // by name, as it is written
	metadata     map[string]List // of a message, by name
	body         []Rule          // by falling precedence
	index        *index          // of body; nil if there is none
	absent, ids  bool            // some rule says absent, or id
}

// Empty reports whether there is no rule at all.
func (r Rules) Empty() bool {
	return r.status.Empty() && r.path.Empty() && len(r.header)+len(r.query)+len(r.metadata)+len(r.body) == 0
}

// For finds the rule of the body's value at path; Found is empty if there is
// none. A walker is better off with a [Cursor].
func (r Rules) For(path Path) Found {
	var c Cursor
	c.Reset(r)
	for _, s := range path {
		if s.kind == field {
			c.Field(s.name)
		} else {
			c.Index(s.index)
		}
	}
	return *c.Found()
}

// SaysAbsent reports whether some rule forbids a member, so that members the
// example lacks must be looked at.
func (r Rules) SaysAbsent() bool { return r.absent }

// NamesIDs reports whether some rule calls a value an identifier, so that equal
// bodies must be looked into as well.
func (r Rules) NamesIDs() bool { return r.ids }

// Status returns the rules of the status.
func (r Rules) Status() List { return r.status }

// Path returns the rules of a request's path.
func (r Rules) Path() List { return r.path }

// Header returns the rules of a header; its name is case-insensitive.
func (r Rules) Header(name string) List {
	if len(r.header) == 0 {
		return List{}
	}
	return r.header[strings.ToLower(name)]
}

// NamesHeaders reports whether some header has rules.
func (r Rules) NamesHeaders() bool { return len(r.header) > 0 }

// HeaderNames returns the lower-case names of headers that have rules, sorted.
func (r Rules) HeaderNames() []string { return slices.Sorted(maps.Keys(r.header)) }

// Query returns the rules of a request's parameter; each of its values is held
// to them.
func (r Rules) Query(name string) List { return r.query[name] }

// Metadata returns the rules of a message's metadata of that name.
func (r Rules) Metadata(name string) List { return r.metadata[name] }

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
	return r.withBody(rules)
}

// WithHeader returns the rules plus those of a header.
func (r Rules) WithHeader(name string, matchers ...Matcher) Rules {
	r.header = with(r.header, strings.ToLower(name), matchers)
	return r.noted()
}

// WithQuery returns the rules plus those of a request's parameter.
func (r Rules) WithQuery(name string, matchers ...Matcher) Rules {
	r.query = with(r.query, name, matchers)
	return r.noted()
}

// WithMetadata returns the rules plus those of a message's metadata.
func (r Rules) WithMetadata(name string, matchers ...Matcher) Rules {
	r.metadata = with(r.metadata, name, matchers)
	return r.noted()
}

func with(lists map[string]List, name string, matchers []Matcher) map[string]List {
	changed := maps.Clone(lists)
	if changed == nil {
		changed = map[string]List{}
	}
	changed[name] = List{Matchers: matchers}
	return changed
}

// WithStatus returns the rules with those of the status replaced.
func (r Rules) WithStatus(matchers ...Matcher) Rules {
	r.status = List{Matchers: matchers}
	return r
}

// WithPath returns the rules with those of a request's path replaced.
func (r Rules) WithPath(matchers ...Matcher) Rules {
	r.path = List{Matchers: matchers}
	return r.noted()
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
	return Rules{
		status:   r.status.join(other.status),
		path:     r.path.join(other.path),
		header:   joinLists(r.header, other.header),
		query:    joinLists(r.query, other.query),
		metadata: joinLists(r.metadata, other.metadata),
	}.withBody(slices.Collect(maps.Values(joined)))
}

func (l List) join(other List) List {
	if l.Empty() {
		return other
	}
	return List{Any: l.Any, Matchers: slices.Concat(l.Matchers, other.Matchers)}
}

func joinLists(a, b map[string]List) map[string]List {
	if len(a)+len(b) == 0 {
		return nil
	}
	joined := map[string]List{}
	maps.Copy(joined, b)
	for name, list := range a {
		joined[name] = list.join(b[name])
	}
	return joined
}

func (r Rules) filter(keep func(Kind) bool) Rules {
	var body []Rule
	for _, rule := range r.body {
		if list := rule.List.filter(keep); !list.Empty() {
			body = append(body, Rule{Path: rule.Path, List: list})
		}
	}
	return Rules{
		status:   r.status.filter(keep),
		path:     r.path.filter(keep),
		header:   filterLists(r.header, keep),
		query:    filterLists(r.query, keep),
		metadata: filterLists(r.metadata, keep),
	}.withBody(body)
}

func filterLists(lists map[string]List, keep func(Kind) bool) map[string]List {
	kept := map[string]List{}
	for name, list := range lists {
		if list := list.filter(keep); !list.Empty() {
			kept[name] = list
		}
	}
	return kept
}

// withBody replaces the rules of the body: it sorts them by precedence and
// prepares what cascades.
func (r Rules) withBody(rules []Rule) Rules {
	for i := range rules {
		rules[i].cascaded = rules[i].cascade()
	}
	sort.SliceStable(rules, func(i, j int) bool {
		a, b := rules[i].Path, rules[j].Path
		if wa, wb := a.weight(), b.weight(); wa != wb {
			return wa > wb
		}
		return a.before(b)
	})
	r.body, r.index = rules, nil
	if len(rules) > 0 {
		r.index = &index{}
	}
	return r.noted()
}

// noted remembers what kinds of matcher there are that change how one walks.
func (r Rules) noted() Rules {
	r.absent, r.ids = false, r.path.Has(ID)
	for i := range r.body {
		r.absent = r.absent || r.body[i].Has(Absent)
		r.ids = r.ids || r.body[i].Has(ID)
		for _, m := range r.body[i].Matchers {
			for _, v := range m.Variants {
				r.ids = r.ids || v.Rules.ids
			}
		}
	}
	for _, lists := range []map[string]List{r.header, r.query, r.metadata} {
		for _, list := range lists {
			r.ids = r.ids || list.Has(ID)
		}
	}
	return r
}
