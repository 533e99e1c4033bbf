package match

import (
	"fmt"
	"strconv"
	"strings"
	"unicode"
)

// stepKind tells the four forms of a path's step apart.
type stepKind uint8

const (
	field stepKind = iota
	indexed
	anyStep  // * : any field and any index
	anyIndex // [*] : any index
)

// Step is one step of a path, below the root.
type Step struct {
	kind  stepKind
	name  string
	index int
}

// Field is the step to a named member of an object.
func Field(name string) Step { return Step{kind: field, name: name} }

// Index is the step to an element of an array, counted from 0.
func Index(i int) Step { return Step{kind: indexed, index: i} }

// AnyStep is the step * of a rule: any member of an object or array.
func AnyStep() Step { return Step{kind: anyStep} }

// AnyIndex is the step [*] of a rule: any element of an array.
func AnyIndex() Step { return Step{kind: anyIndex} }

// Path is the way from a document's root to one of its values. The root is
// the empty path. In a rule, steps may be wildcards.
type Path []Step

// ParsePath reads a path such as $.invoices[0]['unit price'].*[*]. The error
// names the position of what cannot be read.
func ParsePath(text string) (Path, error) {
	if !strings.HasPrefix(text, "$") {
		return nil, fmt.Errorf("path %q: must start with $", text)
	}
	path := Path{}
	for rest := text[1:]; rest != ""; {
		step, n, err := parseStep(rest)
		if err != nil {
			return nil, fmt.Errorf("path %q: at character %d: %w", text, len(text)-len(rest)+1, err)
		}
		path = append(path, step)
		rest = rest[n:]
	}
	return path, nil
}

// parseStep reads the first step of text and tells how long it is.
func parseStep(text string) (Step, int, error) {
	switch {
	case text[0] == '.':
		return parseField(text)
	case strings.HasPrefix(text, "['"), strings.HasPrefix(text, `["`):
		return parseQuoted(text)
	case text[0] == '[':
		return parseIndex(text)
	}
	return Step{}, 0, fmt.Errorf("want . or [, found %q", text[:1])
}

func parseField(text string) (Step, int, error) {
	end := strings.IndexAny(text[1:], ".[")
	if end < 0 {
		end = len(text) - 1
	}
	name := text[1 : 1+end]
	switch name {
	case "":
		return Step{}, 0, fmt.Errorf("a name or * must follow the dot")
	case "*":
		return AnyStep(), 2, nil
	}
	return Field(name), 1 + end, nil
}

func parseQuoted(text string) (Step, int, error) {
	var name strings.Builder
	quote := text[1]
	for i := 2; i < len(text); i++ {
		switch {
		case text[i] == '\\' && i+1 < len(text):
			i++
			name.WriteByte(text[i])
		case text[i] == quote:
			if !strings.HasPrefix(text[i+1:], "]") {
				return Step{}, 0, fmt.Errorf("want ] after the closing quote")
			}
			return Field(name.String()), i + 2, nil
		default:
			name.WriteByte(text[i])
		}
	}
	return Step{}, 0, fmt.Errorf("the quoted name does not end")
}

func parseIndex(text string) (Step, int, error) {
	end := strings.IndexByte(text, ']')
	if end < 0 {
		return Step{}, 0, fmt.Errorf("want ] after [")
	}
	inner := text[1:end]
	if inner == "*" {
		return AnyIndex(), end + 1, nil
	}
	n, err := strconv.Atoi(inner)
	if err != nil || n < 0 {
		return Step{}, 0, fmt.Errorf("want an index, * or a quoted name between the brackets, found %q", inner)
	}
	return Index(n), end + 1, nil
}

// String writes the path as ParsePath reads it.
func (p Path) String() string {
	var b strings.Builder
	b.WriteByte('$')
	for _, s := range p {
		s.write(&b)
	}
	return b.String()
}

func (s Step) write(b *strings.Builder) {
	switch s.kind {
	case anyStep:
		b.WriteString(".*")
	case anyIndex:
		b.WriteString("[*]")
	case indexed:
		b.WriteByte('[')
		b.WriteString(strconv.Itoa(s.index))
		b.WriteByte(']')
	default:
		if plain(s.name) {
			b.WriteByte('.')
			b.WriteString(s.name)
			return
		}
		b.WriteString("['")
		b.WriteString(escapes.Replace(s.name))
		b.WriteString("']")
	}
}

// escapes are what a name between quotes must not hold as it is.
var escapes = strings.NewReplacer(`\`, `\\`, `'`, `\'`)

// plain reports whether a name needs no quotes.
func plain(name string) bool {
	for _, r := range name {
		if !unicode.IsLetter(r) && !unicode.IsDigit(r) && r != '_' && r != '-' {
			return false
		}
	}
	return name != ""
}

// weight is Pact's precedence: each exact step counts 2 and each wildcard 1,
// multiplied, times the rule's length. It does not depend on the value, so
// rules can be sorted once.
func (p Path) weight() float64 {
	w := 2.0 // the root
	for _, s := range p {
		if s.kind == field || s.kind == indexed {
			w *= 2
		}
	}
	return w * float64(len(p)+1)
}

// before orders two rules of equal weight: the one that is more exact nearer
// to the value comes first, then the one that sorts first as text, so that the
// choice never depends on the order of a map.
func (p Path) before(other Path) bool {
	for i, j := len(p)-1, len(other)-1; i >= 0 && j >= 0; i, j = i-1, j-1 {
		exact, otherExact := p[i].kind <= indexed, other[j].kind <= indexed
		if exact != otherExact {
			return exact
		}
	}
	return p.String() < other.String()
}
