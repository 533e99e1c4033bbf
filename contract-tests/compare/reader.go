package compare

import "fmt"

// reader takes a JSON text apart.
type reader struct {
	*tree
	pos   int
	depth int
}

func (r *reader) document() error {
	r.space()
	if _, err := r.value(""); err != nil {
		return err
	}
	if r.space(); r.pos < len(r.text) {
		return errFollows
	}
	return nil
}

func (r *reader) space() {
	for r.pos < len(r.text) {
		switch r.text[r.pos] {
		case ' ', '\t', '\n', '\r':
			r.pos++
		default:
			return
		}
	}
}

func (r *reader) wrong(want string) error {
	if r.pos >= len(r.text) {
		return fmt.Errorf("it ends where %s is due", want)
	}
	return fmt.Errorf("at byte %d: %q where %s is due", r.pos+1, r.text[r.pos:min(r.pos+1, len(r.text))], want)
}

// value reads the value at the present place and returns its node.
func (r *reader) value(name string) (int32, error) {
	if r.pos >= len(r.text) {
		return 0, r.wrong("a value")
	}
	if len(r.nodes) == mostValues {
		return 0, errMany
	}
	me := int32(len(r.nodes))
	r.nodes = append(r.nodes, node{name: name, start: int32(r.pos)})
	var err error
	switch c := r.text[r.pos]; {
	case c == '{':
		err = r.container(me, object, '}')
	case c == '[':
		err = r.container(me, array, ']')
	case c == '"':
		r.nodes[me].kind = str
		r.nodes[me].escaped, err = r.string()
	case c == '-' || c >= '0' && c <= '9':
		r.nodes[me].kind = number
		err = r.number()
	default:
		err = r.literal(me)
	}
	r.nodes[me].end = int32(r.pos)
	return me, err
}

func (r *reader) literal(me int32) error {
	for _, word := range [...]string{"null", "true", "false"} {
		if len(r.text)-r.pos >= len(word) && r.text[r.pos:r.pos+len(word)] == word {
			if word != "null" {
				r.nodes[me].kind = boolean
			}
			r.pos += len(word)
			return nil
		}
	}
	return r.wrong("a value")
}

// string skips a string and reports whether it has escapes.
func (r *reader) string() (escaped bool, err error) {
	for i := r.pos + 1; i < len(r.text); i++ {
		switch c := r.text[i]; {
		case c == '"':
			r.pos = i + 1
			return escaped, nil
		case c == '\\':
			escaped = true
			n, ok := escape(r.text[i+1:])
			if r.pos = i; !ok {
				return escaped, r.wrong("an escape")
			}
			i += n
		case c < ' ':
			r.pos = i
			return escaped, r.wrong("a character of a string")
		}
	}
	r.pos = len(r.text)
	return escaped, r.wrong("the end of a string")
}

// escape is how many bytes follow the backslash.
func escape(text string) (int, bool) {
	if text == "" {
		return 0, false
	}
	switch text[0] {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		return 1, true
	case 'u':
		for i := 1; i <= 4; i++ {
			if i >= len(text) || !isHex(text[i]) {
				return 0, false
			}
		}
		return 5, true
	}
	return 0, false
}

func isHex(c byte) bool { return isDigit(c) || c >= 'a' && c <= 'f' || c >= 'A' && c <= 'F' }

func isDigit(c byte) bool { return c >= '0' && c <= '9' }

func (r *reader) number() error {
	r.skip("-")
	if !r.skip("0") && !r.digits() {
		return r.wrong("a digit")
	}
	if r.skip(".") && !r.digits() {
		return r.wrong("a digit")
	}
	if r.skip("eE") {
		r.skip("+-")
		if !r.digits() {
			return r.wrong("a digit")
		}
	}
	return nil
}

// skip moves over one of some characters, if it is there.
func (r *reader) skip(any string) bool {
	if r.pos < len(r.text) {
		for i := range len(any) {
			if r.text[r.pos] == any[i] {
				r.pos++
				return true
			}
		}
	}
	return false
}

func (r *reader) digits() bool {
	start := r.pos
	for r.pos < len(r.text) && isDigit(r.text[r.pos]) {
		r.pos++
	}
	return r.pos > start
}

// container reads an object or an array, from its opening bracket on.
func (r *reader) container(me int32, kind nodeKind, closing byte) error {
	r.nodes[me].kind = kind
	if r.depth++; r.depth > deepest {
		return errDeep
	}
	r.pos++
	last := int32(0)
	for r.space(); ; {
		if r.pos < len(r.text) && r.text[r.pos] == closing && last == 0 {
			break
		}
		name := ""
		if kind == object {
			var err error
			if name, err = r.name(); err != nil {
				return err
			}
		}
		next, err := r.value(name)
		if err != nil {
			return err
		}
		if last == 0 {
			r.nodes[me].first = next
		} else {
			r.nodes[last].next = next
		}
		last = next
		r.nodes[me].count++
		if r.space(); r.skip(",") {
			r.space()
			continue
		}
		break
	}
	if r.pos >= len(r.text) || r.text[r.pos] != closing {
		return r.wrong(fmt.Sprintf(", or %c", closing))
	}
	r.pos++
	r.depth--
	if kind == object {
		r.lastCounts(me)
	}
	return nil
}

// name reads the name of a member and what separates it from its value.
func (r *reader) name() (string, error) {
	if r.pos >= len(r.text) || r.text[r.pos] != '"' {
		return "", r.wrong("the name of a member")
	}
	start := r.pos
	escaped, err := r.string()
	if err != nil {
		return "", err
	}
	name := r.text[start+1 : r.pos-1]
	if escaped {
		name = unquote(r.text[start:r.pos])
	}
	if r.space(); !r.skip(":") {
		return "", r.wrong("a colon")
	}
	r.space()
	return name, nil
}

// lastCounts takes those members out of an object that a later one of the same
// name replaces.
func (r *reader) lastCounts(me int32) {
	if !r.repeats(me) {
		return
	}
	seen := map[string]bool{}
	all := r.below(me)
	r.nodes[me].count = 0
	next := int32(0)
	for i := len(all) - 1; i >= 0; i-- {
		n := r.at(all[i])
		if seen[n.name] {
			continue
		}
		seen[n.name] = true
		n.next, next = next, all[i]
		r.nodes[me].count++
	}
	r.nodes[me].first = next
	delete(r.wide, me)
}

// repeats reports whether two members have the same name.
func (r *reader) repeats(me int32) bool {
	if r.nodes[me].count > narrow {
		return len(r.members(me)) < int(r.nodes[me].count)
	}
	for n := r.nodes[me].first; n != 0; n = r.nodes[n].next {
		for m := r.nodes[n].next; m != 0; m = r.nodes[m].next {
			if r.nodes[m].name == r.nodes[n].name {
				return true
			}
		}
	}
	return false
}
