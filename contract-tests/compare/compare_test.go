package compare_test

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"stranglerfig/contract-tests/compare"
	"stranglerfig/contract-tests/match"
)

func rules(t testing.TB, body string) match.Rules {
	t.Helper()
	var r match.Rules
	if body == "" {
		return r
	}
	if err := json.Unmarshal([]byte(`{"body":`+body+`}`), &r); err != nil {
		t.Fatal(err)
	}
	return r
}

func path(t testing.TB, text string) match.Path {
	t.Helper()
	p, err := match.ParsePath(text)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func answer(body string) compare.Message {
	return compare.Message{Status: 200, Header: map[string][]string{"Content-Type": {"application/json"}}, Body: []byte(body)}
}

// brief is a list of differences as "path kind", for comparison.
func brief(list []compare.Difference) []string {
	var lines []string
	for _, d := range list {
		lines = append(lines, d.Path+" "+string(d.Kind))
	}
	return lines
}

func TestContractModeAllowsWhatTheExampleDoesNotMention(t *testing.T) {
	for _, c := range []struct {
		name, rules, expected, actual string
		want                          []string
	}{
		{"equal", "", `{"a":1}`, `{"a":1}`, nil},
		{"extra members are free", "", `{"a":1}`, `{"a":1,"b":2}`, nil},
		{"missing member", "", `{"a":1,"b":{"c":1}}`, `{"a":1,"b":{}}`, []string{"$.body.b.c missing"}},
		{"value", "", `{"a":[1,{"b c":2}]}`, `{"a":[1,{"b c":3}]}`, []string{"$.body.a[1]['b c'] value"}},
		{"type", "", `{"a":1}`, `{"a":"1"}`, []string{"$.body.a type"}},
		{"null is not missing", "", `{"a":null}`, `{}`, []string{"$.body.a missing"}},
		{"null is a type", "", `{"a":null}`, `{"a":{}}`, []string{"$.body.a type"}},
		{"object for array", "", `{"a":[]}`, `{"a":{}}`, []string{"$.body.a type"}},
		{"equal numbers", "", `{"a":12.30}`, `{"a":12.3}`, nil},
		{"length", "", `[1,2]`, `[1,2,3]`, []string{"$.body length"}},
		{"order", "", `{"a":[1,2,3]}`, `{"a":[3,1,2]}`, []string{"$.body.a order"}},
		{"type rule", `{"$.a":{"matchers":[{"match":"type"}]}}`, `{"a":1}`, `{"a":2}`, nil},
		{"type rule fails", `{"$.a":{"matchers":[{"match":"type"}]}}`, `{"a":1}`, `{"a":"x"}`, []string{"$.body.a type"}},
		{"template for extras", `{"$.a":{"matchers":[{"match":"type","min":1}]}}`, `{"a":[{"id":1}]}`, `{"a":[{"id":7},{"id":8},{"no":9}]}`, []string{"$.body.a[2].id missing"}},
		{"min", `{"$.a":{"matchers":[{"match":"type","min":1}]}}`, `{"a":[1]}`, `{"a":[]}`, []string{"$.body.a length"}},
		{"max", `{"$.a":{"matchers":[{"match":"type","max":1}]}}`, `{"a":[1]}`, `{"a":[1,2]}`, []string{"$.body.a length"}},
		{"type from above", `{"$":{"matchers":[{"match":"type"}]}}`, `{"a":[{"b":1}]}`, `{"a":[{"b":2},{"b":3}]}`, nil},
		{"equality resets", `{"$":{"matchers":[{"match":"type"}]},"$.a":{"matchers":[{"match":"equality"}]}}`, `{"a":[1],"b":1}`, `{"a":[1,2],"b":2}`, []string{"$.body.a length"}},
		{"regex cascades past containers", `{"$.a":{"matchers":[{"match":"type"}]},"$.a[*]":{"matchers":[{"match":"regex","regex":"x.?"}]}}`, `{"a":["x"]}`, `{"a":["xa","xb"]}`, nil},
		{"a scalar is no container below a rule", `{"$.a":{"matchers":[{"match":"regex","regex":"x.*"}]}}`, `{"a":[["x"]]}`, `{"a":["x"]}`, []string{"$.body.a type"}},
		{"values ignores keys", `{"$.m":{"matchers":[{"match":"values"}]},"$.m.*":{"matchers":[{"match":"integer"}]}}`, `{"m":{"k":1}}`, `{"m":{"x":1,"y":"z"}}`, []string{"$.body.m.y type"}},
		{"eachKey", `{"$.m":{"matchers":[{"match":"eachKey","rules":[{"match":"regex","regex":"^[a-z]$"}]}]},"$.m.*":{"matchers":[{"match":"type"}]}}`, `{"m":{"k":1}}`, `{"m":{"x":2,"LONG":3}}`, []string{"$.body.m value"}},
		{"eachValue", `{"$.m":{"matchers":[{"match":"eachValue","rules":[{"match":"integer"}]}]}}`, `{"m":{"k":1}}`, `{"m":{"x":2,"y":"z"}}`, []string{"$.body.m.y type"}},
		{"arrayContains", `{"$.l":{"matchers":[{"match":"arrayContains","variants":[{"index":0,"rules":{"$.href":{"matchers":[{"match":"type"}]}}},{"index":1,"rules":{}}]}]}}`,
			`{"l":[{"rel":"self","href":"/1"},{"rel":"next"}]}`, `{"l":[{"rel":"other"},{"rel":"self","href":"/9"}]}`, []string{"$.body.l missing"}},
		{"unordered", `{"$.l":{"matchers":[{"match":"unordered"}]}}`, `{"l":[1,2,2]}`, `{"l":[2,1,2]}`, nil},
		{"unordered counts", `{"$.l":{"matchers":[{"match":"unordered"}]}}`, `{"l":[1,2,2]}`, `{"l":[2,1,1]}`, []string{"$.body.l missing", "$.body.l extra"}},
		{"unordered with rules finds the pairing", `{"$.l":{"matchers":[{"match":"unordered"}]},"$.l[0].v":{"matchers":[{"match":"type"}]}}`, `{"l":[{"v":1},{"v":2}]}`, `{"l":[{"v":2},{"v":9}]}`, nil},
		{"absent", `{"$.secret":{"matchers":[{"match":"absent"}]}}`, `{"a":1}`, `{"a":1,"secret":2}`, []string{"$.body.secret extra"}},
		{"nullable", `{"$.a":{"matchers":[{"match":"nullable"}]}}`, `{"a":{"b":1}}`, `{"a":null}`, nil},
		{"tolerance", `{"$.a":{"matchers":[{"match":"tolerance","tolerance":0.5}]}}`, `{"a":[1,2]}`, `{"a":[1.5,2.6]}`, []string{"$.body.a[1] value"}},
		{"not JSON", "", `{"a":1}`, `<html>oops</html>`, []string{"$.body encoding"}},
		{"two documents are not JSON", "", `{"a":1}`, `{"a":1}{}`, []string{"$.body encoding"}},
		{"body missing", "", `{"a":1}`, ``, []string{"$.body missing"}},
		{"body demanded empty", "", ``, `{}`, []string{"$.body extra"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := compare.Responses(answer(c.expected), answer(c.actual), rules(t, c.rules), compare.Options{})
			if diff := cmp.Diff(c.want, brief(got)); diff != "" {
				t.Errorf("(-want +got)\n%s%v", diff, got)
			}
		})
	}
}

func TestContractModeLooksOnlyAtExpectedHeaders(t *testing.T) {
	header := func(pairs ...string) compare.Message {
		m := compare.Message{Status: 200, Header: map[string][]string{}}
		for i := 0; i < len(pairs); i += 2 {
			m.Header[pairs[i]] = append(m.Header[pairs[i]], pairs[i+1])
		}
		return m
	}
	for _, c := range []struct {
		name             string
		expected, actual compare.Message
		want             []string
	}{
		{"further ones are free", header("X-A", "1"), header("X-A", "1", "X-B", "2"), nil},
		{"names have no case", header("x-a", "1"), header("X-A", "1"), nil},
		{"values have", header("X-A", "a"), header("X-A", "A"), []string{"$.header.X-A header"}},
		{"missing", header("X-A", "1"), header(), []string{"$.header.X-A missing"}},
		{"space around commas is free", header("X-A", "a,b"), header("X-A", "a ,  b"), nil},
		{"order is not", header("X-A", "a,b"), header("X-A", "b,a"), []string{"$.header.X-A header"}},
		{"further parameters of a type are free", header("Content-Type", "text/html"), header("Content-Type", "text/html; charset=UTF-8"), nil},
		{"expected ones are not", header("Content-Type", "text/html;charset=utf-8"), header("Content-Type", "text/html"), []string{"$.header.Content-Type header"}},
		{"charsets have no case", header("Content-Type", "text/html;charset=utf-8"), header("Content-Type", "text/html; charset=UTF-8"), nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := compare.Responses(c.expected, c.actual, match.Rules{}, compare.Options{})
			if diff := cmp.Diff(c.want, brief(got)); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
	ruled := match.Rules{}.WithHeader("Location", match.Must(match.Matcher{Kind: match.Regex, Value: `^/x/\d+$`})).
		WithStatus(match.Must(match.Matcher{Kind: match.StatusCode, Class: "success"}))
	created := compare.Message{Status: 201, Header: map[string][]string{"Location": {"/x/1"}}}
	if got := compare.Responses(created, compare.Message{Status: 200, Header: map[string][]string{"Location": {"/x/22"}}}, ruled, compare.Options{}); got != nil {
		t.Errorf("within the rules, yet %v", got)
	}
	got := compare.Responses(created, compare.Message{Status: 404, Header: map[string][]string{"Location": {"/y"}}}, ruled, compare.Options{})
	if diff := cmp.Diff([]string{"$.status status", "$.header.Location header"}, brief(got)); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

func TestExactModeComparesBothWays(t *testing.T) {
	with := func(m compare.Message, name string, values ...string) compare.Message {
		header := map[string][]string{}
		for k, v := range m.Header {
			header[k] = v
		}
		header[name] = values
		m.Header = header
		return m
	}
	status := answer(`{}`)
	status.Status = 500
	text := func(body string) compare.Message {
		m := answer(body)
		return with(m, "Content-Type", "text/csv")
	}
	for _, c := range []struct {
		name             string
		expected, actual compare.Message
		want             []string
	}{
		{"equal", answer(`{"a":1}`), answer(`{"a":1}`), nil},
		{"layout and order of members are free", answer(`{"a":1,"b":2}`), answer(`{ "b": 2, "a": 1 }`), nil},
		{"extra member", answer(`{"a":1}`), answer(`{"a":1,"b":2}`), []string{"$.body.b extra"}},
		{"missing member", answer(`{"a":1,"b":2}`), answer(`{"a":1}`), []string{"$.body.b missing"}},
		{"form of a number", answer(`{"a":12}`), answer(`{"a":12.0}`), []string{"$.body.a type"}},
		{"status", answer(`{}`), status, []string{"$.status status"}},
		{"ignored headers", with(answer(`{}`), "Date", "now"), with(answer(`{}`), "X-Server", "b"), nil},
		{"location", with(answer(`{}`), "Location", "/a"), with(answer(`{}`), "Location", "/b"), []string{"$.header.Location header"}},
		{"header extra", answer(`{}`), with(answer(`{}`), "Cache-Control", "no-store"), []string{"$.header.Cache-Control extra"}},
		{"header missing", with(answer(`{}`), "ETag", `"a"`), answer(`{}`), []string{"$.header.ETag missing"}},
		{"etag of equal bodies", with(answer(`{}`), "ETag", `"a"`), with(answer(`{}`), "ETag", `"b"`), []string{"$.header.ETag header"}},
		{"etag of bodies that differ says nothing", with(answer(`{"a":1}`), "ETag", `"a"`), with(answer(`{"a":2}`), "ETag", `"b"`), []string{"$.body.a value"}},
		{"cookies by name", with(answer(`{}`), "Set-Cookie", "s=1; Path=/"), with(answer(`{}`), "Set-Cookie", "s=2; Path=/"), nil},
		{"other cookies", with(answer(`{}`), "Set-Cookie", "s=1"), with(answer(`{}`), "Set-Cookie", "t=1"), []string{"$.header.Set-Cookie header"}},
		{"nil and empty bodies are the same", compare.Message{Status: 204}, compare.Message{Status: 204, Body: []byte{}}, nil},
		{"text by line", text("a\nb\nc\n"), text("a\nB\nc\n"), []string{"$.body:line 2 value"}},
		{"text that ends early", text("a\nb"), text("a\n"), []string{"$.body:line 2 value"}},
		{"line ends", text("a\n"), text("a"), []string{"$.body:line 1 value"}},
		{"binary length", text("\xff\x00\x01"), text("\xff\x00"), []string{"$.body length"}},
		{"binary", text("\xff\x00\x01"), text("\xff\x00\x02"), []string{"$.body value"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := compare.Responses(c.expected, c.actual, match.Rules{}, compare.Options{Mode: compare.Exact})
			if diff := cmp.Diff(c.want, brief(got)); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

func TestCompressionIsSeenThrough(t *testing.T) {
	var packed bytes.Buffer
	w := gzip.NewWriter(&packed)
	fmt.Fprint(w, `{"a":1}`)
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	zipped := answer(packed.String())
	zipped.Header["Content-Encoding"] = []string{"gzip"}
	got := compare.Responses(answer(`{"a":2}`), zipped, match.Rules{}, compare.Options{Mode: compare.Exact})
	if diff := cmp.Diff([]string{"$.header.Content-Encoding extra", "$.body.a value"}, brief(got)); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	zipped.Body = []byte("not gzip")
	got = compare.Responses(zipped, zipped, match.Rules{}, compare.Options{})
	if diff := cmp.Diff([]string{"$.body encoding"}, brief(got)); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

func TestExactModeStaysWithinTheRules(t *testing.T) {
	r := rules(t, `{"$.id":{"matchers":[{"match":"integer"}]},"$.list":{"matchers":[{"match":"type","min":1}]}}`)
	got := compare.Responses(answer(`{"id":1,"n":1,"list":[1]}`), answer(`{"id":2,"n":2,"list":[5,6]}`), r, compare.Options{Mode: compare.Exact})
	if diff := cmp.Diff([]string{"$.body.n value"}, brief(got)); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

func TestTheListIsLimitedAndTheRestCounted(t *testing.T) {
	expected, actual := strings.Repeat("1,", 99)+"1", strings.Repeat("2,", 99)+"2"
	got := compare.Responses(answer("["+expected+"]"), answer("["+actual+"]"), match.Rules{}, compare.Options{Limit: 10})
	if len(got) != 11 || got[10].Kind != compare.More || got[10].Actual != "90" {
		t.Errorf("%d differences, the last is %v; want 10 and 90 more", len(got), got[len(got)-1])
	}
	long := `"` + strings.Repeat("ä", 1000) + `"`
	got = compare.Responses(answer(long), answer(`"x"`), match.Rules{}, compare.Options{})
	if n := len([]rune(got[0].Expected)); n != 200 {
		t.Errorf("a value is quoted with %d characters, want 200", n)
	}
}

func TestFingerprintsLeaveOutIndicesAndValues(t *testing.T) {
	for _, c := range []struct{ a, b compare.Difference }{
		{compare.Difference{Path: "$.body.list[3].amount", Kind: compare.Value, Expected: "1"}, compare.Difference{Path: "$.body.list[17].amount", Kind: compare.Value, Expected: "2"}},
		{compare.Difference{Path: "$.body:line 3", Kind: compare.Value}, compare.Difference{Path: "$.body:line 4", Kind: compare.Value}},
	} {
		if c.a.Fingerprint() != c.b.Fingerprint() {
			t.Errorf("%s and %s", c.a.Fingerprint(), c.b.Fingerprint())
		}
		c.b.Kind = compare.Type
		if c.a.Fingerprint() == c.b.Fingerprint() {
			t.Errorf("kinds do not tell: %s", c.a.Fingerprint())
		}
	}
}
