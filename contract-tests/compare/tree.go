package compare

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"stranglerfig/contract-tests/match"
)

// tree is a JSON text, taken apart and not decoded: most values of two answers
// are written alike, and need no more than a look at their bytes.
type tree struct {
	text  string
	nodes []node // each is followed by what is below it
	wide  map[int32]map[string]int32
}

type nodeKind uint8

const (
	null nodeKind = iota
	boolean
	number
	str
	array
	object
)

// node is a value of a tree.
type node struct {
	kind       nodeKind
	escaped    bool   // a string with escapes
	name       string // of a member
	start, end int32  // in the text
	first      int32  // the first element or member, 0 if there is none
	next       int32  // the one after this, 0 if it is the last
	count      int32  // elements or members
}

var trees = sync.Pool{New: func() any { return new(tree) }}

// parse reads exactly one JSON document (RFC 8259). Of members with the same
// name the last counts, as it does for most clients. The error names the place.
func parse(text string) (*tree, error) {
	t := trees.Get().(*tree)
	t.text, t.nodes = text, t.nodes[:0]
	r := reader{tree: t}
	err := r.document()
	if err != nil {
		t.release()
		return nil, err
	}
	return t, nil
}

func (t *tree) release() {
	if cap(t.nodes) > mostKept {
		return
	}
	t.text, t.wide = "", nil
	clear(t.nodes)
	trees.Put(t)
}

// mostValues bounds the values of a document that is read, and mostKept those
// whose memory is kept for the next one.
const mostValues, mostKept = 1_000_000, 50_000

var errMany = fmt.Errorf("more than %d values", mostValues)

// isJSON reports whether a text is one JSON document.
func isJSON(text []byte) bool { return json.Valid(text) }

func (t *tree) at(i int32) *node { return &t.nodes[i] }

// raw is a value as it is written.
func (t *tree) raw(i int32) string { return t.text[t.nodes[i].start:t.nodes[i].end] }

// string is the value of a string.
func (t *tree) string(i int32) string {
	raw := t.raw(i)
	if !t.nodes[i].escaped {
		return raw[1 : len(raw)-1]
	}
	return unquote(raw)
}

// unquote decodes a string that was read, which cannot fail.
func unquote(raw string) string {
	var s string
	_ = json.Unmarshal([]byte(raw), &s)
	return s
}

// value is what a matcher is shown.
func (t *tree) value(i int32) any {
	switch n := t.at(i); n.kind {
	case boolean:
		return t.text[n.start] == 't'
	case number:
		return json.Number(t.raw(i))
	case str:
		return t.string(i)
	case array:
		return match.Array(n.count)
	case object:
		return match.Object(n.count)
	}
	return nil
}

// below lists the elements or members.
func (t *tree) below(i int32) []int32 {
	all := make([]int32, 0, t.nodes[i].count)
	for n := t.nodes[i].first; n != 0; n = t.nodes[n].next {
		all = append(all, n)
	}
	return all
}

// narrow is how many members are looked through one by one.
const narrow = 32

// member finds a member by its name, 0 if there is none. It is likely to be at
// hint, because both sides tend to write members in the same order.
func (t *tree) member(i int32, name string, hint int32) int32 {
	if hint != 0 && t.nodes[hint].name == name {
		return hint
	}
	if t.nodes[i].count <= narrow {
		for n := t.nodes[i].first; n != 0; n = t.nodes[n].next {
			if t.nodes[n].name == name {
				return n
			}
		}
		return 0
	}
	return t.members(i)[name]
}

// members is an index of an object with many of them.
func (t *tree) members(i int32) map[string]int32 {
	if t.wide[i] == nil {
		if t.wide == nil {
			t.wide = map[int32]map[string]int32{}
		}
		byName := make(map[string]int32, t.nodes[i].count)
		for n := t.nodes[i].first; n != 0; n = t.nodes[n].next {
			byName[t.nodes[n].name] = n
		}
		t.wide[i] = byName
	}
	return t.wide[i]
}

// show is a value on one line, as it is written.
func (t *tree) show(i int32) string {
	n := t.at(i)
	if n.kind != array && n.kind != object {
		return t.raw(i)
	}
	var b strings.Builder
	t.write(&b, i, longest, false)
	return b.String()
}

// key is the same for values that are equal apart from the order of members.
func (t *tree) key(i int32) string {
	var b strings.Builder
	t.write(&b, i, len(t.text)+1, true)
	return b.String()
}

// write renders a value, and stops soon after it has written most bytes.
func (t *tree) write(b *strings.Builder, i int32, most int, sorted bool) {
	n := t.at(i)
	if n.kind != array && n.kind != object {
		b.WriteString(t.raw(i))
		return
	}
	below := t.below(i)
	brackets := "[]"
	if n.kind == object {
		brackets = "{}"
		if sorted {
			slices.SortFunc(below, func(a, b int32) int { return strings.Compare(t.nodes[a].name, t.nodes[b].name) })
		}
	}
	b.WriteString(brackets[:1])
	for at, m := range below {
		if b.Len() > most*4 {
			break
		}
		if at > 0 {
			b.WriteByte(',')
		}
		if n.kind == object {
			b.WriteString(quoted(t.nodes[m].name))
			b.WriteByte(':')
		}
		t.write(b, m, most, sorted)
	}
	b.WriteString(brackets[1:])
}

func quoted(name string) string {
	if !strings.ContainsFunc(name, func(r rune) bool { return r < ' ' || r > '~' || r == '"' || r == '\\' }) {
		return `"` + name + `"`
	}
	q, err := json.Marshal(name)
	if err != nil {
		return fmt.Sprintf("%q", name)
	}
	return string(q)
}

// deepest bounds how far a document may be nested.
const deepest = 1000

var errDeep = fmt.Errorf("nested deeper than %d", deepest)

var errFollows = errors.New("something follows the document")
