package match_test

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"stranglerfig/contract-tests/match"
)

func path(t *testing.T, text string) match.Path {
	t.Helper()
	p, err := match.ParsePath(text)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func rules(t *testing.T, text string) match.Rules {
	t.Helper()
	var r match.Rules
	if err := json.Unmarshal([]byte(text), &r); err != nil {
		t.Fatal(err)
	}
	return r
}

func decode(t *testing.T, text string) any {
	t.Helper()
	d := json.NewDecoder(strings.NewReader(text))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return v
}

func TestPathsReadBackAsTheyAreWritten(t *testing.T) {
	for _, text := range []string{
		"$", "$.a", "$.a.b[0]", "$['b c'].*[*]", "$.a['b c'][0].*[*]", "$['it\\'s']", "$['']", "$.Content-Type", "$['a.b'][12]", "$['@id']",
	} {
		if got := path(t, text).String(); got != text {
			t.Errorf("%s reads back as %s", text, got)
		}
	}
	if got := path(t, `$["x"]['y']`).String(); got != "$.x.y" {
		t.Errorf("quotes that are not needed stay: %s", got)
	}
}

func TestBrokenPathsNameThePosition(t *testing.T) {
	for text, want := range map[string]string{
		"":       "must start with $",
		"a.b":    "must start with $",
		"$.":     "character 2",
		"$a":     "character 2",
		"$.a[":   "character 4: want ]",
		"$.a[x]": "an index",
		"$.a[-]": "an index",
		"$['a":   "does not end",
		"$['a'b": "want ] after",
	} {
		_, err := match.ParsePath(text)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: error %v, want %q in it", text, err, want)
		}
	}
}

func TestTheStrongestRuleWins(t *testing.T) {
	r := rules(t, `{"body":{
		"$":            {"matchers":[{"match":"type"}]},
		"$.*":          {"matchers":[{"match":"notEmpty"}]},
		"$.a":          {"matchers":[{"match":"equality"}]},
		"$.a.b":        {"matchers":[{"match":"integer"}]},
		"$.*.c":        {"matchers":[{"match":"number"}]},
		"$.list":       {"matchers":[{"match":"type","min":2}]},
		"$.list[*].id": {"matchers":[{"match":"decimal"}]},
		"$.list[1].id": {"matchers":[{"match":"boolean"}]}
	}}`)
	for text, want := range map[string]string{
		"$":            "$: type",
		"$.a":          "$.a: equality",
		"$.a.b":        "$.a.b: integer",
		"$.a.b.deep":   "$.a.b: integer",
		"$.a.other":    "$.a: equality",
		"$.x.c":        "$.*.c: number",
		"$.x":          "$.*: notEmpty",
		"$.x.y":        "$: type", // notEmpty does not cascade
		"$.list":       "$.list: type",
		"$.list[0].id": "$.list[*].id: decimal",
		"$.list[1].id": "$.list[1].id: boolean",
		"$.list[0].no": "$.list: type",
	} {
		if got := r.For(path(t, text)).String(); got != want {
			t.Errorf("%s: %q, want %q", text, got, want)
		}
	}
}

// TestStarsAcceptIndicesButBracketsNoFields is Pact's difference between the
// two wildcards.
func TestStarsAcceptIndicesButBracketsNoFields(t *testing.T) {
	star := rules(t, `{"body":{"$.a.*":{"matchers":[{"match":"type"}]}}}`)
	brackets := rules(t, `{"body":{"$.a[*]":{"matchers":[{"match":"type"}]}}}`)
	for _, c := range []struct {
		rules match.Rules
		path  string
		found bool
	}{{star, "$.a[0]", true}, {star, "$.a.x", true}, {brackets, "$.a[0]", true}, {brackets, "$.a.x", false}} {
		if got := !c.rules.For(path(t, c.path)).Empty(); got != c.found {
			t.Errorf("%s: found %v, want %v", c.path, got, c.found)
		}
	}
}

func TestBoundsOfLengthDoNotCascade(t *testing.T) {
	r := rules(t, `{"body":{"$.outer":{"matchers":[{"match":"type","min":2}]}}}`)
	short := []any{[]any{}}
	if r.For(path(t, "$.outer")).Match(short, short) == nil {
		t.Error("one element passes min 2")
	}
	if err := r.For(path(t, "$.outer[0]")).Match([]any{}, []any{}); err != nil {
		t.Errorf("the inner array is held to the outer's bound: %v", err)
	}
}

