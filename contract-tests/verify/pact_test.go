package verify_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"stranglerfig/contract-tests/compare"
	"stranglerfig/contract-tests/contract"
	"stranglerfig/contract-tests/verify"
)

// shelf is an application with provider states: it gives what it makes an id
// of its own, as a database does, and tells it.
type shelf struct {
	mu    sync.Mutex
	first int
	books map[string]string
	log   []string
}

func (s *shelf) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	body, _ := io.ReadAll(r.Body)
	w.Header().Set("Content-Type", "application/json")
	if r.URL.Path == "/states" {
		s.change(w, body)
		return
	}
	s.log = append(s.log, r.Method+" "+r.URL.RequestURI()+" "+string(body))
	title, ok := s.books[strings.TrimPrefix(r.URL.Path, "/books/")]
	if !ok {
		w.WriteHeader(http.StatusNotFound)
		return
	}
	fmt.Fprintf(w, `{"title":%q,"token":%q}`, title, r.Header.Get("Authorization"))
}

func (s *shelf) change(w http.ResponseWriter, body []byte) {
	var c struct {
		State, Action string
		Params        map[string]any
	}
	if err := json.Unmarshal(body, &c); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	s.log = append(s.log, c.Action+" "+c.State)
	if c.Action == "teardown" {
		s.books = nil
		return
	}
	id := fmt.Sprint(s.first)
	s.books = map[string]string{id: fmt.Sprint(c.Params["title"])}
	fmt.Fprintf(w, `{"id":%s,"title":"from the provider"}`, id)
}

func (s *shelf) target(t *testing.T, name string) verify.Target {
	server := httptest.NewServer(s)
	t.Cleanup(server.Close)
	return verify.Target{Name: name, BaseURL: server.URL, States: server.URL + "/states"}
}

// TestAPactOfOthersIsVerifiedWithItsStatesAndGenerators: each side gives the
// book another id, and only the request's generators know it.
func TestAPactOfOthersIsVerifiedWithItsStatesAndGenerators(t *testing.T) {
	c, err := contract.Read(strings.NewReader(`{
		"consumer":{"name":"reader"},"provider":{"name":"shelf"},
		"interactions":[{
			"description":"a book",
			"providerStates":[{"name":"there is a book","params":{"title":"Emma"}},{"name":"it is on loan"}],
			"request":{"method":"GET","path":"/books/1","query":{"at":["2020-01-01"],"title":["x"]},"headers":{"Authorization":"Bearer x"},
				"generators":{
					"path":{"type":"ProviderState","expression":"/books/${id}"},
					"query":{"at":{"type":"Date","format":"yyyy-MM-dd"},"title":{"type":"ProviderState","expression":"${title}"}},
					"header":{"Authorization":{"type":"Regex","regex":"Bearer [a-f]{8}"}}}},
			"response":{"status":200,"headers":{"Content-Type":"application/json"},"body":{"title":"Emma","token":"Bearer x"},
				"matchingRules":{"body":{"$.title":{"matchers":[{"match":"type"}]},"$.token":{"matchers":[{"match":"regex","regex":"Bearer \\w+"}]}}}}}],
		"metadata":{"pactSpecification":{"version":"3.0.0"},"pact-jvm":{"version":"4.6.5"}}}`))
	if err != nil {
		t.Fatal(err)
	}
	monolith, service := &shelf{first: 7}, &shelf{first: 1000}
	o := verify.Options{Contract: c, States: true, Teardown: true, Seed: 5,
		Targets: []verify.Target{monolith.target(t, "monolith"), service.target(t, "service")},
		Now:     func() time.Time { return time.Date(2026, 5, 6, 0, 0, 0, 0, time.UTC) }}
	report := run(t, o)
	if report.Verdict != verify.Pass || report.Seed != 5 {
		t.Fatalf("%+v", report)
	}
	for name, s := range map[*shelf]string{monolith: "7", service: "1000"} {
		want := []string{"setup there is a book", "setup it is on loan", "GET /books/" + s + "?at=2026-05-06&title=from+the+provider ", "teardown it is on loan", "teardown there is a book"}
		if diff := cmp.Diff(want, name.log); diff != "" {
			t.Errorf("(-want +got)\n%s", diff)
		}
	}
	if got := report.Interactions[0].Results[1].Sent; got != "GET /books/1000?at=2026-05-06&title=from+the+provider" {
		t.Errorf("the report says that %q was sent", got)
	}
	// The token differs from run to run, but not between the sides: strictly
	// compared they agree.
	o.Strict, o.Seed = true, 6
	if report := run(t, o); report.Verdict != verify.Pass {
		t.Errorf("%+v", report.Interactions[0])
	}
}

