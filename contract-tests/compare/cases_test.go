package compare_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"stranglerfig/contract-tests/compare"
	"stranglerfig/contract-tests/match"
)

// ownCases are cases of what Pact's own do not reach, in their form, a list of
// them in each file: testdata/cases/response/regex.json.
func ownCases(t *testing.T) map[string][]pactCase {
	t.Helper()
	files, err := filepath.Glob("testdata/cases/*/*.json")
	if err != nil || len(files) == 0 {
		t.Fatalf("there are no cases: %v", err)
	}
	all := map[string][]pactCase{}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var list []pactCase
		if err := json.Unmarshal(data, &list); err != nil || len(list) == 0 {
			t.Fatalf("%s: %d cases, %v", file, len(list), err)
		}
		name := strings.TrimSuffix(filepath.ToSlash(strings.TrimPrefix(file, "testdata/cases/")), ".json")
		all[name] = list
	}
	return all
}

func TestCasesOfOurOwnAgree(t *testing.T) {
	total := 0
	for name, list := range ownCases(t) {
		kind, _, _ := strings.Cut(name, "/")
		for _, c := range list {
			total++
			t.Run(name+"/"+c.Comment, func(t *testing.T) {
				_, found := c.judge(t, kind, "version-4")
				if diff := cmp.Diff(c.Differences, brief(found)); diff != "" {
					t.Errorf("(-want +got)\n%s%v", diff, found)
				}
				if c.Match != (len(c.Differences) == 0) {
					t.Errorf("the case says match %v and lists %d differences", c.Match, len(c.Differences))
				}
			})
		}
	}
	t.Logf("%d cases of our own", total)
}

// TestEveryMatcherIsObeyedAndViolatedByACase: a matcher that nothing tries is
// one that nothing promises.
func TestEveryMatcherIsObeyedAndViolatedByACase(t *testing.T) {
	tried := map[string]map[bool]bool{}
	for _, list := range ownCases(t) {
		for _, c := range list {
			raw, err := json.Marshal(c.Expected.MatchingRules)
			if err != nil {
				t.Fatal(err)
			}
			for _, k := range match.Kinds() {
				if strings.Contains(string(raw), `"match":"`+string(k)+`"`) {
					if tried[string(k)] == nil {
						tried[string(k)] = map[bool]bool{}
					}
					tried[string(k)][c.Match] = true
				}
			}
		}
	}
	for _, k := range match.Kinds() {
		if !tried[string(k)][true] || !tried[string(k)][false] {
			t.Errorf("%s: obeyed %v, violated %v", k, tried[string(k)][true], tried[string(k)][false])
		}
	}
}

// TestEverySideOfEveryCaseIsEqualToItself, and between two running sides it does
// not matter which is which.
func TestEverySideOfEveryCaseIsEqualToItself(t *testing.T) {
	for name, list := range ownCases(t) {
		if !strings.HasPrefix(name, "response/") {
			continue
		}
		for _, c := range list {
			for _, mode := range []compare.Mode{compare.Contract, compare.Exact} {
				for _, m := range []compare.Message{c.Expected.message(), c.Actual.message()} {
					if found := compare.Responses(m, m, match.Rules{}, compare.Options{Mode: mode}); found != nil {
						t.Errorf("%s: %s: %q differs from itself: %v", name, c.Comment, m.Body, found)
					}
				}
			}
			one := compare.Responses(c.Expected.message(), c.Actual.message(), match.Rules{}, compare.Options{Mode: compare.Exact})
			other := compare.Responses(c.Actual.message(), c.Expected.message(), match.Rules{}, compare.Options{Mode: compare.Exact})
			if (len(one) == 0) != (len(other) == 0) {
				t.Errorf("%s: %s: %v one way, and %v the other way", name, c.Comment, one, other)
			}
		}
	}
}

// TestEveryKindOfBodyHasCasesOfBothOutcomes, apart from bytes, which no text
// file holds.
func TestEveryKindOfBodyHasCasesOfBothOutcomes(t *testing.T) {
	all := ownCases(t)
	for _, name := range []string{"json", "xml", "html", "form", "multipart", "text"} {
		list := all["response/"+name]
		for _, want := range []bool{true, false} {
			if !slices.ContainsFunc(list, func(c pactCase) bool { return c.Match == want }) {
				t.Errorf("response/%s has no case with match %v", name, want)
			}
		}
	}
}