func TestMatchers(t *testing.T) {
	for _, c := range []struct{ matcher, example, good, bad string }{
		{`{"match":"equality"}`, `1`, `1 1.0 1e0`, `2 "1" null [] {}`},
		{`{"match":"type"}`, `"x"`, `"" "y"`, `1 null true [] {}`},
		{`{"match":"type"}`, `1`, `2 2.5 -1e9`, `"1" null`},
		{`{"match":"type","min":1,"max":2}`, `[1]`, `[1] [1,2]`, `[] [1,2,3] {} null`},
		{`{"match":"regex","regex":"^\\d+$"}`, `"1"`, `"12" 12`, `"a" null [] {}`},
		{`{"match":"regex","regex":"b|abc"}`, `"b"`, `"b" "abc"`, `"bc" "ab"`},
		{`{"match":"include","value":"lo"}`, `"hello"`, `"lo" "lower"`, `"high" null []`},
		{`{"match":"integer"}`, `1`, `0 -5 12345678901234567890`, `1.0 1e3 "1" null true`},
		{`{"match":"decimal"}`, `1.5`, `1.0 -0.5 1e3`, `1 "1.5" null`},
		{`{"match":"number"}`, `1`, `1 1.5`, `"1" null true`},
		{`{"match":"boolean"}`, `true`, `true false "true" "false"`, `"yes" 1 null`},
		{`{"match":"null"}`, `null`, `null`, `0 "" false []`},
		{`{"match":"date"}`, `"2026-01-01"`, `"2024-02-29" "2026-12-31"`, `"2026-02-29" "2026-13-01" "26-01-01" "2026-1-1" 20260101 null`},
		{`{"match":"date","format":"dd.MM.yyyy"}`, `"01.01.2026"`, `"31.01.2026"`, `"31.04.2026" "2026-01-01"`},
		{`{"match":"date","date":"d MMMM yyyy"}`, `"1 May 2026"`, `"1 May 2026" "31 december 2026"`, `"31 June 2026" "1 Mai 2026"`},
		{`{"match":"time"}`, `"10:00:00"`, `"00:00:00" "23:59:59"`, `"24:00:00" "10:60:00" "10:00"`},
		{`{"match":"time","format":"h:mm a"}`, `"1:00 PM"`, `"12:59 am"`, `"13:00 PM" "1:00"`},
		{`{"match":"datetime"}`, `"2026-01-01T10:00:00Z"`, `"2026-01-01T10:00:00Z" "2026-01-01T10:00:00+01:00"`, `"2026-01-01 10:00:00" "2026-01-01T10:00:00" "2026-01-01T10:00:00+0100"`},
		{`{"match":"timestamp","timestamp":"yyyy-MM-dd HH:mm:ss[.SSS]"}`, `"2026-01-01 10:00:00"`, `"2026-01-01 10:00:00" "2026-01-01 10:00:00.123"`, `"2026-01-01T10:00:00" "2026-01-01 10:00:00.1"`},
		{`{"match":"notEmpty"}`, `"x"`, `"x" [1] {"a":1} 0 false`, `"" [] {} null`},
		{`{"match":"semver"}`, `"1.2.3"`, `"1.2.3" "1.0.0-rc.1+build"`, `"1.2" "v1.2.3" 1`},
		{`{"match":"moment","tolerance":2}`, `"2026-03-01T12:00:00Z"`, `"2026-03-01T12:00:02Z" "2026-03-01T13:00:01+01:00" "2026-03-01T11:59:58.5Z"`, `"2026-03-01T12:00:03Z" "2026-03-01" 1 null`},
		{`{"match":"moment","tolerance":90}`, `"01.03.2026-12:00"`, `"01.03.2026-12:00"`, `"01.03.2026-12:01"`},
		{`{"match":"moment","tolerance":86400}`, `"01.03.2026"`, `"02.03.2026" "28.02.2026"`, `"03.03.2026" "2026-03-01"`},
		{`{"match":"tolerance","tolerance":0.1}`, `1`, `1.1 0.9 1`, `1.11 "1" null`},
		{`{"match":"nullable"}`, `"x"`, `null "y"`, `1 []`},
		{`{"match":"absent"}`, `"x"`, ``, `"x" null`},
		{`{"match":"contentType","value":"application/json"}`, `"x"`, `"{}"`, `"<html>"`},
	} {
		var m match.Matcher
		if err := json.Unmarshal([]byte(c.matcher), &m); err != nil {
			t.Errorf("%s: %v", c.matcher, err)
			continue
		}
		example := decode(t, c.example)
		check := func(values string, want bool) {
			for d := json.NewDecoder(strings.NewReader(values)); d.More(); {
				var raw json.RawMessage
				if err := d.Decode(&raw); err != nil {
					t.Fatalf("%s: %v", values, err)
				}
				err := m.Match(example, decode(t, string(raw)))
				if (err == nil) != want {
					t.Errorf("%s: %s: matches %v (%v), want %v", c.matcher, raw, err == nil, err, want)
				}
				var mismatch *match.Mismatch
				if err != nil && !errors.As(err, &mismatch) {
					t.Errorf("%s: %s: the error is a %T", c.matcher, raw, err)
				}
			}
		}
		check(c.good, true)
		check(c.bad, false)
	}
}

