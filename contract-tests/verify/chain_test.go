package verify_test

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"stranglerfig/contract-tests/contract"
	"stranglerfig/contract-tests/match"
	"stranglerfig/contract-tests/verify"
)

// numbering is a side that numbers what is created from a first number on, and
// knows it by that number.
func numbering(t *testing.T, name string, first int64, answer func(id string) string) verify.Target {
	t.Helper()
	var last atomic.Int64
	last.Store(first - 1)
	return served(t, name, func(w http.ResponseWriter, r *http.Request) {
		id := strings.TrimPrefix(r.URL.Path, "/things/")
		w.Header().Set("Content-Type", "application/json")
		switch {
		case r.Method == "POST":
			w.Header().Set("Location", fmt.Sprintf("/things/%d", last.Add(1)))
			w.WriteHeader(201)
			fmt.Fprintf(w, `{"id":%d}`, last.Load())
		case id != fmt.Sprint(last.Load()):
			w.WriteHeader(404)
			io.WriteString(w, `{}`)
		case strings.HasSuffix(r.Header.Get("Accept"), "html"):
			w.Header().Set("Content-Type", "text/html")
			fmt.Fprintf(w, "<h1>Thing %s of 10</h1>", id)
		default:
			io.WriteString(w, answer(id))
		}
	})
}

func same(id string) string { return `{"thing":` + id + `,"colour":"red"}` }

// chained creates a thing, looks at it, and at its page; the file has them the
// other way round.
func chained(t *testing.T) contract.Contract {
	t.Helper()
	asJSON, located := map[string][]string{"Content-Type": {"application/json"}}, map[string][]string{"Content-Type": {"application/json"}, "Location": {"/things/7"}}
	id, err := match.ParsePath("$.id")
	if err != nil {
		t.Fatal(err)
	}
	thing, err := match.ParsePath("$.thing")
	if err != nil {
		t.Fatal(err)
	}
	return of(
		contract.Interaction{Key: "page", Request: contract.Request{Method: "GET", Path: "/things/7", Header: map[string][]string{"Accept": {"text/html"}}},
			Response: contract.Response{Status: 200, Body: []byte("<h1>Thing 7 of 10</h1>")},
			Chain:    contract.Chain{Uses: []contract.Use{{Name: "thing", In: "$.path[1]"}}}},
		contract.Interaction{Key: "look", Request: contract.Request{Method: "GET", Path: "/things/7"},
			Response: contract.Response{Status: 200, Header: asJSON, Body: []byte(`{"thing":7,"colour":"red"}`), Rules: match.Rules{}.WithBody(thing, match.Matcher{Kind: match.Integer})},
			Chain:    contract.Chain{Uses: []contract.Use{{Name: "thing", In: "$.path[1]"}}, Returns: []contract.Use{{Name: "thing", In: "$.body.thing"}}}},
		contract.Interaction{Key: "create", Request: contract.Request{Method: "POST", Path: "/things"},
			Response: contract.Response{Status: 201, Header: located, Body: []byte(`{"id":7}`), Rules: match.Rules{}.WithBody(id, match.Matcher{Kind: match.Integer})},
			Chain:    contract.Chain{Captures: []contract.Capture{{Name: "thing", From: "$.body.id"}}, Returns: []contract.Use{{Name: "thing", In: "$.header.Location"}}}},
	)
}

func TestAChainIsPlayedInOrderWithEachSidesOwnValues(t *testing.T) {
	report := run(t, verify.Options{Contract: chained(t), Unsafe: true, Targets: []verify.Target{numbering(t, "monolith", 7, same), numbering(t, "service", 4711, same)}})
	if report.Passed != 3 || report.Verdict != verify.Pass {
		t.Errorf("%+v", report)
	}
	if sent := report.Interactions[1].Results[1].Sent; sent != "GET /things/4711" {
		t.Errorf("the service was asked for %q", sent)
	}
}

func TestReadsThatNoChainTiesComeBeforeWritesWhateverTheirPlaceInTheFile(t *testing.T) {
	var asked []string
	side := served(t, "monolith", func(w http.ResponseWriter, r *http.Request) { asked = append(asked, r.Method+" "+r.URL.Path) })
	c := of()
	for _, request := range []string{"POST /a", "GET /b", "POST /c", "GET /d"} {
		method, path, _ := strings.Cut(request, " ")
		c.Interactions = append(c.Interactions, contract.Interaction{Key: path, Request: contract.Request{Method: method, Path: path}, Response: contract.Response{Status: 200}})
	}
	report, err := verify.Run(t.Context(), verify.Options{Contract: c, Targets: []verify.Target{side}, Unsafe: true})
	if err != nil || report.Passed != 4 {
		t.Fatalf("%+v, %v", report, err)
	}
	if got := strings.Join(asked, ", "); got != "GET /b, GET /d, POST /a, POST /c" {
		t.Errorf("asked: %s", got)
	}
	for n, request := range []string{"POST /a", "GET /b", "POST /c", "GET /d"} {
		if got := report.Interactions[n].Request; got != request {
			t.Errorf("the report's number %d is %s, want %s as in the file", n, got, request)
		}
	}
}