func TestTeardownIsOffByDefaultAndAFailedOneIsTold(t *testing.T) {
	i := interaction("GET", `{}`)
	i.States = []contract.State{{Name: "s"}}
	var actions []string
	target := served(t, "service", func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		w.Header().Set("Content-Type", "application/json")
		if action := regexp.MustCompile(`"action":"(\w+)"`).FindSubmatch(body); action != nil {
			if actions = append(actions, string(action[1])); string(action[1]) == "teardown" {
				w.WriteHeader(http.StatusInternalServerError)
			}
		}
		io.WriteString(w, `{}`)
	})
	o := verify.Options{Contract: of(i), Targets: []verify.Target{target}, States: true}
	if report := run(t, o); report.Passed != 1 || strings.Join(actions, " ") != "setup" {
		t.Errorf("asked for %v: %+v", actions, report.Interactions)
	}
	o.Teardown = true
	report := run(t, o)
	if got := report.Interactions[0].Results[0].Error; report.ExitCode() != 2 || !strings.Contains(got, `teardown of state "s"`) || !strings.Contains(got, "500") {
		t.Errorf("exit code %d, error %q", report.ExitCode(), got)
	}
}

func TestAValueThatNoStateGaveIsTold(t *testing.T) {
	i := interaction("GET", `{}`)
	if err := json.Unmarshal([]byte(`{"path":{"type":"ProviderState","expression":"/x/${id}"}}`), &i.Request.Generators); err != nil {
		t.Fatal(err)
	}
	report := run(t, verify.Options{Contract: of(i), Targets: []verify.Target{side(t, "service", `{}`)}})
	if got := report.Interactions[0]; got.Verdict != verify.Unreachable || !strings.Contains(got.Results[0].Error, "${id}") {
		t.Errorf("%+v", got)
	}
}

// strange is a description that finds fault with one side's answers.
type strange struct{ word string }

func (s strange) Check(_ *http.Request, _ []byte, answer compare.Message) []compare.Difference {
	if !strings.Contains(string(answer.Body), s.word) {
		return nil
	}
	return []compare.Difference{{Path: "$.body", Kind: compare.Value, Rule: "description"}}
}

func TestWhatADescriptionFindsCountsLikeADifference(t *testing.T) {
	i := interaction("GET", `{}`)
	targets := []verify.Target{side(t, "monolith", `{"a":1}`), side(t, "service", `{"b":1}`)}
	for word, want := range map[string]verify.Verdict{"a": verify.ContractWrong, "b": verify.ServiceBug, "1": verify.Stale} {
		report := run(t, verify.Options{Contract: of(i), Targets: targets, Description: strange{word}})
		if got := report.Interactions[0].Verdict; got != want {
			t.Errorf("%s: %s, want %s", word, got, want)
		}
	}
}

func TestATargetIsAskedNoFasterThanItsRate(t *testing.T) {
	target := side(t, "service", `{}`)
	target.Rate = 100
	var many []contract.Interaction
	for n := range 12 {
		i := interaction("GET", `{}`)
		i.Key = fmt.Sprint(n)
		many = append(many, i)
	}
	begun := time.Now()
	report := run(t, verify.Options{Contract: of(many...), Targets: []verify.Target{target}, Concurrency: 12})
	// Twelve requests have eleven pauses of 10 ms between them, however slow the
	// machine is.
	if took := time.Since(begun); report.Passed != 12 || took < 110*time.Millisecond {
		t.Errorf("%d passed within %s", report.Passed, took)
	}
}

func TestSharedDataAllowsOneInteractionAtATime(t *testing.T) {
	o := verify.Options{Contract: of(interaction("GET", `{}`)), Targets: []verify.Target{side(t, "service", `{}`)}, Concurrency: 2, Unsafe: true}
	if _, err := verify.Run(t.Context(), o); err == nil || !strings.Contains(err.Error(), "it is one") {
		t.Errorf("error %v", err)
	}
	o.Targets[0].States, o.Targets[0].Rate = "/states", -1
	_, err := verify.Run(t.Context(), o)
	for _, want := range []string{`"/states" is no address for provider states`, "a rate of -1"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want %q in it", err, want)
		}
	}
}
