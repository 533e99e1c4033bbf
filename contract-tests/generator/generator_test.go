package generator_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"regexp"
	"strings"
	"testing"
	"time"

	"stranglerfig/contract-tests/generator"
)

func set(t *testing.T, text string) generator.Set {
	t.Helper()
	var s generator.Set
	if err := json.Unmarshal([]byte(text), &s); err != nil {
		t.Fatal(err)
	}
	return s
}

func context(seed uint64) generator.Context {
	return generator.Context{
		Values: map[string]any{"id": json.Number("42"), "name": "a/b c", "flag": "true", "where": "/orders/7", "list": []any{json.Number("1")}},
		Now:    time.Date(2026, 3, 4, 15, 6, 7, 89_000_000, time.FixedZone("", 3600)), // a Wednesday
		Rand:   rand.New(rand.NewPCG(seed, 0)), Base: "http://127.0.0.1:9000/",
	}
}

// make applies one generator to $.v of a JSON body and returns what is there.
func made(t *testing.T, text string, seed uint64) string {
	t.Helper()
	m, err := set(t, `{"body":{"$.v":`+text+`}}`).Apply(generator.Message{Body: []byte(`{"v":0}`)}, context(seed))
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return strings.TrimSuffix(strings.TrimPrefix(string(m.Body), `{"v":`), "}")
}

func TestEveryGeneratorMakesWhatItSays(t *testing.T) {
	for _, c := range []struct{ generator, want string }{
		{`{"type":"RandomInt","min":-3,"max":3}`, `-?[0-3]`},
		{`{"type":"RandomInt"}`, `\d{1,10}`},
		{`{"type":"RandomInt","min":7,"max":7}`, `7`},
		{`{"type":"RandomDecimal","digits":6}`, `[1-9]\d{0,4}\.\d{1,5}`},
		{`{"type":"RandomDecimal","digits":1}`, `\d\.0`},
		{`{"type":"RandomHexadecimal","digits":8}`, `"[0-9A-F]{8}"`},
		{`{"type":"RandomString","size":12}`, `"[0-9A-Za-z]{12}"`},
		{`{"type":"RandomString"}`, `"[0-9A-Za-z]{10}"`},
		{`{"type":"RandomBoolean"}`, `true|false`},
		{`{"type":"Regex","regex":"^\\d{3}-(a|b)[x-z]+\\.?\\w*$"}`, `"\d{3}-(a|b)[x-z]+\.?\w*"`},
		{`{"type":"Uuid"}`, `"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}"`},
		{`{"type":"Uuid","format":"simple"}`, `"[0-9a-f]{32}"`},
		{`{"type":"Uuid","format":"upper-case-hyphenated"}`, `"[0-9A-F]{8}(-[0-9A-F]{4}){3}-[0-9A-F]{12}"`},
		{`{"type":"Uuid","format":"URN"}`, `"urn:uuid:[0-9a-f-]{36}"`},
		{`{"type":"Date"}`, `"2026-03-04"`},
		{`{"type":"Time"}`, `"15:06:07"`},
		{`{"type":"DateTime"}`, `"2026-03-04T15:06:07\.089\+01:00"`},
		{`{"type":"Date","format":"EEE, d MMMM yy 'o''clock' hh a"}`, `"Wed, 4 March 26 o'clock 03 PM"`},
		{`{"type":"Date","expression":"tomorrow + 1 week"}`, `"2026-03-12"`},
		{`{"type":"Date","expression":"last monday"}`, `"2026-03-02"`},
		{`{"type":"Date","expression":"next wednesday - 2 months"}`, `"2026-01-11"`},
		{`{"type":"Time","expression":"noon + 90 minutes"}`, `"13:30:00"`},
		{`{"type":"DateTime","format":"yyyy-MM-dd HH:mm","expression":"yesterday @ 9 o'clock pm"}`, `"2026-03-03 21:00"`},
		{`{"type":"ProviderState","expression":"${id}"}`, `42`},
		{`{"type":"ProviderState","expression":"id"}`, `42`},
		{`{"type":"ProviderState","expression":"${id}","dataType":"STRING"}`, `"42"`},
		{`{"type":"ProviderState","expression":"${id}","dataType":"DECIMAL"}`, `42`},
		{`{"type":"ProviderState","expression":"${id}0","dataType":"INTEGER"}`, `420`},
		{`{"type":"ProviderState","expression":"${flag}","dataType":"BOOLEAN"}`, `true`},
		{`{"type":"ProviderState","expression":"${list}","dataType":"RAW"}`, `\[1\]`},
		{`{"type":"ProviderState","expression":"${id}: ${name}"}`, `"42: a/b c"`},
		{`{"type":"MockServerURL","example":"http://localhost:1234/orders/5","regex":".*(/orders/\\d+)$"}`, `"http://127\.0\.0\.1:9000/orders/5"`},
	} {
		want := regexp.MustCompile(`^(?:` + c.want + `)$`)
		for seed := range uint64(50) {
			if got := made(t, c.generator, seed); !want.MatchString(got) {
				t.Errorf("%s makes %s, want %s", c.generator, got, c.want)
				break
			}
		}
	}
}

