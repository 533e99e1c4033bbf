package compare

import (
	"slices"
	"strings"
)

// AppendSkeleton appends a JSON document without its values: which members there
// are, by name, and of which kind they are. A list is like its first element. It
// reports false, and appends nothing, where the body is no JSON document.
func AppendSkeleton(to, body []byte) (_ []byte, isJSON bool) {
	t, err := parse(string(body))
	if err != nil {
		return to, false
	}
	defer t.release()
	return t.appendSkeleton(to, 0), true
}

func (t *tree) appendSkeleton(to []byte, i int32) []byte {
	n := t.at(i)
	switch n.kind {
	case object:
		members := t.below(i)
		slices.SortFunc(members, func(a, b int32) int { return strings.Compare(t.nodes[a].name, t.nodes[b].name) })
		to = append(to, '{')
		for _, m := range members {
			to = append(append(to, t.nodes[m].name...), ':')
			to = t.appendSkeleton(to, m)
		}
		return append(to, '}')
	case array:
		to = append(to, '[')
		if n.first != 0 {
			to = t.appendSkeleton(to, n.first)
		}
		return append(to, ']')
	}
	return append(to, [...]byte{null: '0', boolean: 'b', number: 'n', str: 's'}[n.kind])
}
