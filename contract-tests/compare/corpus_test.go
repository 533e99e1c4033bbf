package compare_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"stranglerfig/contract-tests/compare"
	"stranglerfig/contract-tests/harness/require"
	"stranglerfig/contract-tests/match"
)

// pactCorpus is where a copy of pact-foundation/pact-specification is: a folder
// for each version, with cases of requests, answers and messages.
const pactCorpus = "../../../shared/corpora/pact-specification"

// TestPactsOwnCasesAreJudgedAsPactJudgesThem runs every version's cases. Those
// that are judged differently are in testdata/pact-differences.txt, each with
// its reason.
func TestPactsOwnCasesAreJudgedAsPactJudgesThem(t *testing.T) {
	root := pactRoot(t)
	versions, err := filepath.Glob(filepath.Join(root, "version-*"))
	if err != nil || len(versions) == 0 {
		t.Fatalf("no folder version-* in %s: %v", root, err)
	}
	listed := differences(t)
	total, differing := 0, 0
	for _, version := range versions {
		ran := map[string]int{}
		for _, file := range caseFiles(t, filepath.Join(version, "testcases")) {
			name := filepath.ToSlash(strings.TrimPrefix(file, root+string(filepath.Separator)))
			kind := strings.Split(name, "/")[2]
			ran[kind]++
			c := readCase(t, file)
			ok, found := c.judge(t, kind, filepath.Base(version))
			switch _, known := listed[name]; {
			case ok && known:
				t.Errorf("%s: is listed as a difference, and is none", name)
			case !ok && !known:
				t.Errorf("%s: %s: want match %v, found %v", name, c.Comment, c.Match, found)
			case !ok:
				differing++
			}
			delete(listed, name)
		}
		total += ran["request"] + ran["response"] + ran["message"]
		t.Logf("%s: %d requests, %d responses, %d messages", filepath.Base(version), ran["request"], ran["response"], ran["message"])
		if ran["request"]+ran["response"] == 0 {
			t.Errorf("%s has no cases", version)
		}
	}
	for name := range listed {
		t.Errorf("%s: is listed as a difference, and there is no such case", name)
	}
	t.Logf("%d of Pact's cases, of which %d are judged differently, for reasons that are listed", total, differing)
}

// pactRoot is where the corpus is; without it the test is left out, unless it
// is required.
func pactRoot(t *testing.T) string {
	t.Helper()
	root := os.Getenv("STRANGLER_PACT_CORPUS")
	if root == "" {
		root = pactCorpus
	}
	if _, err := os.Stat(root); err != nil && os.Getenv("STRANGLER_PACT_CORPUS") != "" {
		t.Fatal(err)
	} else if err != nil {
		require.Missing(t, "pact", fmt.Sprintf("Pact's own cases are not here (set STRANGLER_PACT_CORPUS to their folder): %v", err))
	}
	return root
}

// differences reads the table of cases that are judged differently: the case, a
// tab, the reason.
func differences(t *testing.T) map[string]string {
	t.Helper()
	data, err := os.ReadFile("testdata/pact-differences.txt")
	if err != nil {
		t.Fatal(err)
	}
	table := map[string]string{}
	for _, line := range strings.Split(string(data), "\n") {
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		name, reason, ok := strings.Cut(line, "\t")
		if !ok || strings.TrimSpace(reason) == "" {
			t.Fatalf("%q gives no reason", line)
		}
		table[name] = reason
	}
	return table
}

// caseFiles lists the cases below a folder, at least one.
func caseFiles(t *testing.T, root string) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(root, "*", "*", "*.json"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no cases in %s: %v", root, err)
	}
	return files
}

// pactCase is one case in the corpus's form. Differences and Mode are ours: the
// paths and kinds that are found where it does not match, and exact for the
// comparison of two running sides.
type pactCase struct {
	Match            bool
	Comment          string
	Expected, Actual side
	Differences      []string
	Mode             string
}

// side is the expected or the actual part of a case.
type side struct {
	Method, Path  string
	Query         json.RawMessage
	Status        int
	Headers       map[string]string
	Body          json.RawMessage
	RawBody       string // ours: what is no JSON
	MetaData      map[string]string
	Contents      json.RawMessage
	MatchingRules match.Rules
}

func readCase(t *testing.T, file string) pactCase {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var c pactCase
	data = bytes.TrimPrefix(data, []byte("\ufeff")) // which one of Pact's has
	if err := json.Unmarshal(data, &c); err != nil {
		t.Fatalf("%s: %v", file, err)
	}
	return c
}

// judge compares and reports whether the outcome is the case's.
func (c pactCase) judge(t *testing.T, kind, version string) (ok bool, found []compare.Difference) {
	t.Helper()
	o := compare.Options{}
	if c.Mode == "exact" {
		o.Mode = compare.Exact
	}
	rules := c.Expected.MatchingRules
	switch kind {
	case "request":
		found = compare.Requests(c.Expected.request(t, version), c.Actual.request(t, version), rules, o)
	case "response":
		found = compare.Responses(c.Expected.message(), c.Actual.message(), rules, o)
	case "message":
		found = compare.Events(c.Expected.event(), c.Actual.event(), rules, o)
	default:
		t.Fatalf("cases of kind %q are not known", kind)
	}
	return (len(found) == 0) == c.Match, found
}

func (s side) header() map[string][]string {
	header := map[string][]string{}
	for name, value := range s.Headers {
		header[name] = []string{value}
	}
	return header
}

func (s side) media() string {
	for name, value := range s.Headers {
		if strings.EqualFold(name, "Content-Type") {
			return value
		}
	}
	return ""
}

// content is a body as it would be sent: nil if it is not mentioned, empty if it
// is null or "", and the text of a text unless that is what JSON would send.
func content(body json.RawMessage, media string) []byte {
	var text string
	switch {
	case body == nil:
		return nil
	case string(body) == "null", string(body) == `""`:
		return []byte{}
	case json.Unmarshal(body, &text) == nil && !strings.Contains(media, "json"):
		return []byte(text)
	}
	return body
}

func (s side) message() compare.Message {
	if s.RawBody != "" {
		return compare.Message{Status: s.Status, Header: s.header(), Body: []byte(s.RawBody)}
	}
	return compare.Message{Status: s.Status, Header: s.header(), Body: content(s.Body, s.media())}
}

func (s side) event() compare.Event {
	return compare.Event{Metadata: s.MetaData, Body: content(s.Contents, s.MetaData["contentType"])}
}

func (s side) request(t *testing.T, version string) compare.Request {
	t.Helper()
	r := compare.Request{Method: s.Method, Path: s.Path, Header: s.header(), Body: content(s.Body, s.media())}
	var raw string
	if json.Unmarshal(s.Query, &raw) == nil {
		if version == "version-1" {
			r.RawQuery = raw
		}
		query, err := url.ParseQuery(raw)
		if err != nil {
			t.Fatal(err)
		}
		r.Query = query
	} else if len(s.Query) > 0 {
		if err := json.Unmarshal(s.Query, &r.Query); err != nil {
			t.Fatal(err)
		}
	}
	return r
}
