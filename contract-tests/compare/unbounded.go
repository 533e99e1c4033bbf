package compare

import "stranglerfig/contract-tests/match"

// Unbounded lists the lists of an example of JSON whose length a rule frees
// without saying how many elements there must be. Pact's semantics let a shorter
// answer pass there, even an empty one, which is seldom meant.
func Unbounded(example Message, rules match.Rules) []string {
	p := example.part()
	if f := p.declared(); f != jsonText && (f != unknown || p.guessed() != jsonText) {
		return nil
	}
	text, err := p.text(jsonText)
	if err != nil {
		return nil
	}
	t, err := parse(text)
	if err != nil {
		return nil // which is said where the example is compared
	}
	defer t.release()
	c := begin(rules, Options{})
	defer c.end()
	return walker{comparison: c, e: t, a: t}.unbounded(0, nil)
}

// unbounded adds the lists at a value and below it. Of a list it looks into the
// first element, which stands for the others.
func (w walker) unbounded(at int32, paths []string) []string {
	switch n := w.e.at(at); n.kind {
	case object:
		for m := n.first; m != 0; m = w.e.at(m).next {
			w.member(w.e.at(m).name, func(*match.Found) { paths = w.unbounded(m, paths) })
		}
	case array:
		found := w.cursor.Found()
		if n.count > 0 && w.likeExample(found) && !saysHowMany(found) {
			paths = append(paths, w.where())
		}
		if n.count > 0 {
			w.path = append(w.path, match.Index(0))
			w.cursor.Index(0)
			paths = w.unbounded(n.first, paths)
			w.cursor.Leave()
			w.path = w.path[:len(w.path)-1]
		}
	}
	return paths
}

// saysHowMany reports whether a rule asks for elements, by number or by what
// must be among them.
func saysHowMany(found *match.Found) bool {
	m, ok := found.Get(match.Type)
	return ok && m.Min != nil || found.Has(match.ArrayContains) || found.Has(match.Unordered) || found.Has(match.NotEmpty)
}