func TestStatusClasses(t *testing.T) {
	for text, codes := range map[string]map[int]bool{
		`"success"`:     {200: true, 204: true, 199: false, 301: false},
		`"nonError"`:    {200: true, 301: true, 404: false},
		`"error"`:       {404: true, 503: true, 200: false},
		`"serverError"`: {500: true, 499: false},
		`[200, 404]`:    {200: true, 404: true, 201: false},
	} {
		r := rules(t, `{"status":{"matchers":[{"match":"statusCode","status":`+text+`}]}}`)
		for code, want := range codes {
			if got := r.Status().Match(200, code) == nil; got != want {
				t.Errorf("%s: %d: %v, want %v", text, code, got, want)
			}
		}
	}
}

func TestMatchersCombine(t *testing.T) {
	both := rules(t, `{"body":{"$":{"combine":"AND","matchers":[{"match":"type"},{"match":"regex","regex":"a.*"}]}}}`)
	either := rules(t, `{"body":{"$":{"combine":"OR","matchers":[{"match":"integer"},{"match":"null"}]}}}`)
	optional := rules(t, `{"body":{"$":{"matchers":[{"match":"nullable"},{"match":"integer"}]}}}`)
	for _, c := range []struct {
		rules           match.Rules
		example, actual any
		want            bool
	}{
		{both, "a", "abc", true}, {both, "a", "xyz", false},
		{either, json.Number("1"), nil, true}, {either, json.Number("1"), json.Number("2"), true}, {either, json.Number("1"), "2", false},
		{optional, json.Number("1"), nil, true}, {optional, json.Number("1"), json.Number("2"), true}, {optional, json.Number("1"), "x", false},
		{optional, nil, json.Number("2"), true},
	} {
		f := c.rules.For(nil)
		if got := f.Match(c.example, c.actual) == nil; got != c.want {
			t.Errorf("%s: %v matches: %v, want %v", f, c.actual, got, c.want)
		}
	}
}

func TestNumbersAreComparedExactlyAndSafely(t *testing.T) {
	n := func(s string) json.Number { return json.Number(s) }
	for _, c := range []struct {
		a, b any
		want bool
	}{
		{n("12.30"), n("12.3"), true}, {n("1e2"), n("100"), true}, {n("9007199254740993"), n("9007199254740992"), false},
		{n("1e999999999"), n("1e999999999"), true}, {n("1e999999999"), n("1e999999998"), false}, {n("1"), "1", false}, {nil, nil, true}, {nil, false, false},
	} {
		if got := match.Equal(c.a, c.b); got != c.want {
			t.Errorf("%v equals %v: %v, want %v", c.a, c.b, got, c.want)
		}
	}
}

func TestRulesReadBackAsTheyAreWritten(t *testing.T) {
	text := `{"body":{"$.a":{"combine":"AND","matchers":[{"match":"regex","regex":"^x"}]},"$.b":{"combine":"OR","matchers":[{"match":"type","min":1,"max":3},{"match":"null"}]},"$.c":{"combine":"AND","matchers":[{"match":"datetime","format":"yyyy"}]},"$.d":{"combine":"AND","matchers":[{"match":"arrayContains","variants":[{"index":0,"rules":{"$.x":{"combine":"AND","matchers":[{"match":"type"}]}}}]}]},"$.e":{"combine":"AND","matchers":[{"match":"tolerance","tolerance":0.5}]}},"header":{"X-Id":{"combine":"AND","matchers":[{"match":"include","value":"v"}]}},"status":{"combine":"AND","matchers":[{"match":"statusCode","status":"success"}]}}`
	data, err := json.Marshal(rules(t, text))
	if err != nil {
		t.Fatal(err)
	}
	if string(data) != text {
		t.Errorf("read back as\n%s, want\n%s", data, text)
	}
}

func TestVersion2RulesAreUnderstood(t *testing.T) {
	r := rules(t, `{"$.body.a":{"match":"type"},"$.body.list":{"min":1},"$.headers.X-Id":{"match":"regex","regex":"\\d+"},"$.path":{"match":"regex","regex":".*"}}`)
	if got := r.For(path(t, "$.a")).String(); got != "$.a: type" {
		t.Errorf("$.a has %q", got)
	}
	if got := r.For(path(t, "$.list")).String(); got != "$.list: type" {
		t.Errorf("min alone is %q, want type", got)
	}
	if got := r.Header("x-id").String(); got != "regex" {
		t.Errorf("the header has %q", got)
	}
}

