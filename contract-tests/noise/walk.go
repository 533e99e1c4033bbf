package noise

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"time"

	"stranglerfig/contract-tests/compare"
	"stranglerfig/contract-tests/match"
)

// walk goes through one pair.
type walk struct {
	learner *Learner
	subject subject
	path    match.Path
	flips   map[*place]*flip
}

// flip is how a place differed in one pair.
type flip struct {
	sometimes, lengths, reordered bool // see place
	values                        int  // that differed
	moments                       int  // of them: both were moments
	distance                      time.Duration
}

// place returns what is known of a path; nil where there is no room.
func (w *walk) place(path string) *place {
	k := key{w.subject, path}
	p := w.learner.places[k]
	if p == nil {
		if len(w.learner.places) == most {
			w.learner.beyond++
			return nil
		}
		p = &place{}
		w.learner.places[k] = p
	}
	return p
}

// here is the place that the walk has come to. All elements of an array are one,
// and so are the members whose names are data.
func (w *walk) here() *place {
	path := bodyPath + w.path.String()[1:]
	_, general, _ := strings.Cut(compare.Difference{Kind: compare.Value, Path: path}.Fingerprint(), " ")
	return w.place(general)
}

// flip notes that a place differed, and returns where to say how.
func (w *walk) flip(p *place) *flip {
	if p == nil {
		return &flip{} // for which there was no room
	}
	f := w.flips[p]
	if f == nil {
		f = &flip{}
		w.flips[p] = f
	}
	return f
}

// apart notes two values that differ.
func (f *flip) apart(a, b any) {
	f.values++
	x, okA := moment(a)
	y, okB := moment(b)
	if okA && okB {
		f.moments++
		f.distance = max(f.distance, x.Sub(y).Abs())
	}
}

// documents walks through both bodies where they are JSON, and reports whether
// they are.
func (w *walk) documents(a, b compare.Message) bool {
	x, okA := decode(a.Body)
	y, okB := decode(b.Body)
	if okA && okB {
		w.values(x, y)
	}
	return okA && okB
}

// decode reads a JSON object or array; anything else is compared as text.
func decode(body []byte) (any, bool) {
	v, err := match.Decode(body)
	switch v.(type) {
	case map[string]any, []any:
		return v, err == nil
	}
	return nil, false
}

// below goes one step down and back.
func (w *walk) below(s match.Step, f func()) {
	w.path = append(w.path, s)
	f()
	w.path = w.path[:len(w.path)-1]
}

// values notes two values of one place.
func (w *walk) values(a, b any) {
	x, objectA := a.(map[string]any)
	y, objectB := b.(map[string]any)
	if objectA && objectB {
		w.objects(x, y)
		return
	}
	u, arrayA := a.([]any)
	v, arrayB := b.([]any)
	if arrayA && arrayB {
		w.arrays(u, v)
		return
	}
	p := w.here()
	if p == nil {
		return
	}
	p.see(a)
	p.see(b)
	if !match.Equal(a, b) || match.KindOf(a) != match.KindOf(b) {
		w.flip(p).apart(a, b)
	}
}

func (w *walk) objects(a, b map[string]any) {
	names := slices.Collect(maps.Keys(a))
	for name := range b {
		if _, both := a[name]; !both {
			names = append(names, name)
		}
	}
	for _, name := range names {
		x, inA := a[name]
		y, inB := b[name]
		w.below(match.Field(name), func() {
			if inA && inB {
				w.values(x, y)
			} else {
				w.flip(w.here()).sometimes = true
			}
		})
	}
}

// arrays compares element by element, unless the two hold the same in another
// order, or not as much: then it is the array that differs, and its elements are
// only looked at.
func (w *walk) arrays(a, b []any) {
	p := w.here()
	if p != nil {
		p.array = true
		p.length(len(a))
		p.length(len(b))
	}
	switch {
	case len(a) != len(b):
		w.flip(p).lengths = true
	case !slices.Equal(texts(a), texts(b)) && slices.Equal(sorted(a), sorted(b)):
		w.flip(p).reordered = true
	default:
		for i := range a {
			w.below(match.Index(i), func() { w.values(a[i], b[i]) })
		}
		return
	}
	for _, all := range [][]any{a, b} {
		for i, v := range all {
			w.below(match.Index(i), func() { w.values(v, v) })
		}
	}
}

func texts(all []any) []string {
	list := make([]string, len(all))
	for i, v := range all {
		raw, _ := json.Marshal(v) // what was decoded can be encoded
		list[i] = string(raw)
	}
	return list
}

func sorted(all []any) []string {
	list := texts(all)
	slices.Sort(list)
	return list
}

// difference notes what the comparator found where no document was walked
// through: in a header, or in the body of an HTML page, XML or a form, of which
// only what differs is seen.
func (w *walk) difference(d compare.Difference, documents bool) {
	if strings.HasPrefix(d.Path, headerPath) {
		if p := w.place(d.Path); p != nil {
			p.partial = true
			w.text(p, d)
		}
		return
	}
	if documents || !strings.HasPrefix(d.Path, bodyPath) {
		return
	}
	_, general, _ := strings.Cut(d.Fingerprint(), " ")
	p := w.place(general)
	if p == nil {
		return
	}
	p.partial = true
	if general == bodyPath || strings.Contains(general, ":line ") {
		p.whole = true // there is no rule for a part of a text
	}
	switch d.Kind {
	case compare.Order:
		p.array, w.flip(p).reordered = true, true
	case compare.Length:
		p.array, w.flip(p).lengths = true, true
	default:
		w.text(p, d)
	}
}

// text notes two texts that differ.
func (w *walk) text(p *place, d compare.Difference) {
	f := w.flip(p)
	if d.Kind == compare.Missing || d.Kind == compare.Extra {
		f.sometimes = true
		return
	}
	p.see(d.Expected)
	p.see(d.Actual)
	f.apart(d.Expected, d.Actual)
}
