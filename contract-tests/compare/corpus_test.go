package compare_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"stranglerfig/contract-tests/compare"
	"stranglerfig/contract-tests/match"
)

// TestPactsOwnCasesAreJudgedAsPactJudgesThem runs the cases of the Pact
// specification (versions 2 and 3, responses, without XML). The directory of
// pact-foundation/pact-specification, or of its versions, is named by
// STRANGLER_PACT_CORPUS.
func TestPactsOwnCasesAreJudgedAsPactJudgesThem(t *testing.T) {
	root := os.Getenv("STRANGLER_PACT_CORPUS")
	if root == "" {
		if strings.Contains(os.Getenv("STRANGLER_TEST_REQUIRE"), "pact") {
			t.Fatal("Pact's cases are required, but STRANGLER_PACT_CORPUS is not set")
		}
		t.Skip("STRANGLER_PACT_CORPUS names no directory with the specification's cases")
	}
	ran := 0
	for _, version := range []string{"version-2", "version-3"} {
		files, err := filepath.Glob(filepath.Join(root, version, "testcases", "response", "*", "*.json"))
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			if strings.Contains(strings.ToLower(filepath.Base(file)), "xml") {
				continue
			}
			ran++
			t.Run(version+"/"+filepath.Base(filepath.Dir(file))+"/"+filepath.Base(file), func(t *testing.T) { judge(t, file) })
		}
	}
	if ran == 0 {
		t.Fatalf("no cases under %s", root)
	}
}

type corpusAnswer struct {
	Status        int               `json:"status"`
	Headers       map[string]string `json:"headers"`
	Body          json.RawMessage   `json:"body"`
	MatchingRules match.Rules       `json:"matchingRules"`
}

func (a corpusAnswer) message() compare.Message {
	m := compare.Message{Status: a.Status, Header: map[string][]string{}}
	media := ""
	for name, value := range a.Headers {
		m.Header[name] = []string{value}
		if strings.EqualFold(name, "Content-Type") {
			media = value
		}
	}
	var text string
	switch {
	case a.Body == nil:
	case string(a.Body) == "null":
		m.Body = []byte{}
	case string(a.Body) == `""`:
		m.Body = []byte{}
	case json.Unmarshal(a.Body, &text) == nil && !strings.Contains(media, "json"):
		m.Body = []byte(text)
	default:
		m.Body = a.Body
	}
	return m
}

func judge(t *testing.T, file string) {
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var c struct {
		Match            bool
		Comment          string
		Expected, Actual corpusAnswer
	}
	if err := json.Unmarshal(data, &c); err != nil {
		t.Fatal(err)
	}
	got := compare.Responses(c.Expected.message(), c.Actual.message(), c.Expected.MatchingRules, compare.Options{})
	if matched := len(got) == 0; matched != c.Match {
		t.Errorf("%s: matched %v, want %v: %v", c.Comment, matched, c.Match, got)
	}
}