func TestRulesThatCannotWorkAreRefusedWithWhatIsAccepted(t *testing.T) {
	for text, want := range map[string]string{
		`{"body":{"$.a":{"matchers":[{"match":"typo"}]}}}`:                                 `rule $.a: unknown matcher "typo" (accepted: equality, type`,
		`{"body":{"$.a":{"matchers":[{}]}}}`:                                               `has no "match"`,
		`{"body":{"$.a":{"matchers":[{"match":"regex","regex":"("}]}}}`:                    "RE2",
		`{"body":{"$.a":{"matchers":[{"match":"regex","regex":"(?=x"}]}}}`:                 "lookaround",
		`{"body":{"$.a":{"combine":"XOR","matchers":[]}}}`:                                 "accepted: AND, OR",
		`{"body":{"a":{"matchers":[{"match":"type"}]}}}`:                                   "must start with $",
		`{"body":{"$.a":{"matchers":[{"match":"type","min":3,"max":1}]}}}`:                 "min 3 is above max 1",
		`{"body":{"$.a":{"matchers":[{"match":"date","format":"yyyy-QQ"}]}}}`:              "accepted letters",
		`{"body":{"$.a":{"matchers":[{"match":"date","format":"'open"}]}}}`:                "not closed",
		`{"status":{"matchers":[{"match":"statusCode","status":"fine"}]}}`:                 "accepted: info, success",
		`{"body":{"$.a":{"matchers":[{"match":"tolerance","tolerance":-1}]}}}`:             "at least 0",
		`{"bodies":{"$.a":{"matchers":[{"match":"type"}]}}}`:                               "matchingRules.bodies: unknown category",
		`{"header":{"X-A":{"matchers":[{"match":"include"}]}}}`:                            "non-empty value",
		`{"body":{"$.a":{"matchers":[{"match":"x"}]},"$.b":{"matchers":[{"match":"y"}]}}}`: `rule $.b: unknown matcher "y"`,
		`{"body":{"$.a":{"matchers":[{"match":"oneOfFormats"}]}}}`:                         "needs formats (accepted: uuid",
		`{"body":{"$.a":{"matchers":[{"match":"oneOfFormats","formats":["guid"]}]}}}`:      `unknown format "guid"`,
		`{"body":{"$.a":{"matchers":[{"match":"id","regex":"("}]}}}`:                       "RE2",
		`{"method":{"matchers":[{"match":"regex","regex":"GET"}]}}`:                        "a method has no rules",
		`{"query":{"n":{"matchers":[{"match":"x"}]}}}`:                                     `matchingRules.query["n"]: unknown matcher "x"`,
	} {
		var r match.Rules
		err := json.Unmarshal([]byte(text), &r)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s:\n%v\nwant %q in it", text, err, want)
		}
	}
}

func TestOursAndPactsSplitAndJoin(t *testing.T) {
	r := rules(t, `{"body":{"$.a":{"matchers":[{"match":"nullable"},{"match":"integer"}]},"$.b":{"matchers":[{"match":"absent"}]}},"header":{"X":{"matchers":[{"match":"type"}]}}}`)
	pact, ours := r.Split()
	if got := pact.For(path(t, "$.a")).String(); got != "$.a: integer" {
		t.Errorf("pact's part of $.a is %q", got)
	}
	if !pact.For(path(t, "$.b")).Empty() {
		t.Error("absent is not Pact's")
	}
	joined := pact.Join(ours)
	if got := joined.For(path(t, "$.a")); !got.Has(match.Nullable) || !got.Has(match.Integer) {
		t.Errorf("joined, $.a has %q", got)
	}
	if !joined.SaysAbsent() || joined.Header("X").String() != "type" {
		t.Error("joining lost a rule")
	}
}

// FuzzPathsReadBack: what a path is written as leads to the same place.
func FuzzPathsReadBack(f *testing.F) {
	f.Add("$.a['b c'][0].*[*]")
	f.Add(`$['\\'']["x"]`)
	f.Fuzz(func(t *testing.T, text string) {
		p, err := match.ParsePath(text)
		if err != nil {
			return
		}
		again, err := match.ParsePath(p.String())
		if err != nil || again.String() != p.String() {
			t.Errorf("%q is written as %q, which reads as %q (%v)", text, p, again, err)
		}
	})
}
