package openapi_test

import (
	"encoding/json"
	"flag"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/url"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"stranglerfig/contract-tests/compare"
	"stranglerfig/contract-tests/contract"
	"stranglerfig/contract-tests/match"
	"stranglerfig/contract-tests/openapi"
)

var update = flag.Bool("update", false, "write the golden files anew")

var asJSON = map[string][]string{"Content-Type": {"application/json"}}

func sample(route, path, query, body string) contract.Interaction {
	values, err := url.ParseQuery(query)
	if err != nil {
		panic(err)
	}
	method, _, _ := strings.Cut(route, " ")
	if method == "" {
		method = "GET"
	}
	return contract.Interaction{Route: route, Request: contract.Request{Method: method, Path: path, Query: values},
		Response: contract.Response{Status: 200, Header: asJSON, Body: []byte(body)}}
}

func infer(t *testing.T, samples []contract.Interaction) (string, []string) {
	t.Helper()
	text, lost, err := openapi.Infer("shelf", samples)
	if err != nil {
		t.Fatal(err)
	}
	return string(text), lost
}

func TestTrafficIsDescribedAsItWas(t *testing.T) {
	path, err := match.ParsePath("$.note")
	if err != nil {
		t.Fatal(err)
	}
	ruled := sample("GET /books/{id}", "/books/7", "", `{"id":7,"title":"Emma","added":"2026-01-02T03:04:05Z","price":1,"tags":["a"],"note":"x","by":{"7":{"n":1},"8":{"n":2}}}`)
	ruled.Response.Rules = match.Rules{}.WithBody(path, match.Matcher{Kind: match.Nullable})
	ruled.Response.Header = map[string][]string{"Content-Type": {"application/json"}, "ETag": {`"1"`}}
	post := sample("POST /books", "/books", "", `{"id":9}`)
	post.Request.Header = map[string][]string{"Content-Type": {"application/json"}, "Idempotency-Key": {"k"}, "Accept": {"*/*"}}
	post.Request.Body = []byte(`{"title":"Emma"}`)
	post.Response.Status = 201
	samples := []contract.Interaction{
		ruled,
		sample("GET /books/{id}", "/books/8", "lang=en", `{"id":8,"title":null,"added":"2026-02-02T03:04:05.5+01:00","price":1.5,"tags":[],"extra":true,"note":"y","by":{}}`),
		post,
		sample("", "/readers/1f0c2a9e-6f0a-4d5e-9a57-0123456789ab/loans/3", "page=1&tag=a&tag=b", `[]`),
		sample("GET /files/{path...}", "/files/a/b", "", `"x"`),
		sample("GET shelf.example/old header:X-Version=2", "/old", "", `1`),
	}
	for n := range 30 {
		samples = append(samples, sample("GET /states", "/states", fmt.Sprintf("sort=%d", n), fmt.Sprintf(`{"state":%q,"free":"word %d"}`, []string{"there", "lent"}[n%2], n)))
	}
	got, lost := infer(t, samples)
	if *update {
		if err := os.WriteFile("testdata/inferred.json", []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile("testdata/inferred.json")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	if len(lost) != 2 || !strings.Contains(lost[0], "{path...}") || !strings.Contains(lost[1], "beside method and path") {
		t.Errorf("lost %q", lost)
	}
}

// TestAnUncheckedBodyMayBeAnything: the contract says nothing about it.
func TestAnUncheckedBodyMayBeAnything(t *testing.T) {
	i := sample("GET /a", "/a", "", "")
	i.Response.Body = nil
	text, _ := infer(t, []contract.Interaction{i})
	d, err := described(t, text)
	if err != nil {
		t.Fatal(err)
	}
	for _, body := range []string{"", "text", "{}"} {
		if found := d.Check(asked(t, "GET", "/a", ""), nil, answered(200, body, "Content-Type", "text/csv")); len(found) > 0 {
			t.Errorf("%q: %v", body, found)
		}
	}
}

// TestEverySampleAgreesWithWhatWasInferredFromIt makes random traffic.
func TestEverySampleAgreesWithWhatWasInferredFromIt(t *testing.T) {
	for seed := range uint64(200) {
		r := rand.New(rand.NewPCG(seed, 1))
		var samples []contract.Interaction
		for range 1 + r.IntN(40) {
			body, err := json.Marshal(value(r, 4))
			if err != nil {
				t.Fatal(err)
			}
			i := sample("POST /things/{id}", fmt.Sprintf("/things/%v", []any{r.IntN(9), "a-b", "0a"}[r.IntN(3)]), []string{"", "a=1", "a=x&b=1&b=2", "b=true"}[r.IntN(4)], string(body))
			i.Response.Status = []int{200, 201, 404}[r.IntN(3)]
			if r.IntN(2) == 0 {
				i.Request.Header, i.Request.Body = asJSON, body
			}
			samples = append(samples, i)
		}
		text, _ := infer(t, samples)
		d, err := described(t, text)
		if err != nil {
			t.Fatalf("seed %d: %v\n%s", seed, err, text)
		}
		for _, i := range samples {
			request, err := http.NewRequest("POST", "http://127.0.0.1"+i.Request.Path+"?"+url.Values(i.Request.Query).Encode(), nil)
			if err != nil {
				t.Fatal(err)
			}
			for name, values := range i.Request.Header {
				request.Header[name] = values
			}
			answer := compare.Message{Status: i.Response.Status, Header: i.Response.Header, Body: i.Response.Body}
			if found := d.Check(request, i.Request.Body, answer); len(found) > 0 {
				t.Fatalf("seed %d: %s %s %s is answered %s: %v\n%s", seed, request.URL, i.Request.Body, i.Request.Header, i.Response.Body, found, text)
			}
		}
	}
}

// value is a random JSON value.
func value(r *rand.Rand, depth int) any {
	n := 9
	if depth == 0 {
		n = 7
	}
	switch r.IntN(n) {
	case 0:
		return nil
	case 1:
		return r.IntN(2) == 0
	case 2:
		return r.IntN(100)
	case 3:
		return float64(r.IntN(100)) + 0.5
	case 4:
		return []string{"there", "lent"}[r.IntN(2)]
	case 5:
		return []string{"2026-01-02", "2026-01-02T03:04:05Z", "a@example.com", "https://example.com/x", "1f0c2a9e-6f0a-4d5e-9a57-0123456789ab"}[r.IntN(5)]
	case 6:
		return fmt.Sprintf("text %d\u00e9", r.IntN(50))
	case 7:
		list := []any{}
		for range r.IntN(4) {
			list = append(list, value(r, depth-1))
		}
		return list
	}
	object := map[string]any{}
	for range r.IntN(4) {
		name := []string{"a", "b c", "d", "e.f"}[r.IntN(4)]
		if r.IntN(4) == 0 {
			name = fmt.Sprint(r.IntN(20))
		}
		object[name] = value(r, depth-1)
	}
	return object
}
