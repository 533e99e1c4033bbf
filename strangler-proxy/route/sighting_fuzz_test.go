package route

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
)

// Whatever a reader of a request finds, a predicate may not be sure that it is
// not there; and where a predicate is sure that it is there, every reader finds
// just that. The readers here are net/url's and net/http's, which leave out
// what they take for broken, and plain ones that leave out nothing.

// reads is what a reader finds under a name, in its order.
type reads struct {
	by    string
	found []string
}

// FuzzQuery holds predicates about a query against its readers.
func FuzzQuery(f *testing.F) {
	for _, seed := range []string{
		"", "kind=a", "page=2&kind=a", "kind=b&kind=a", "kind", "kind=", "k%69nd=%61", "x=1;kind=a", "kind=a;x", "kind=%zz", "%zz=a&kind=a", "&&=a&kind==a", "kind[]=a", "+kind=a", "KIND=a", "kind=a%00", "kind=a+b",
	} {
		f.Add(seed, "kind", "a")
	}
	f.Fuzz(func(t *testing.T, sent, name, value string) {
		q := Request{Method: "GET", Path: "/a", Query: sent}
		well, _ := url.ParseQuery(sent) // what it takes for broken is left out
		asked(t, "query:"+escaped(name), escaped(value), q, func(p *predicate) []reads {
			return []reads{
				{"net/url", well[p.name]},
				{"a reader that ends parameters at & alone", parameters(sent, "&", p.name)},
				{"a reader that ends them at ; as well", parameters(sent, "&;", p.name)},
			}
		})
	})
}

// parameters reads a query plainly.
func parameters(sent, ends, name string) (found []string) {
	for pair := range strings.FieldsFuncSeq(sent, func(c rune) bool { return strings.ContainsRune(ends, c) }) {
		key, value, _ := strings.Cut(pair, "=")
		if lenient(key) == name {
			found = append(found, lenient(value))
		}
	}
	return found
}

// lenient decodes a text as far as it can be, as net/url does where it is not
// broken.
func lenient(text string) string {
	if well, err := url.QueryUnescape(text); err == nil {
		return well
	}
	var b strings.Builder
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case c == '+':
			b.WriteByte(' ')
		case c == '%' && i+2 < len(text) && isHex(text[i+1]) && isHex(text[i+2]):
			b.WriteByte(unhex(text[i+1])<<4 | unhex(text[i+2]))
			i += 2
		default:
			b.WriteByte(c)
		}
	}
	return b.String()
}

// FuzzCookie holds predicates about cookies against their readers.
func FuzzCookie(f *testing.F) {
	for _, seed := range []string{
		"", "beta=1", "a=b; beta=1", "beta=1; beta=2", `beta="1"`, "beta", "beta=", "Beta=1", "a=b, beta=1", `a="; beta=1; b="`, "beta =1", "beta= 1", ";;beta=1;", "beta=1 ", "beta=%31", "beta=\x80", "beta=1=", "=beta=1",
	} {
		f.Add(seed, "", "beta", "1")
		f.Add("a=b", seed, "beta", "1")
	}
	f.Fuzz(func(t *testing.T, one, two, name, value string) {
		if !printable(strings.ReplaceAll(one+two, "\t", ""), true) {
			return // no field that is let in has control bytes
		}
		q := Request{Method: "GET", Path: "/a", Header: pairs{{"Cookie", one}, {"cookie", two}}}
		r := &http.Request{Header: http.Header{"Cookie": {one, two}}}
		asked(t, "cookie:"+name, value, q, func(p *predicate) []reads {
			all := []reads{
				{by: "net/http"}, {"a reader that ends cookies at ;", cookies(one+";"+two, ";", p.name)}, {"a reader that ends them at , as well", cookies(one+";"+two, ";,", p.name)},
			}
			for _, c := range r.CookiesNamed(p.name) {
				all[0].found = append(all[0].found, c.Value)
			}
			return all
		})
	})
}

// cookies reads a list of them plainly.
func cookies(list, ends, name string) (found []string) {
	for pair := range strings.FieldsFuncSeq(list, func(c rune) bool { return strings.ContainsRune(ends, c) }) {
		key, value, _ := strings.Cut(strings.Trim(pair, " \t"), "=")
		if strings.Trim(key, " \t") == name {
			found = append(found, strings.Trim(value, " \t"))
		}
	}
	return found
}

// asked asks for a name alone, and for a value of it.
func asked(t *testing.T, name, value string, q Request, read func(*predicate) []reads) {
	t.Helper()
	for _, word := range []string{name, name + "=" + value} {
		p, err := parsePredicate(word)
		if err != nil {
			continue
		}
		answer := p.judge(&q)
		for _, r := range read(&p) {
			there := len(r.found) > 0
			alone := there
			if p.equal {
				there = slices.Contains(r.found, p.value)
				alone = len(r.found) == 1 && there
			}
			if answer == no && there || answer == yes && !alone {
				t.Fatalf("%+v of %+v is %d, but %s finds %q", p, q, answer, r.by, r.found)
			}
		}
		amongMany(t, word, q)
	}
}

// amongMany sees that a route that asks so is found among many that ask for other
// values as it is found one by one.
func amongMany(t *testing.T, word string, q Request) {
	t.Helper()
	name, _, _ := strings.Cut(word, "=")
	ids := []string{"/a " + word}
	for i := range manyAsking {
		ids = append(ids, fmt.Sprintf("/a %s=%d", name, i))
	}
	var routes []Route
	for _, id := range ids {
		r, err := Parse(id)
		if err != nil || slices.ContainsFunc(routes, func(other Route) bool { return other.ID == r.ID }) {
			continue
		}
		routes = append(routes, r)
	}
	table, problems := Compile(routes, Profile{})
	if len(problems) > 0 {
		return // two spellings of one value
	}
	got, gotErr := table.Lookup(q)
	want, wantErr := table.oneByOne().Lookup(q)
	if (got == nil) != (want == nil) || got != nil && got.ID != want.ID || fmt.Sprint(gotErr) != fmt.Sprint(wantErr) {
		t.Fatalf("%q among %d: %v, %v; one by one %v, %v", word, len(routes), got, gotErr, want, wantErr)
	}
}
