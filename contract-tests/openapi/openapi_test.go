package openapi_test

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"stranglerfig/contract-tests/compare"
	"stranglerfig/contract-tests/openapi"
	"stranglerfig/contract-tests/verify"
)

func load(t *testing.T, path string) *openapi.Description {
	t.Helper()
	d, err := openapi.Load(path)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// described writes a description into a file and loads it.
func described(t *testing.T, text string) (*openapi.Description, error) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "api.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return openapi.Load(path)
}

func asked(t *testing.T, method, address, body string) *http.Request {
	t.Helper()
	r, err := http.NewRequest(method, "http://127.0.0.1:9000"+address, nil)
	if err != nil {
		t.Fatal(err)
	}
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	return r
}

func answered(status int, body string, fields ...string) compare.Message {
	m := compare.Message{Status: status, Header: map[string][]string{}, Body: []byte(body)}
	if strings.HasPrefix(body, "{") || strings.HasPrefix(body, "[") {
		m.Header["Content-Type"] = []string{"application/json; charset=utf-8"}
	}
	for n := 0; n+1 < len(fields); n += 2 {
		m.Header[fields[n]] = []string{fields[n+1]}
	}
	return m
}

var _ verify.Description = (*openapi.Description)(nil)

func TestAnswersAndRequestsAreHeldAgainstTheDescription(t *testing.T) {
	d := load(t, "testdata/shelf.yaml")
	book := `{"id":1,"title":"Emma","state":"there","lent":null}`
	for _, c := range []struct {
		name, method, address, sent string
		answer                      compare.Message
		want                        string // kinds and paths
	}{
		{"all is well", "GET", "/v1/books?page=2", "", answered(200, "["+book+"]", "X-Total", "1"), ""},
		{"another path", "GET", "/books", "", answered(200, "[]"), "missing $.request"},
		{"another method", "PUT", "/v1/books", "", answered(200, "[]"), "missing $.request"},
		{"a parameter", "GET", "/v1/books?page=none", "", answered(200, "["+book+"]", "X-Total", "1"), "value $.request.query.page"},
		{"a parameter out of its bounds", "GET", "/v1/books?page=0", "", answered(200, "["+book+"]", "X-Total", "1"), "value $.request.query.page"},
		{"a header is missing", "GET", "/v1/books", "", answered(200, "["+book+"]"), "missing $.header.X-Total"},
		{"a header of another type", "GET", "/v1/books", "", answered(200, "["+book+"]", "X-Total", "many"), "header $.header.X-Total"},
		{"a list is too short", "GET", "/v1/books", "", answered(200, "[]", "X-Total", "1"), "length $.body"},
		{"a member is missing", "GET", "/v1/books/1", "", answered(200, `{"id":1,"state":"there"}`), "missing $.body.title"},
		{"several things", "GET", "/v1/books/1", "", answered(200, `{"id":"1","title":null,"state":"gone","shelf":3}`), "type $.body.id, extra $.body, value $.body.state, type $.body.title"},
		{"a format", "GET", "/v1/books/1", "", answered(200, `{"id":1,"title":"x","state":"lent","lent":"soon","isbn":"x"}`), "value $.body.isbn, value $.body.lent"},
		{"a status", "GET", "/v1/books/1", "", answered(418, book), "status $.status"},
		{"a default", "GET", "/v1/books", "", answered(500, ""), ""},
		{"a media type", "GET", "/v1/books/1", "", answered(200, "<a>", "Content-Type", "text/html"), "value $.body"},
		{"not JSON", "GET", "/v1/books/1", "", answered(200, "{"), "value $.body"},
		{"a body that is not described", "DELETE", "/v1/books/1", "", answered(204, "gone", "Content-Type", "text/plain"), "extra $.body"},
		{"a request's body", "POST", "/v1/books", `{"title":""}`, answered(201, `{"id":1,"title":"","state":"there"}`), "length $.request.body.title"},
		{"a request that was refused", "POST", "/v1/books", `{"title":""}`, answered(422, `{"error":"a title is missing"}`), ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			found := d.Check(asked(t, c.method, c.address, c.sent), []byte(c.sent), c.answer)
			var got []string
			for _, f := range found {
				got = append(got, string(f.Kind)+" "+f.Path)
				if !strings.HasPrefix(f.Rule, "testdata/shelf.yaml: ") {
					t.Errorf("the rule is %q", f.Rule)
				}
			}
			if diff := cmp.Diff(c.want, strings.Join(got, ", ")); diff != "" {
				t.Errorf("(-want +got)\n%s%v", diff, found)
			}
		})
	}
}

