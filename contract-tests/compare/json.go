package compare

import (
	"strings"

	"stranglerfig/contract-tests/match"
)

// json compares the texts as documents, member by member. The errors say why
// one of them is none.
func (c *comparison) json(expected, actual string) (errExpected, errActual error) {
	e, errExpected := parse(expected)
	if errExpected != nil {
		return errExpected, nil
	}
	defer e.release()
	a, errActual := parse(actual)
	if errActual != nil {
		return nil, errActual
	}
	defer a.release()
	w := walker{comparison: c, e: e, a: a}
	w.value(0, 0)
	return nil, nil
}

// walker compares two trees. Its functions take the nodes of both sides.
type walker struct {
	*comparison
	e, a *tree
}

func (w walker) report(kind Kind, expected, actual int32, rule string) {
	if w.full() {
		w.dropped++
		return
	}
	w.comparison.report(kind, w.e.show(expected), w.a.show(actual), rule)
}

// field and element compare one step further down.
func (w walker) field(name string, expected, actual int32) {
	w.path = append(w.path, match.Field(name))
	w.cursor.Field(name)
	w.value(expected, actual)
	w.cursor.Leave()
	w.path = w.path[:len(w.path)-1]
}

func (w walker) element(i int, expected, actual int32) {
	w.path = append(w.path, match.Index(i))
	w.cursor.Index(i)
	w.value(expected, actual)
	w.cursor.Leave()
	w.path = w.path[:len(w.path)-1]
}

// alike reports whether two values need not be looked into: they are written
// alike, and no rule could object to that.
func (w walker) alike(expected, actual int32) bool {
	return (w.exact && !w.rules.NamesIDs() || !w.cursor.Below()) && w.e.raw(expected) == w.a.raw(actual)
}

func (w walker) value(expected, actual int32) {
	if w.alike(expected, actual) {
		return
	}
	found := w.cursor.Found()
	if !found.Empty() && !w.ruled(found, expected, actual) {
		return
	}
	e, a := w.e.at(expected), w.a.at(actual)
	switch {
	case e.kind == object && a.kind == object:
		w.object(expected, actual, found)
	case e.kind == array && a.kind == array:
		w.array(expected, actual, found)
	case found.Empty():
		w.scalar(expected, actual)
	}
}

// ruled holds two values to their rule, and reports whether they obey it.
func (w walker) ruled(found *match.Found, expected, actual int32) bool {
	kind := w.e.at(expected).kind
	if kind == w.a.at(actual).kind && found.OnlyType() {
		return true
	}
	a := w.a.value(actual)
	e := a
	if kind == array || kind == object || !found.NeedsNoExample() {
		e = w.e.value(expected)
	}
	if err := found.Match(e, a); err != nil {
		w.report(kindOf(err), expected, actual, violated(found, err))
		return false
	}
	w.identify(found.List, w.where, e, a)
	return true
}

// scalar compares two values without a rule, at least one of which is scalar.
func (w walker) scalar(expected, actual int32) {
	e, a := w.e.at(expected), w.a.at(actual)
	switch {
	case e.kind != a.kind:
		w.report(Type, expected, actual, "")
	case w.e.raw(expected) == w.a.raw(actual):
	case !match.Equal(w.e.value(expected), w.a.value(actual)):
		w.report(Value, expected, actual, "")
	case w.exact && e.kind == number && fractional(w.e.raw(expected)) != fractional(w.a.raw(actual)):
		w.report(Type, expected, actual, "")
	}
}

// fractional tells 12 from 12.0, which a client that reads integers cannot read.
func fractional(number string) bool { return strings.ContainsAny(number, ".eE") }

