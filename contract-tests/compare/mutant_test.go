package compare_test

import (
	"strings"
	"testing"

	"stranglerfig/contract-tests/compare"
	"stranglerfig/contract-tests/match"
)

// original is an answer as the monolith gives it.
func original() compare.Message {
	return compare.Message{
		Status: 200,
		Header: map[string][]string{"Content-Type": {"application/json"}, "Cache-Control": {"no-store"}, "Link": {`</invoices?page=2>; rel="next"`}},
		Body:   []byte(`{"total":3,"page":1,"invoices":[{"id":7,"amount":12.35,"paid":false,"note":"late","due":"2026-03-01T00:30:00+01:00"},{"id":8,"amount":0.1,"paid":true,"note":null,"due":"2026-03-02T00:30:00+01:00"},{"id":9,"amount":5,"paid":true,"note":"","due":"2026-03-03T00:30:00+01:00"}]}`),
	}
}

// mutants are what goes wrong when a service is written anew.
var mutants = map[string]func(m *compare.Message){
	"dropped field":    edit(`"note":"late",`, ``),
	"null for absent":  edit(`"note":null,`, ``),
	"wrong type":       edit(`"id":7`, `"id":"7"`),
	"a flag as number": edit(`"paid":false`, `"paid":0`),
	"off by one":       edit(`"total":3`, `"total":2`),
	"wrong status":     func(m *compare.Message) { m.Status = 204 },
	"changed order":    edit(`{"id":8,"amount":0.1,"paid":true,"note":null,"due":"2026-03-02T00:30:00+01:00"},{"id":9,"amount":5,"paid":true,"note":"","due":"2026-03-03T00:30:00+01:00"}`, `{"id":9,"amount":5,"paid":true,"note":"","due":"2026-03-03T00:30:00+01:00"},{"id":8,"amount":0.1,"paid":true,"note":null,"due":"2026-03-02T00:30:00+01:00"}`),
	"lost header":      func(m *compare.Message) { delete(m.Header, "Link") },
	"stale value":      edit(`"paid":false`, `"paid":true`),
	"truncated page":   edit(`,{"id":9,"amount":5,"paid":true,"note":"","due":"2026-03-03T00:30:00+01:00"}`, ``),
	"empty page": func(m *compare.Message) {
		before, _, _ := strings.Cut(string(m.Body), `"invoices"`)
		m.Body = []byte(before + `"invoices":[]}`)
	},
	"timezone slip":     edit(`2026-03-01T00:30:00+01:00`, `2026-02-28T23:30:00+01:00`),
	"another zone":      edit(`2026-03-01T00:30:00+01:00`, `2026-02-28T23:30:00Z`),
	"rounding":          edit(`12.35`, `12.3`),
	"binary fraction":   edit(`0.1`, `0.10000000000000001`),
	"integer for float": edit(`"amount":5`, `"amount":5.0`),
	"leaked field":      edit(`"page":1`, `"page":1,"sql":"select"`),
	"renamed field":     edit(`"total"`, `"count"`),
	"another case":      edit(`"late"`, `"Late"`),
	"wrapped":           edit(`{"total"`, `[{"total"`, `]}`, `]}]`),
	"a page of HTML":    func(m *compare.Message) { m.Body = []byte("<html><body>Oops</body></html>") },
	"another type":      func(m *compare.Message) { m.Header["Content-Type"] = []string{"text/plain"} },
	"cached":            func(m *compare.Message) { m.Header["Cache-Control"] = []string{"max-age=60"} },
}

func edit(pairs ...string) func(*compare.Message) {
	return func(m *compare.Message) { m.Body = []byte(strings.NewReplacer(pairs...).Replace(string(m.Body))) }
}

// misses lists the mutants that the rules of a contract let pass, and why.
var misses = map[string]string{
	"leaked field":      "what an example does not mention is free",
	"integer for float": "the rule asks for a number",
	"truncated page":    "the list may have as few as one element",
	"changed order":     "elements are held to the rules, and all of them obey",
	"stale value":       "the rule asks for the type",
	"rounding":          "the rule asks for a number",
	"binary fraction":   "the rule asks for a number",
	"timezone slip":     "the rule asks for a moment in this form",
	"another zone":      "the rule asks for a moment in this form",
	"another case":      "the rule asks for the type",
}

// TestEveryMutantOfAnAnswerIsFoundBetweenTwoSides, without rules.
func TestEveryMutantOfAnAnswerIsFoundBetweenTwoSides(t *testing.T) {
	for name, mutate := range mutants {
		m := original()
		mutate(&m)
		if compare.Responses(original(), original(), match.Rules{}, compare.Options{Mode: compare.Exact}) != nil {
			t.Fatal("the original differs from itself")
		}
		if found := compare.Responses(original(), m, match.Rules{}, compare.Options{Mode: compare.Exact}); len(found) == 0 {
			t.Errorf("%s: not found", name)
		}
	}
}

// TestWhatTheRulesOfAContractLetPassIsKnown: a contract that was distilled from
// traffic in which everything varied misses these mutants and no others.
func TestWhatTheRulesOfAContractLetPassIsKnown(t *testing.T) {
	r := rules(t, `{
		"$.invoices":{"matchers":[{"match":"type","min":1}]},
		"$.invoices[*].id":{"matchers":[{"match":"integer"}]},
		"$.invoices[*].amount":{"matchers":[{"match":"number"}]},
		"$.invoices[*].paid":{"matchers":[{"match":"type"}]},
		"$.invoices[*].note":{"matchers":[{"match":"nullable"}]},
		"$.invoices[*].due":{"matchers":[{"match":"datetime"}]}
	}`)
	if found := compare.Responses(original(), original(), r, compare.Options{}); found != nil {
		t.Fatalf("the example violates its own rules: %v", found)
	}
	for name, mutate := range mutants {
		m := original()
		mutate(&m)
		found := compare.Responses(original(), m, r, compare.Options{})
		if why, missed := misses[name]; missed != (len(found) == 0) {
			t.Errorf("%s: found %v; listed as missed: %q", name, found, why)
		}
	}
}