func TestAnAnswerThatSaysAnotherIdThanTheOneCapturedIsADifference(t *testing.T) {
	stale := func(string) string { return `{"thing":1,"colour":"red"}` }
	report := run(t, verify.Options{Contract: chained(t), Unsafe: true, Targets: []verify.Target{numbering(t, "monolith", 7, same), numbering(t, "service", 30, stale)}})
	look := report.Interactions[1]
	if look.Verdict != verify.ServiceBug || look.Results[1].Differences[0].String() != `$.body.thing: value: expected 30, got 1 (rule chain thing)` {
		t.Errorf("%+v", look)
	}
}

func TestWhatWasNotCapturedLeavesTheRestUnexercisedAndSaysWhy(t *testing.T) {
	report := run(t, verify.Options{Contract: chained(t), Targets: []verify.Target{numbering(t, "monolith", 7, same), numbering(t, "service", 7, same)}})
	for _, i := range report.Interactions[:2] {
		if i.Verdict != verify.NotExercised || !strings.Contains(i.Reason, `it uses "thing", which was not captured from the monolith's answer to POST /things`) {
			t.Errorf("without unsafe requests: %+v", i)
		}
	}
	without := served(t, "service", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(201)
		io.WriteString(w, `{}`)
	})
	report = run(t, verify.Options{Contract: chained(t), Unsafe: true, Targets: []verify.Target{numbering(t, "monolith", 7, same), without}})
	create := report.Interactions[2]
	if create.Verdict != verify.ServiceBug || !strings.Contains(fmt.Sprint(create.Results[1].Differences), "a value to capture as thing") {
		t.Errorf("an answer without the id: %+v", create)
	}
	if i := report.Interactions[0]; i.Verdict != verify.NotExercised || !strings.Contains(i.Reason, "from the service's answer") {
		t.Errorf("what hangs on it: %+v", i)
	}
}

// TestAnIdentifierStandsForTheSameOneThroughoutAChain: the service may number
// owners as it likes, and must not mix them up.
func TestAnIdentifierStandsForTheSameOneThroughoutAChain(t *testing.T) {
	owner, err := match.ParsePath("$.owner")
	if err != nil {
		t.Fatal(err)
	}
	owned := match.Rules{}.WithBody(owner, match.Matcher{Kind: match.ID, Scope: "owner"})
	c := chained(t)
	c.Interactions = c.Interactions[1:]
	for n := range c.Interactions {
		response := &c.Interactions[n].Response
		response.Body = []byte(strings.Replace(string(response.Body), "{", `{"owner":1,`, 1))
		response.Rules = response.Rules.Join(owned)
	}
	side := func(name string, first, created, seen int64) verify.Target {
		inner := numbering(t, name, first, func(id string) string {
			return fmt.Sprintf(`{"owner":%d,"thing":%s,"colour":"red"}`, seen, id)
		})
		return served(t, name, func(w http.ResponseWriter, r *http.Request) {
			request, err := http.NewRequestWithContext(r.Context(), r.Method, inner.BaseURL+r.URL.Path, nil)
			if err != nil {
				t.Error(err)
				return
			}
			answer, err := http.DefaultClient.Do(request)
			if err != nil {
				t.Error(err)
				return
			}
			defer answer.Body.Close()
			body, err := io.ReadAll(answer.Body)
			if err != nil {
				t.Error(err)
			}
			if r.Method == "POST" {
				body = []byte(strings.Replace(string(body), "{", fmt.Sprintf(`{"owner":%d,`, created), 1))
				w.Header().Set("Location", answer.Header.Get("Location"))
			}
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(answer.StatusCode)
			w.Write(body)
		})
	}
	report := run(t, verify.Options{Contract: c, Unsafe: true, Targets: []verify.Target{side("monolith", 7, 1, 1), side("service", 30, 500, 500)}})
	if report.Passed != 2 {
		t.Errorf("consistently numbered: %+v", report)
	}
	report = run(t, verify.Options{Contract: c, Unsafe: true, Targets: []verify.Target{side("monolith", 7, 1, 1), side("service", 30, 500, 501)}})
	if look := report.Interactions[0]; look.Verdict != verify.Differs || len(look.Parity) != 1 || look.Parity[0].Fingerprint() != "identity $.body.owner" {
		t.Errorf("%+v", look)
	}
}