func (w walker) object(expected, actual int32, found *match.Found) {
	if found.Has(match.Values) || found.Has(match.EachKey) || found.Has(match.EachValue) {
		w.freeKeys(expected, actual, found)
		return
	}
	known, hint := int32(0), w.a.at(actual).first
	for e := w.e.at(expected).first; e != 0; e = w.e.at(e).next {
		name := w.e.at(e).name
		a := w.a.member(actual, name, hint)
		if a == 0 {
			w.missing(name, e)
			continue
		}
		known, hint = known+1, w.a.at(a).next
		w.field(name, e, a)
	}
	if known < w.a.at(actual).count && (w.closed || w.rules.SaysAbsent()) {
		w.extras(expected, actual)
	}
}

func (w walker) missing(name string, expected int32) {
	w.member(name, func(found *match.Found) {
		if !found.Has(match.Absent) {
			w.comparison.report(Missing, w.e.show(expected), "", "")
		}
	})
}

// extras reports members the expected object lacks, where that is an offence. A
// rule of their own that has no example holds them to themselves.
func (w walker) extras(expected, actual int32) {
	hint := w.e.at(expected).first
	for a := w.a.at(actual).first; a != 0; a = w.a.at(a).next {
		name := w.a.at(a).name
		if e := w.e.member(expected, name, hint); e != 0 {
			hint = w.e.at(e).next
			continue
		}
		w.member(name, func(found *match.Found) {
			w.extra(found, w.a.show(a))
			if w.exact || !w.closed || found.Empty() || found.Cascaded || found.Has(match.Absent) {
				return
			}
			if err := found.Match(w.a.value(a), w.a.value(a)); err != nil {
				w.comparison.report(kindOf(err), "", w.a.show(a), violated(found, err))
			}
		})
	}
}

// freeKeys compares an object that is used as a map: a key the example lacks
// is held to the example's first value.
func (w walker) freeKeys(expected, actual int32, found *match.Found) {
	keys, _ := found.Get(match.EachKey)
	eachValue, _ := found.Get(match.EachValue)
	template := w.e.at(expected).first
	for a := w.a.at(actual).first; a != 0; a = w.a.at(a).next {
		name := w.a.at(a).name
		for _, m := range keys.Rules {
			if err := m.Match(name, name); err != nil {
				w.comparison.report(Value, "", name, violated(found, err))
			}
		}
		example := w.e.member(expected, name, 0)
		if example == 0 {
			example = template
		}
		if len(eachValue.Rules) > 0 {
			w.member(name, func(*match.Found) { w.eachValue(eachValue.Rules, example, a) })
		} else if example != 0 {
			w.field(name, example, a)
		}
	}
}

// eachValue holds a value to the matchers of the object or array it is in. What
// they say of containers as a whole is said; what is in these, the rules below
// say.
func (w walker) eachValue(rules []match.Matcher, example, actual int32) {
	a := w.a.value(actual)
	e, shown := a, ""
	if example != 0 {
		e, shown = w.e.value(example), w.e.show(example)
	}
	for _, m := range rules {
		if err := m.Match(e, a); err != nil {
			w.comparison.report(kindOf(err), shown, w.a.show(actual), w.cursor.Found().String()+"eachValue, "+err.Error())
			return
		}
	}
	if example != 0 && (w.e.at(example).kind == object || w.e.at(example).kind == array) && w.cursor.Below() {
		w.value(example, actual)
	}
}

// agree reports whether two values agree, without listing anything: under other
// rules if there are some, else under those of the cursor's place.
func (w walker) agree(rules *match.Rules, expected, actual int32) bool {
	c := w.comparison
	listed, noted, old, path := c.collector, len(c.ids.pairs), c.rules, c.path
	c.collector = collector{trial: true}
	if rules != nil {
		cursor := c.cursor
		c.cursor, c.rules, c.path = match.Cursor{}, *rules, nil
		c.cursor.Reset(*rules)
		w.value(expected, actual)
		c.cursor, c.rules, c.path = cursor, old, path
	} else {
		w.value(expected, actual)
	}
	ok := c.count() == 0
	c.collector = listed
	c.ids.since(noted)
	return ok
}