func TestVersion31IsCheckedAsWell(t *testing.T) {
	d, err := described(t, `
openapi: 3.1.0
info: {title: t, version: "1"}
paths:
  /a:
    get:
      responses:
        "200":
          description: d
          content: {application/json: {schema: {type: object, required: [x], properties: {x: {type: [string, "null"]}, n: {type: integer, exclusiveMinimum: 0}, k: {const: 7}}}}}
`)
	if err != nil {
		t.Fatal(err)
	}
	for body, want := range map[string]string{
		`{"x":null,"n":1,"k":7}`: "", `{"x":"a"}`: "", `{"x":1}`: "$.body.x", `{}`: "$.body", `{"x":"a","n":0}`: "$.body.n", `{"x":"a","k":8}`: "$.body.k",
	} {
		found := d.Check(asked(t, "GET", "/a", ""), nil, answered(200, body))
		switch {
		case want == "" && len(found) > 0:
			t.Errorf("%s: %v", body, found)
		case want != "" && (len(found) != 1 || !strings.HasPrefix(found[0].Path, want)):
			t.Errorf("%s: %v, want %s", body, found, want)
		}
	}
}

func TestWhatIsNoDescriptionIsRefused(t *testing.T) {
	operation := func(ref string) string {
		return "openapi: 3.0.3\ninfo: {title: t, version: \"1\"}\npaths: {/a: {get: {responses: {\"200\": {description: d, content: {application/json: {schema: {$ref: \"" + ref + "\"}}}}}}}}\n"
	}
	for text, want := range map[string]string{
		"{": "api.yaml", "swagger: \"2.0\"\ninfo: {title: t, version: \"1\"}\npaths: {}\n": "accepted: ",
		"openapi: 4.0.0\ninfo: {title: t, version: \"1\"}\npaths: {}\n": "accepted: ",
		"openapi: 3.0.3\ninfo: {title: t}\npaths: {}\n":                 "version",
		"openapi: 3.0.3\n# \xff\n":                                      "not UTF-8",
		operation("http://127.0.0.1:1/a.yaml"):                          "is not followed",
		operation("../secret.yaml"):                                     "is not followed",
		operation("/etc/passwd"):                                        "is not followed",
		operation("#/components/schemas/Nothing"):                       "Nothing",
	} {
		if _, err := described(t, text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.60q: error %v, want %q in it", text, err, want)
		}
	}
	large := filepath.Join(t.TempDir(), "large.yaml")
	if err := os.WriteFile(large, make([]byte, openapi.MaxFile+1), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := openapi.Load(large); err == nil || !strings.Contains(err.Error(), "larger than 16 MiB") {
		t.Errorf("error %v", err)
	}
}

func TestExamplesBecomeAContractThatTheDescriptionAgreesWith(t *testing.T) {
	d := load(t, "testdata/shelf.yaml")
	c, left, err := d.Contract()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Validate(); err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, i := range c.Interactions {
		got = append(got, fmt.Sprint(i.Request.Method, " ", i.Request.Path, " ", i.Request.Query, " ", string(i.Request.Body), " ", i.Response.Status, " ", string(i.Response.Body), " ", i.Route, " ", i.Description))
	}
	want := []string{
		`GET /v1/books map[page:[1] tag:[old rare]]  200 [{"added":"2026-01-02T03:04:05Z","id":1,"isbn":"978-0141439587","lent":null,"state":"there","title":"Emma"}] GET /v1/books all books, answered 200`,
		`POST /v1/books map[] {"title":"Persuasion"} 201 {"id":2,"state":"there","title":"Persuasion"} POST /v1/books addBook: new, answered 201`,
		`POST /v1/books map[] {"title":""} 422 {"error":"a title is missing"} POST /v1/books addBook: nameless, answered 422`,
		`DELETE /v1/books/1 map[]  204  DELETE /v1/books/{book_id} DELETE /books/{book-id}, answered 204`,
		`GET /v1/books/99 map[]  404 no such book GET /v1/books/{book_id} GET /books/{book-id}: gone, answered 404`,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	if diff := cmp.Diff(map[string]int{openapi.NoStatus: 1, openapi.NoExample: 1, openapi.NoRequest: 1}, left); diff != "" {
		t.Errorf("left out (-want +got)\n%s", diff)
	}
	if problems := append(verify.Contradictions(c), d.Departures(c)...); len(problems) > 0 {
		t.Error(problems)
	}
	for _, other := range []struct {
		body string
		bad  string
	}{
		{`[{"added":"2027-01-02T03:04:05.678+01:00","id":5,"isbn":"111-2222222222","lent":"2026-01-01","state":"lent","title":"x"},{"added":"2026-01-02T03:04:05Z","id":1,"isbn":"978-0141439587","lent":null,"state":"there","title":"Emma"}]`, ""},
		{`[{"added":"yesterday","id":5,"isbn":"111-2222222222","lent":null,"state":"lent","title":"x"}]`, "added"},
		{`[{"added":"2027-01-02T03:04:05Z","id":5.5,"isbn":"111","lent":null,"state":"sold","title":"x"}]`, "id isbn state"},
		{`[]`, "$.body"},
	} {
		first := c.Interactions[0].Response
		found := compare.Responses(compare.Message{Status: 200, Header: first.Header, Body: first.Body},
			answered(200, other.body), first.Rules, compare.Options{})
		for _, word := range strings.Fields(other.bad) {
			if !strings.Contains(fmt.Sprint(found), word) {
				t.Errorf("%s: %v, want %s in it", other.body, found, word)
			}
		}
		if len(found) != len(strings.Fields(other.bad)) {
			t.Errorf("%s: %v", other.body, found)
		}
	}
}

func TestAnExampleThatBreaksItsSchemaIsTold(t *testing.T) {
	d, err := described(t, `
openapi: 3.0.3
info: {title: t, version: "1"}
paths:
  /a/{id}:
    get:
      parameters: [{name: id, in: path, required: true, schema: {type: integer}, example: none}]
      responses:
        "200": {description: d, content: {application/json: {schema: {type: object, required: [x], properties: {n: {type: integer}}}, example: {n: "1"}}}, headers: {X-N: {example: 3, schema: {type: integer}}, X-M: {required: true, schema: {type: string}}}}
`)
	if err != nil {
		t.Fatal(err)
	}
	c, _, err := d.Contract()
	if err != nil {
		t.Fatal(err)
	}
	if header := c.Interactions[0].Response.Header; header["X-N"] == nil || header["X-N"][0] != "3" || header["X-M"] != nil {
		t.Errorf("headers %v", header)
	}
	got := fmt.Sprint(d.Departures(c))
	for _, want := range []string{"$.request.path.id", "$.body.x: missing", "$.body.n: type: expected integer"} {
		if !strings.Contains(got, want) {
			t.Errorf("%s\nlacks %s", got, want)
		}
	}
}

func TestBreakingChangesAreToldFromHarmlessOnes(t *testing.T) {
	base := func(body string) string {
		return "openapi: 3.0.3\ninfo: {title: t, version: \"1\"}\npaths:\n" + body
	}
	get := func(parameters, properties string) string {
		return base("  /a:\n    get:\n      parameters: [" + parameters + "]\n      responses:\n        \"200\":\n          description: d\n          content: {application/json: {schema: {type: object, required: [x], properties: {" + properties + "}}}}\n")
	}
	old := get("", "x: {type: string}, n: {type: integer}")
	for name, c := range map[string]struct{ later, level, id string }{
		"nothing":                      {old, "", ""},
		"a member more":                {get("", "x: {type: string}, n: {type: integer}, y: {type: string}"), openapi.Harmless, "response-optional-property-added"},
		"a required member less":       {get("", "n: {type: integer}"), openapi.Breaks, "response-required-property-removed"},
		"a member of another type":     {get("", "x: {type: integer}, n: {type: integer}"), openapi.Breaks, "response-property-type-changed"},
		"a parameter that is required": {get("{name: q, in: query, required: true, schema: {type: string}}", "x: {type: string}, n: {type: integer}"), openapi.Breaks, "new-required-request-parameter"},
		"a parameter that is not":      {get("{name: q, in: query, schema: {type: string}}", "x: {type: string}, n: {type: integer}"), openapi.Harmless, "new-optional-request-parameter"},
		"an operation that is no more": {base("  /b: {get: {responses: {\"200\": {description: d}}}}\n"), openapi.Breaks, "api-path-removed-without-deprecation"},
		"a member of fewer bounds":     {get("", "x: {type: string}, n: {type: integer, enum: [1]}"), openapi.Harmless, "response-property-became-enum"},
	} {
		t.Run(name, func(t *testing.T) {
			first, err := described(t, old)
			if err != nil {
				t.Fatal(err)
			}
			second, err := described(t, c.later)
			if err != nil {
				t.Fatal(err)
			}
			changes, err := openapi.Breaking(first, second)
			if err != nil {
				t.Fatal(err)
			}
			if c.level == "" {
				if len(changes) > 0 {
					t.Error(changes)
				}
				return
			}
			if len(changes) == 0 || changes[0].Level != c.level || changes[0].ID != c.id || changes[0].Text == "" {
				t.Errorf("%+v, want %s %s first", changes, c.level, c.id)
			}
		})
	}
}