func TestTheSameContextMakesTheSameValues(t *testing.T) {
	text := `{"type":"Regex","regex":"[a-z]{20}"}`
	first, again, other := made(t, text, 1), made(t, text, 1), made(t, text, 2)
	if first != again || first == other {
		t.Errorf("the same seed makes %s and %s, another one %s", first, again, other)
	}
}

func TestGeneratorsReachEveryPartOfARequest(t *testing.T) {
	s := set(t, `{
		"method":{"type":"Regex","regex":"put"},
		"path":{"type":"ProviderState","expression":"/things/${name}/${id}"},
		"query":{"q":{"type":"ProviderState","expression":"${id}"},"two[1]":{"type":"ProviderState","expression":"${name}"}},
		"header":{"x-id":{"type":"ProviderState","expression":"Bearer ${id}"}},
		"body":{"$.items[*].id":{"type":"ProviderState","expression":"${id}"},"$['un it'][0]":{"type":"ProviderState","expression":"${name}"}}}`)
	before := generator.Message{Method: "POST", Path: "/things/x/1", Query: map[string][]string{"q": {"a", "b"}, "two": {"c", "d"}},
		Header: map[string][]string{"X-Id": {"h"}, "Content-Type": {"application/json; charset=utf-8"}}, Body: []byte(`{"items":[{"id":1,"big":12345678901234567890},{"id":2}],"un it":["<a>"]}`)}
	after, err := s.Apply(before, context(1))
	if err != nil {
		t.Fatal(err)
	}
	if after.Method != "PUT" || after.Path != "/things/a%2Fb%20c/42" {
		t.Errorf("%s %s", after.Method, after.Path)
	}
	if q := after.Query; q["q"][0] != "42" || q["q"][1] != "42" || q["two"][0] != "c" || q["two"][1] != "a/b c" {
		t.Errorf("query %v", q)
	}
	if after.Header["X-Id"][0] != "Bearer 42" || before.Header["X-Id"][0] != "h" {
		t.Errorf("header %v, of the example %v", after.Header, before.Header)
	}
	if want := `{"items":[{"big":12345678901234567890,"id":42},{"id":42}],"un it":["a/b c"]}`; string(after.Body) != want {
		t.Errorf("body %s\nwant %s", after.Body, want)
	}
	form := generator.Message{Header: map[string][]string{"content-type": {"application/x-www-form-urlencoded"}}, Body: []byte("a=1&b=2&b=3")}
	after, err = set(t, `{"body":{"$.a":{"type":"ProviderState","expression":"${name}"},"$.b[1]":{"type":"ProviderState","expression":"${id}"}}}`).Apply(form, context(1))
	if err != nil || string(after.Body) != "a=a%2Fb+c&b=2&b=42" {
		t.Errorf("form %s (%v)", after.Body, err)
	}
	after, err = set(t, `{"path":{"":{"type":"ProviderState","expression":"${where}"}}}`).Apply(before, context(1))
	if err != nil || after.Path != "/orders/7" {
		t.Errorf("a whole path becomes %s (%v)", after.Path, err)
	}
}

func TestTheNamesOfEveryWriterAreUnderstood(t *testing.T) {
	q := generator.Message{Query: map[string][]string{"q": {"a", "b"}, "tag[]": {"c"}}}
	for key, want := range map[string]string{
		"q": "map[q:[42 42] tag[]:[c]]", "q[1]": "map[q:[a 42] tag[]:[c]]", "q[*]": "map[q:[42 42] tag[]:[c]]", "$.q": "map[q:[42 42] tag[]:[c]]",
		"$.q[0]": "map[q:[42 b] tag[]:[c]]", "$['q'][*]": "map[q:[42 42] tag[]:[c]]", "$['tag[]']": "map[q:[a b] tag[]:[42]]", "tag[]": "map[q:[a b] tag[]:[42]]",
	} {
		m, err := set(t, `{"query":{"`+key+`":{"type":"ProviderState","expression":"${id}"}}}`).Apply(q, context(1))
		if got := fmt.Sprint(m.Query); err != nil || got != want {
			t.Errorf("%s: %s, want %s (%v)", key, got, want, err)
		}
	}
}

func TestGeneratorsSurviveBeingWritten(t *testing.T) {
	text := `{"body":{"$.a":{"type":"RandomInt","min":0,"max":5}},"header":{"X":{"type":"Uuid","format":"simple"}},"path":{"type":"ProviderState","expression":"/${id}","dataType":"STRING"},"query":{"b[1]":{"type":"Date","format":"yyyy","expression":"today"}}}`
	data, err := json.Marshal(set(t, text))
	if err != nil || string(data) != text {
		t.Errorf("%v: written as\n%s\nwant\n%s", err, data, text)
	}
	if empty := (generator.Set{}); !empty.Empty() || set(t, text).Empty() {
		t.Error("Empty is wrong")
	}
}

