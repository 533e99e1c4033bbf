package match

import "strings"

// List is the matchers of one place. They must all hold, unless Any says that
// one suffices.
type List struct {
	Any      bool
	Matchers []Matcher
}

// Empty reports whether the list has no matchers.
func (l List) Empty() bool { return len(l.Matchers) == 0 }

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

// Match checks a value that has no path, such as a status or a header.
func (l List) Match(expected, actual any) error {
	return Found{List: l}.Match(expected, actual)
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

// Has reports whether one of the matchers is of this kind.
func (l List) Has(k Kind) bool {
	for _, m := range l.Matchers {
		if m.Kind == k {
			return true
		}
	}
	return false
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

// Found is what applies to a value: the strongest rule whose path leads to it.
type Found struct {
	List
	Path     Path // of the rule
	Cascaded bool // the rule was written for something above the value
}

// Has reports whether a matcher of this kind was written for the value itself.
func (f Found) Has(k Kind) bool { return !f.Cascaded && f.List.Has(k) }

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

// OnlyType reports whether the rule asks for nothing but the example's type.
func (f *Found) OnlyType() bool {
	for i := range f.Matchers {
		if m := &f.Matchers[i]; m.Kind != Type || m.Min != nil || m.Max != nil {
			return false
		}
	}
	return true
}

// NeedsNoExample reports whether all matchers speak of a scalar by itself, so
// that the example need not be decoded.
func (f *Found) NeedsNoExample() bool {
	for i := range f.Matchers {
		switch f.Matchers[i].Kind {
		case Regex, Include, SemVer, Date, Time, DateTime, Integer, Decimal, Number, Boolean, Null, OneOfFormats:
		default:
			return false
		}
	}
	return true
}

// Match checks a value against everything that applies to it. A matcher of
// scalars that cascades down says nothing of the containers on its way. Null
// passes wherever nullable stands among the matchers.
func (f Found) Match(expected, actual any) error {
	if (actual == nil || expected == nil) && f.Has(Nullable) {
		return nil
	}
	whole := f.Cascaded && (container(expected) || container(actual))
	var first error
	for i := range f.Matchers {
		m := &f.Matchers[i]
		var err error
		if !whole || m.Kind.container() {
			err = m.check(expected, actual)
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
