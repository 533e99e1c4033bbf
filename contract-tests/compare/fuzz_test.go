package compare_test

import (
	"encoding/json"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"stranglerfig/contract-tests/compare"
	"stranglerfig/contract-tests/match"
)

// media are the types that a fuzzed body may have.
var media = []string{
	"application/json", "application/xml", "text/html", "application/x-www-form-urlencoded",
	"multipart/form-data; boundary=b", "text/plain", "application/octet-stream", "", "text/plain; charset=utf-16", "application/xml; charset=iso-8859-1",
}

// everywhere makes the comparator look into equal bodies as well: it names an
// identifier, which no body has.
var everywhere = `{"body":{"$.nowhere":{"matchers":[{"match":"id"}]}}}`

// FuzzComparisons: whatever the bodies, their types and the rules, the
// comparator does not panic; each answer is equal to itself, however it is
// looked at; it finds the same twice; and between two running sides it does not
// matter which is which.
func FuzzComparisons(f *testing.F) {
	for _, seed := range []struct {
		kind        byte
		rules, a, b string
	}{
		{0, `{"body":{"$.a":{"matchers":[{"match":"type","min":1}]},"$.a[*].b":{"matchers":[{"match":"nullable"},{"match":"integer"}]}}}`, `{"a":[1,2,{"b":null}]}`, `{"a":[2,1,{"b":1.0}]}`},
		{0, `{"body":{"$.l":{"matchers":[{"match":"unordered"}]},"$.l[*].i":{"matchers":[{"match":"id"}]}}}`, `{"l":[{"i":1},{"i":2}],"é":"\ud834\udd1e"}`, `{"l":[{"i":"x"},{"i":2}]}`},
		{0, `{"body":{"$.l":{"matchers":[{"match":"arrayContains","variants":[{"index":0,"rules":{"$.*":{"matchers":[{"match":"regex","regex":"(?=a)a"}]}}}]}]}}}`, `{"l":[{"a":"a"}]}`, `{"l":[{"a":"b"}]}`},
		{0, `{"body":{"$":{"matchers":[{"match":"eachKey","rules":[{"match":"semver"}]},{"match":"eachValue","rules":[{"match":"type"}]}]}}}`, `{"1.0.0":{"x":1}}`, `{"x":1}`},
		{1, `{"body":{"$.a.b[*]['@c']":{"matchers":[{"match":"date"}]},"$.a":{"matchers":[{"match":"unordered"}]}}}`, `<a><b c="2026-01-01">t</b><n:d xmlns:n="u"/></a>`, `<a>t<b/><b/></a>`},
		{2, `{}`, `<!doctype html><ul class="b a"><li>1<li>2</ul><pre> x </pre>`, `<svg><path d=1></svg>`},
		{3, `{"body":{"$.a":{"matchers":[{"match":"integer"}]}}}`, `a=1&b=2&a=3`, `a=%zz`},
		{4, `{"body":{"$.a":{"matchers":[{"match":"contentType","value":"text/plain"}]}}}`, "--b\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\nx\r\n--b--\r\n", "--b\r\n\r\n\r\n--b--"},
		{5, `{"body":{"$":{"matchers":[{"match":"include","value":"a"}]}}}`, "a\r\nb\n", "a\nc"},
		{8, `{}`, "\xff\xfea\x00", "\x00a"}, {9, `{}`, "<?xml version='1.0' encoding='utf-16'?><a>\xe4</a>", "<a/>"}, {7, `{}`, "{}", "[1]"},
	} {
		f.Add(seed.kind, seed.rules, seed.a, seed.b)
	}
	var looking match.Rules
	if err := json.Unmarshal([]byte(everywhere), &looking); err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, kind byte, ruled, a, b string) {
		var r match.Rules
		if json.Unmarshal([]byte(ruled), &r) != nil {
			return
		}
		m := media[int(kind)%len(media)]
		one, other := of(m, a), of(m, b)
		for _, mode := range []compare.Mode{compare.Contract, compare.Exact} {
			o := compare.Options{Mode: mode}
			if found := compare.Responses(one, one, match.Rules{}, o); found != nil {
				t.Errorf("%q differs from itself: %v", a, found)
			}
			if found := compare.Responses(one, one, looking, o); found != nil {
				t.Errorf("%q differs from itself when it is looked into: %v", a, found)
			}
			first := compare.Responses(one, other, r, o)
			if diff := cmp.Diff(first, compare.Responses(one, other, r, o)); diff != "" {
				t.Errorf("the list is not stable\n%s", diff)
			}
			for _, d := range first {
				if d.Fingerprint() == "" || d.Path == "" {
					t.Errorf("%#v has no path", d)
				}
			}
		}
		request := func(m compare.Message) compare.Request { return compare.Request{Header: m.Header, Body: m.Body} }
		if found := compare.Requests(request(one), request(one), looking, compare.Options{}); found != nil {
			t.Errorf("as a request, %q differs from itself: %v", a, found)
		}
		o := compare.Options{Mode: compare.Exact}
		if there, back := compare.Responses(one, other, match.Rules{}, o), compare.Responses(other, one, match.Rules{}, o); (len(there) == 0) != (len(back) == 0) {
			t.Errorf("%v one way, and %v the other way", there, back)
		}
	})
}

// FuzzWhatIsJSON: our reader takes what encoding/json takes, apart from nesting
// that is deeper than it follows, and refuses what that refuses.
func FuzzWhatIsJSON(f *testing.F) {
	for _, seed := range []string{`{"a":[1,-0.5e+3,true,null,"\u00e9"]}`, `[01]`, `{"a":1,}`, `"` + "\x01" + `"`, ` [ ] `, `{"a"}`, `-`, `1e`, "[1,2", `"\ud800"`} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if !utf8.ValidString(text) || strings.HasPrefix(text, "\ufeff") || len(text) > 900 || strings.TrimSpace(text) == "" {
			return // which are told before, or are too deep, or no body
		}
		found := compare.Responses(of("application/json", `{"no":"where"}`), of("application/json", text), match.Rules{}, compare.Options{Mode: compare.Exact})
		refused := len(found) == 1 && found[0].Kind == compare.Encoding
		if refused == json.Valid([]byte(text)) {
			t.Errorf("%q: refused %v, and encoding/json says valid %v: %v", text, refused, json.Valid([]byte(text)), found)
		}
	})
}
