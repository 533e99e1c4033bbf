package route

import (
	"fmt"
	"slices"
	"strings"
)

// Header is a request's header, field by field in the order of arrival.
type Header interface {
	Fields() int
	// Field returns a field; its name is "" where it is not passed on.
	Field(i int) (name, value string)
}

// holds reports whether a request meets all predicates of a route. Where that
// depends on who reads the request, the search has a doubt.
//
// What is asked for may be there several times, or in a spelling that servers
// read differently: "?kind=a&kind=b", two cookies of a name, X_Version for
// X-Version. The proxy cannot know which one the owner goes by, and whoever
// could make the two disagree would get past the route's owner. So where one
// reading meets the route and another does not, the request is refused; where
// all agree, it is not, however often a name is repeated.
func (s *search) holds(r *Route) bool {
	var doubtful *predicate
	for _, inQuery := range [...]bool{false, true} { // which may be long, and costs most
		for i := range r.predicates {
			p := &r.predicates[i]
			if (p.of == query) != inQuery {
				continue
			}
			switch p.judge(&s.request) {
			case no:
				s.pass(r, i)
				return false
			case unclear:
				doubtful = p
			}
		}
	}
	if doubtful == nil {
		return true
	}
	s.doubt = &DoubtError{Route: r.ID, Predicate: doubtful.String()}
	return false
}

// DoubtError says that servers would read differently what a route asks for.
type DoubtError struct{ Route, Predicate string }

func (e *DoubtError) Error() string {
	return fmt.Sprintf("whether the request meets route %q depends on who reads it: %s is there more than once, or in a spelling that servers read differently", e.Route, e.Predicate)
}

// pass says that a route is passed over for one of its predicates.
func (s *search) pass(r *Route, predicate int) {
	if s.passed == nil {
		return
	}
	said := fmt.Sprintf("route %q asks for %s", r.ID, r.Predicates()[predicate])
	if !slices.Contains(*s.passed, said) {
		*s.passed = append(*s.passed, said)
	}
}

// answer is what a predicate says of a request.
type answer uint8

const (
	no answer = iota
	yes
	unclear
)

// judge looks for what the predicate asks for.
func (p *predicate) judge(q *Request) answer {
	if p.of == query && p.equal && p.isAbsent(q.Query) {
		return no
	}
	seen := sighting{want: p}
	seen.look(q)
	return seen.verdict()
}

// isAbsent reports whether no parameter of a query can have the value that is
// asked for, which is quickly seen where nothing is escaped.
func (p *predicate) isAbsent(query string) bool {
	return !strings.Contains(query, p.value) && strings.IndexByte(query, '%') < 0
}

// sighting is what was found of what a predicate asks for.
type sighting struct {
	want  *predicate
	clear int // times that every server finds it
	vague int // times that some do
	exact int // of the clear ones those whose value every server takes for the one asked for
	alike int // times that some server takes the value for the one asked for
	// into is where whatever some server takes for a value of the name is looked
	// up, when no single value is asked for; nil otherwise.
	into *candidates
}

// look looks at a request.
func (s *sighting) look(q *Request) {
	switch {
	case s.want.of == query:
		s.query(q.Query)
	case q.Header == nil:
	case s.want.of == header:
		for i := range q.Header.Fields() {
			s.field(q.Header.Field(i))
		}
	default:
		for i := range q.Header.Fields() {
			if name, value := q.Header.Field(i); same(name, "cookie") {
				s.cookies(value)
			}
		}
	}
}

func (s *sighting) verdict() answer {
	switch {
	case !s.want.equal && s.clear > 0:
		return yes
	case !s.want.equal && s.vague == 0, s.want.equal && s.alike == 0:
		return no
	case s.want.equal && s.exact == 1 && s.clear == 1 && s.vague == 0:
		return yes
	}
	return unclear
}

// note counts one place where the name was found.
func (s *sighting) note(clear, exact, alike bool) {
	if clear {
		s.clear++
	} else {
		s.vague++
	}
	if clear && exact {
		s.exact++
	}
	if exact || alike {
		s.alike++
	}
}

// field looks at a field. CGI and its heirs read _ in a name as -.
func (s *sighting) field(name, value string) {
	if len(name) != len(s.want.name) {
		return
	}
	clear := true
	for i := 0; i < len(name); i++ {
		switch c := name[i]; {
		case small(c) == s.want.name[i]:
		case c == '_' && s.want.name[i] == '-':
			clear = false
		default:
			return
		}
	}
	value = strings.Trim(value, " \t")
	if s.into != nil {
		s.into.value(value)
		return
	}
	s.note(clear, value == s.want.value, false)
}

