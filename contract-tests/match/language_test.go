package match_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"stranglerfig/contract-tests/match"
)

func TestFormatsAreToldByTheirForm(t *testing.T) {
	for format, c := range map[match.Format]struct{ good, bad string }{
		match.UUID:    {"8c6f6b2e-7d0c-4b0e-9a1a-111111111111 8C6F6B2E-7D0C-1B0E-9A1A-ABCDEFABCDEF", "8c6f6b2e7d0c4b0e9a1a111111111111 8c6f6b2e-7d0c-4b0e-9a1a-11111111111"},
		match.ULID:    {"01ARZ3NDEKTSV4RRFFQ69G5FAV", "81ARZ3NDEKTSV4RRFFQ69G5FAV 01ARZ3NDEKTSV4RRFFQ69G5FAI 01arz3ndektsv4rrffq69g5fav"},
		match.RFC3339: {"2026-01-01T00:00:00Z 2026-01-01T00:00:00.123456+02:00", "2026-01-01T00:00:00 2026-02-30T00:00:00Z 2026-01-01"},
		match.Day:     {"2024-02-29", "2025-02-29 2025-1-1 01.01.2025"},
		match.Clock:   {"23:59:59 00:00:00.5", "24:00:00 1:00"},
		match.JWT:     {"eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2ln eyJhbGciOiJub25lIn0.eyJzdWIiOiIxIn0.", "a.b.c eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0 1.2.3"},
		match.Address: {"127.0.0.1 ::1 2001:db8::1", "127.0.0.256 localhost"},
		match.Mail:    {"ada@example.org", "ada ada@localhost <ada@example.org>"},
		match.Link:    {"https://example.org/a?b=c", "/a mailto:ada@example.org"},
		match.Version: {"1.2.3 1.0.0-rc.1", "1.2 v1.2.3"},
		match.Whole:   {"0 -17 12345678901234567890", "01 1.0 +1 x"},
		match.Numeral: {"0 -1.5 1e9", "1. .5 NaN 0x1"},
		match.Hex:     {"deadbeef 0123456789ABCDEF", "abc 0xdeadbeef deadbeeg"},
		match.Base64:  {"aGVsbG8gd29ybGQhIQ== aGVsbG8_d29ybGQ-ISE", "aGVsbG8= hello"},
	} {
		for _, text := range strings.Fields(c.good) {
			if !format.Has(text) || !slices.Contains(match.FormatsOf(text), format) {
				t.Errorf("%s: %q is none", format, text)
			}
		}
		for _, text := range strings.Fields(c.bad) {
			if format.Has(text) {
				t.Errorf("%s: %q is one", format, text)
			}
		}
	}
	if match.Whole.Has(strings.Repeat("1", 20_000)) {
		t.Error("a text of 20,000 bytes is looked at")
	}
	if got := match.FormatsOf("20260101"); got[0] != match.Whole || !slices.Contains(got, match.Hex) {
		t.Errorf("20260101 is %v, the narrowest not first", got)
	}
}

// TestAnExpressionThatNeverEndsIsGivenUp with a mismatch that says so.
func TestAnExpressionThatNeverEndsIsGivenUp(t *testing.T) {
	m := match.Must(match.Matcher{Kind: match.Regex, Value: `(?=a)(a+)+b`})
	err := m.Match("a", strings.Repeat("a", 40))
	if err == nil || !strings.Contains(err.Error(), "took longer") {
		t.Errorf("%v", err)
	}
	if err := m.Match("a", "aab"); err != nil {
		t.Error(err)
	}
	for range 5 {
		if err := m.Match("a", strings.Repeat("a", 40)); err == nil {
			t.Error("it ended")
		}
	}
	if err := m.Match("a", "aab"); err == nil || !strings.Contains(err.Error(), "not tried any more") {
		t.Errorf("after five texts that took too long: %v", err)
	}
}

