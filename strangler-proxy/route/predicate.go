package route

import (
	"cmp"
	"errors"
	"fmt"
	"strings"
)

// predicate is what a route asks of a request beside method, host and path: that
// a field, a cookie or a query parameter is there, or has a value.
type predicate struct {
	of    source
	name  string // of a field in small letters, of a query parameter decoded
	value string // of a query parameter decoded
	equal bool   // the value counts
}

// source is where a predicate looks.
type source uint8

const (
	header source = iota
	cookie
	query
)

var sources = [...]string{"header", "cookie", "query"}

// String names what is asked for, without its value.
func (p *predicate) String() string { return sources[p.of] + ":" + p.name }

// Predicates returns the route's predicates as they were declared.
func (r *Route) Predicates() []string {
	words := strings.Fields(r.ID)
	return words[len(words)-len(r.predicates):]
}

// acceptedPredicates is what an error message says about predicates.
const acceptedPredicates = "accepted are header:NAME, cookie:NAME and query:NAME, each of them also with =VALUE"

// parsePredicates reads what follows the path of a declaration.
func parsePredicates(words []string) ([]predicate, error) {
	var all []predicate
	for _, word := range words {
		p, err := parsePredicate(word)
		if err != nil {
			return nil, err
		}
		for i := range all {
			if all[i].of == p.of && all[i].name == p.name {
				return nil, fmt.Errorf("%s is asked for twice", &p)
			}
		}
		all = append(all, p)
	}
	return all, nil
}

func parsePredicate(word string) (p predicate, err error) {
	kind, rest, _ := strings.Cut(word, ":")
	found := false
	for i, name := range sources {
		if kind == name {
			p.of, found = source(i), true
		}
	}
	if !found || rest == "" {
		return p, fmt.Errorf("%q is not a predicate: %s; a value has no blanks", word, acceptedPredicates)
	}
	if strings.ContainsAny(rest, "\"\\") {
		return p, fmt.Errorf("%q: names and values are written without quotes, backslashes and blanks", word)
	}
	p.name, p.value, p.equal = strings.Cut(rest, "=")
	if p.equal && p.value == "" {
		return p, fmt.Errorf("%q has no value after =: without = it asks whether there is one", word)
	}
	switch p.of {
	case header:
		p.name = strings.ToLower(p.name)
		err = checkHeader(p.name)
	case cookie:
		if strings.ContainsAny(p.value, ",;") {
			err = errors.New("a cookie's value has no commas and semicolons")
		}
	case query:
		err = p.decode()
	}
	if err == nil && p.of != query && !token(p.name) {
		err = fmt.Errorf("%q is not a name", p.name)
	}
	if err == nil && !printable(p.value, p.of == query) {
		err = errors.New("a value is of visible characters")
	}
	if err != nil {
		return p, fmt.Errorf("%q: %w", word, err)
	}
	return p, nil
}

// decode brings a query parameter into the form that it is compared in.
func (p *predicate) decode() error {
	for _, text := range []*string{&p.name, &p.value} {
		var b strings.Builder
		for left := *text; left != ""; {
			c, n, ok := unescaped(left)
			if !ok {
				return errors.New("a broken escape")
			}
			if c == ' ' || c == '+' {
				return errors.New("a blank or a plus in a query is read as one another by some servers, so it cannot be asked for")
			}
			b.WriteByte(c)
			left = left[n:]
		}
		*text = b.String()
	}
	if p.name == "" || !printable(p.name, true) {
		return fmt.Errorf("%q is not a name", p.name)
	}
	return nil
}

// checkHeader refuses fields that backends do not get as they were sent, or that
// another part of a route speaks of.
func checkHeader(name string) error {
	switch name {
	case "host":
		return errors.New("the host is written before the path")
	case "cookie":
		return errors.New("a cookie is asked for with cookie:NAME")
	case "connection", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade", "content-length", "expect", "forwarded", "via", "proxy", "x-real-ip":
		return errors.New("the proxy itself writes this field, or takes it off")
	}
	if strings.HasPrefix(name, "x-forwarded-") || strings.HasPrefix(name, "x-strangler-") || strings.HasPrefix(name, "proxy-") {
		return errors.New("the proxy itself writes this field, or takes it off")
	}
	if strings.Contains(name, "_") {
		return errors.New("some servers read _ as -, and some take fields with _ off: write the name with -")
	}
	return nil
}

// token reports whether a text is a token as RFC 9110, 5.6.2 has it.
func token(text string) bool {
	for i := 0; i < len(text); i++ {
		if c := text[i]; c <= ' ' || c >= 0x7f || strings.IndexByte("()<>@,;:\\\"/[]?={}", c) >= 0 {
			return false
		}
	}
	return text != ""
}

// printable reports whether a text has no control bytes, and beyond ASCII none
// unless wide.
func printable(text string, wide bool) bool {
	for i := 0; i < len(text); i++ {
		if c := text[i]; c < ' ' || c == 0x7f || c > 0x7f && !wide {
			return false
		}
	}
	return true
}

// comparePredicates tells which of two sets of predicates goes first: the one of
// more, and then the one of which more name a value.
func comparePredicates(a, b []predicate) int {
	if by := cmp.Compare(len(b), len(a)); by != 0 {
		return by
	}
	return cmp.Compare(values(b), values(a))
}

// values counts the predicates that name a value.
func values(all []predicate) int {
	n := 0
	for i := range all {
		if all[i].equal {
			n++
		}
	}
	return n
}

// predicatesTie reports whether a request can meet both of two sets of
// predicates without one being the narrower.
func predicatesTie(a, b []predicate) bool {
	return len(a) == len(b) && !apart(a, b) && implies(a, b) == implies(b, a)
}

// apart reports whether no request meets both of two sets of predicates: they
// ask the same name for different values.
func apart(a, b []predicate) bool {
	for i := range a {
		for j := range b {
			if a[i].equal && b[j].equal && a[i].of == b[j].of && a[i].name == b[j].name && a[i].value != b[j].value {
				return true
			}
		}
	}
	return false
}

// implies reports whether whatever meets a meets b.
func implies(a, b []predicate) bool {
	for j := range b {
		met := false
		for i := range a {
			met = met || a[i] == b[j] || !b[j].equal && a[i].of == b[j].of && a[i].name == b[j].name
		}
		if !met {
			return false
		}
	}
	return true
}

// asks finds the predicate that asks a name for a value; nil where none does.
func asks(all []predicate, name predicate) *predicate {
	for i := range all {
		if p := &all[i]; p.equal && p.of == name.of && p.name == name.name {
			return p
		}
	}
	return nil
}