// cookies looks at the value of a Cookie field. Old servers take a comma for the
// end of a cookie as well, and let a quoted value hold a semicolon.
func (s *sighting) cookies(list string) {
	quotes := 0
	for list != "" {
		one, rest, _ := strings.Cut(list, ";")
		s.cookie(one, quotes%2 == 0)
		if strings.IndexByte(one, ',') >= 0 {
			for part := range strings.SplitSeq(one, ",") {
				s.cookie(part, false)
			}
		}
		quotes += strings.Count(one, `"`)
		list = rest
	}
}

func (s *sighting) cookie(text string, clear bool) {
	text = strings.Trim(text, " \t")
	name, value, named := strings.Cut(text, "=")
	if name != s.want.name {
		if !MayName(strings.Trim(name, " \t"), s.want.name) {
			return
		}
		clear = false
	}
	bare := value
	if n := len(value); n > 1 && value[0] == '"' && value[n-1] == '"' {
		bare = value[1 : n-1]
	}
	inner := strings.Trim(value, "\" \t")
	if s.into != nil {
		s.into.value(value)
		s.into.value(bare)
		s.into.escaped(inner)
		return
	}
	alike, _ := decodesTo(inner, s.want.value)
	s.note(clear && named && ordinary(bare), value == s.want.value, bare == s.want.value || alike)
}

// ordinary reports whether a cookie's value has nothing that makes some servers
// leave the cookie out: RFC 6265, 4.1.1.
func ordinary(value string) bool {
	for i := 0; i < len(value); i++ {
		if c := value[i]; c < ' ' || c >= 0x7f || c == '"' || c == '\\' {
			return false
		}
	}
	return true
}

// query looks at a query. Some servers take a semicolon for the end of a
// parameter as well, and some leave a parameter out that has one.
func (s *sighting) query(list string) {
	for list != "" {
		one, rest, _ := strings.Cut(list, "&")
		divided := strings.IndexByte(one, ';') >= 0
		s.parameter(one, !divided)
		if divided {
			for part := range strings.SplitSeq(one, ";") {
				s.parameter(part, false)
			}
		}
		list = rest
	}
}

func (s *sighting) parameter(text string, clear bool) {
	name, value, _ := strings.Cut(text, "=")
	exact, alike := namesParameter(name, s.want.name)
	if !exact && !alike {
		return
	}
	if s.into != nil {
		s.into.escaped(value)
		return
	}
	equal, broken := decodesTo(value, s.want.value)
	s.note(clear && exact && !broken, equal, equal)
}

// MayName reports whether some server takes the name of a parameter, as sent,
// for another.
func MayName(sent, name string) bool {
	exact, alike := namesParameter(sent, name)
	return exact || alike
}

// namesParameter reports whether the name of a parameter, as sent, is the one that
// was asked for, or is so to some servers: whatever its case, with a broken
// escape, as the name of a list, or as PHP reads it, which leaves out blanks in
// front and what follows a NUL, and takes several others for an underscore.
func namesParameter(sent, want string) (exact, alike bool) {
	exact = true
	for at := 0; ; {
		switch {
		case sent == "":
			return exact && at == len(want), at == len(want)
		case at == len(want):
			c, _, _ := unescaped(sent)
			return false, c == '[' || c == 0
		}
		c, n, ok := unescaped(sent)
		sent = sent[n:]
		if at == 0 && (c == ' ' || c == '+') {
			exact = false
			continue
		}
		if small(c) != small(want[at]) && !(want[at] == '_' && strings.IndexByte(". +[", c) >= 0) {
			return false, false
		}
		exact = exact && ok && c == want[at]
		at++
	}
}

// decodesTo reports whether a text with escapes stands for another, and whether
// an escape is broken.
func decodesTo(sent, want string) (equal, broken bool) {
	equal = true
	at := 0
	for sent != "" {
		c, n, ok := unescaped(sent)
		broken = broken || !ok
		equal = equal && at < len(want) && want[at] == c
		at++
		sent = sent[n:]
	}
	return equal && at == len(want), broken
}

// unescaped reads the first character of a text with escapes and says how long
// it is; a broken escape stands for its percent sign.
func unescaped(text string) (c byte, n int, ok bool) {
	switch {
	case text[0] != '%':
		return text[0], 1, true
	case len(text) < 3 || !isHex(text[1]) || !isHex(text[2]):
		return '%', 1, false
	}
	return unhex(text[1])<<4 | unhex(text[2]), 3, true
}

// same reports whether two names are the same whatever their case.
func same(a, b string) bool {
	if len(a) != len(b) {
		return false
	}
	for i := 0; i < len(a); i++ {
		if small(a[i]) != small(b[i]) {
			return false
		}
	}
	return true
}

func small(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		return c | 0x20
	}
	return c
}