func TestWhatCouldNeverWorkIsRefusedWithItsPlace(t *testing.T) {
	for text, want := range map[string]string{
		`{"body":{"$.a":{"type":"RandomFloat"}}}`:                                  `generators.body.$.a: unknown generator "RandomFloat" (accepted: RandomInt, `,
		`{"body":{"$.a":{}}}`:                                                      `no "type"`,
		`{"body":{"a":{"type":"Uuid"}}}`:                                           `must start with $`,
		`{"cookie":{}}`:                                                            `generators.cookie: unknown category`,
		`{"query":{"a":{"type":"RandomInt","min":2,"max":1}}}`:                     `generators.query.a: generator RandomInt: min 2 is above max 1`,
		`{"query":{"a":{"type":"RandomInt","max":9223372036854775807}}}`:           `accepted: within`,
		`{"query":{"a":{"type":"RandomString","size":100000000}}}`:                 `accepted: 1 to 10000`,
		`{"query":{"a":{"type":"Regex","regex":"(?=x)"}}}`:                         `RE2`,
		`{"query":{"a":{"type":"Uuid","format":"long"}}}`:                          `accepted: simple`,
		`{"query":{"a":{"type":"Date","format":"QQ"}}}`:                            `accepted letters`,
		`{"query":{"a":{"type":"Date","format":"yyyy'x"}}}`:                        `quote is not closed`,
		`{"query":{"a":{"type":"Date","expression":"whenever"}}}`:                  `"whenever" is not understood`,
		`{"query":{"a":{"type":"Date","expression":"+ 1 parsec"}}}`:                `"parsec" is no unit`,
		`{"query":{"a":{"type":"Date","expression":"+ 1"}}}`:                       `a number and a unit`,
		`{"query":{"a":{"type":"ProviderState"}}}`:                                 `needs an expression`,
		`{"query":{"a":{"type":"ProviderState","expression":"x","dataType":"Y"}}}`: `accepted: RAW, STRING`,
		`{"path":{"type":"MockServerURL","regex":"("}}`:                            `generators.path: generator MockServerURL`,
		`[]`: `generators: `,
	} {
		var s generator.Set
		if err := json.Unmarshal([]byte(text), &s); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: error %v, want %q in it", text, err, want)
		}
	}
	var s generator.Set
	err := json.Unmarshal([]byte(`{"path":{"type":"A"},"query":{"a":{"type":"B"},"b":{"type":"C"}},"body":{"$.a":{"type":"D"}}}`), &s)
	if err == nil || len(strings.Split(err.Error(), "\n")) != 4 {
		t.Errorf("4 problems are told as %v", err)
	}
}

func TestAnExampleThatLacksThePlaceIsAnError(t *testing.T) {
	body := generator.Message{Header: map[string][]string{"Content-Type": {"application/json"}}, Body: []byte(`{"a":1}`)}
	for text, want := range map[string]string{
		`{"body":{"$.b":{"type":"Uuid"}}}`:                                                      "$.b: the example has no such place",
		`{"query":{"b":{"type":"Uuid"}}}`:                                                       "request.query.b: the example has no such value",
		`{"header":{"Content-Type[3]":{"type":"Uuid"}}}`:                                        "no such value",
		`{"body":{"$.a":{"type":"ProviderState","expression":"${gone}"}}}`:                      "no provider state gave a value for ${gone} (given are: flag, id, list, name, where)",
		`{"path":{"type":"ProviderState","expression":"/x/${gone}"}}`:                           "${gone}",
		`{"path":{"type":"ProviderState","expression":"${name}"}}`:                              "does not start with /",
		`{"body":{"$.a":{"type":"ProviderState","expression":"${name}","dataType":"INTEGER"}}}`: `"a/b c", which is no integer`,
		`{"body":{"$.a":{"type":"MockServerURL","example":"x","regex":"y"}}}`:                   "does not match",
		`{"body":{"$.a":{"type":"Regex","regex":"a\\bb"}}}`:                                     "cannot be made",
		`{"body":{"$.a":{"type":"Regex","regex":"((((a{1000}){1000})))"}}}`:                     "",
	} {
		var s generator.Set
		err := json.Unmarshal([]byte(text), &s)
		if err == nil {
			_, err = s.Apply(body, context(1))
		}
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: error %v, want %q in it", text, err, want)
		}
	}
	for media, content := range map[string]string{"application/json": "{", "text/html": "<a>", "application/x-www-form-urlencoded": "%"} {
		m := generator.Message{Header: map[string][]string{"Content-Type": {media}}, Body: []byte(content)}
		if _, err := set(t, `{"body":{"$.a":{"type":"Uuid"}}}`).Apply(m, context(1)); err == nil {
			t.Errorf("%s %q is generated into", media, content)
		}
	}
}