func TestRulesOfRequestsAndMessagesAreRead(t *testing.T) {
	r := rules(t, `{
		"path": {"combine":"AND","matchers":[{"match":"regex","regex":"/\\d+"}]},
		"query": {"a.b":{"matchers":[{"match":"integer"}]},"$.c[*]":{"matchers":[{"match":"type"}]}},
		"header": {"$['X-Id']":{"matchers":[{"match":"type"}]}},
		"metadata": {"queue":{"matchers":[{"match":"type"}]}},
		"content": {"$.a":{"matchers":[{"match":"type"}]}}
	}`)
	for what, list := range map[string]match.List{
		"path": r.Path(), "a.b": r.Query("a.b"), "c": r.Query("c"), "header": r.Header("x-id"), "metadata": r.Metadata("queue"), "body": r.For(path(t, "$.a")).List,
	} {
		if list.Empty() {
			t.Errorf("%s has no rule", what)
		}
	}
	data, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	if again, err := json.Marshal(rules(t, string(data))); err != nil || string(again) != string(data) {
		t.Errorf("%s reads back as %s (%v)", data, again, err)
	}
	pact, ours := r.WithQuery("n", match.Matcher{Kind: match.ID}).Split()
	if pact.Query("n").Has(match.ID) || !ours.Query("n").Has(match.ID) || !pact.Join(ours).Query("n").Has(match.ID) || !pact.Join(ours).NamesIDs() {
		t.Error("splitting or joining lost the rule of a parameter")
	}
}

func TestOtherNamesOfMatchersAreKnown(t *testing.T) {
	for name, want := range map[string]match.Kind{
		"timestamp": match.DateTime, "array-contains": match.ArrayContains, "each-key": match.EachKey, "each-value": match.EachValue,
		"not-empty": match.NotEmpty, "real": match.Decimal, "ignore-order": match.Unordered,
	} {
		var m match.Matcher
		if err := json.Unmarshal([]byte(`{"match":"`+name+`"}`), &m); err != nil || m.Kind != want {
			t.Errorf("%s is %q (%v), want %s", name, m.Kind, err, want)
		}
	}
}

// TestACursorFindsWhatTheStrongestRuleIs: on random documents and rules it
// agrees with the definition, which looks at all rules in their order.
func TestACursorFindsWhatTheStrongestRuleIs(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	step := func(rule bool) match.Step {
		switch n := random.IntN(6); {
		case n < 2:
			return match.Field(string(rune('a' + random.IntN(3))))
		case n < 4 || !rule:
			return match.Index(random.IntN(3))
		case n == 4:
			return match.AnyStep()
		}
		return match.AnyIndex()
	}
	somePath := func(rule bool) match.Path {
		p := match.Path{}
		for range random.IntN(5) {
			p = append(p, step(rule))
		}
		return p
	}
	kinds := []match.Kind{match.Type, match.Equality, match.NotEmpty, match.Nullable, match.Integer}
	for range 300 {
		var r match.Rules
		for range random.IntN(12) {
			r = r.WithBody(somePath(true), match.Matcher{Kind: kinds[random.IntN(len(kinds))]})
		}
		for range 50 {
			value := somePath(false)
			if got, want := r.For(value).String(), strongest(r, value); got != want {
				t.Fatalf("%s under %s: %q, want %q", value, listed(r), got, want)
			}
		}
	}
}

// strongest is the definition of precedence, without an index.
func strongest(r match.Rules, value match.Path) string {
	for _, rule := range r.Body() {
		if !rule.Path.Covers(value) {
			continue
		}
		k := rule.Matchers[0].Kind
		if len(rule.Path) == len(value) || k != match.NotEmpty && k != match.Nullable {
			return rule.Path.String() + ": " + string(k)
		}
	}
	return ""
}

func listed(r match.Rules) string {
	var all []string
	for _, rule := range r.Body() {
		all = append(all, fmt.Sprintf("%s %s", rule.Path, rule.List))
	}
	return strings.Join(all, ", ")
}

func TestMediaAreGuessedFromTheirFirstBytes(t *testing.T) {
	for content, want := range map[string]string{
		"\x89PNG\r\n\x1a\n....": "image/png", "RIFF....WEBPVP8 ": "image/webp", "....ftypisom": "video/mp4", "%PDF-1.7": "application/pdf",
		`{"a":1}`: "application/json", "<!DOCTYPE html><p>": "text/html", "<?xml version='1.0'?><a/>": "application/xml", "words": "text/plain", "\x00\xff": "application/octet-stream",
	} {
		if got := match.Sniff([]byte(content)); got != want {
			t.Errorf("%q is %s, want %s", content, got, want)
		}
		m := match.Must(match.Matcher{Kind: match.ContentType, Value: want + "; charset=utf-8"})
		if err := m.Match(nil, match.Text(content)); err != nil {
			t.Errorf("%q: %v", content, err)
		}
	}
	docx := match.Must(match.Matcher{Kind: match.ContentType, Value: "application/vnd.openxmlformats-officedocument.wordprocessingml.document"})
	if err := docx.Match(nil, match.Text("PK\x03\x04rest")); err != nil {
		t.Error(err)
	}
}
