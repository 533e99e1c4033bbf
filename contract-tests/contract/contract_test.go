package contract_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"stranglerfig/contract-tests/contract"
	"stranglerfig/contract-tests/generator"
	"stranglerfig/contract-tests/match"
)

func read(t *testing.T, text string) contract.Contract {
	t.Helper()
	c, err := contract.Read(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

var alike = cmp.Options{
	cmpopts.IgnoreUnexported(contract.Interaction{}, contract.Request{}, contract.Response{}),
	cmp.Comparer(func(a, b match.Rules) bool {
		x, _ := a.MarshalJSON()
		y, _ := b.MarshalJSON()
		return bytes.Equal(x, y)
	}),
	cmp.Comparer(func(a, b generator.Set) bool { return reflect.DeepEqual(a, b) }),
}

func example(t *testing.T) contract.Contract {
	t.Helper()
	path, err := match.ParsePath("$.id")
	if err != nil {
		t.Fatal(err)
	}
	rules := match.Rules{}.WithBody(path, match.Matcher{Kind: match.Integer}, match.Matcher{Kind: match.Nullable}).
		WithHeader("Location", match.Must(match.Matcher{Kind: match.Regex, Value: `/x/\d+`})).
		WithStatus(match.Must(match.Matcher{Kind: match.StatusCode, Class: "success"}))
	json := map[string][]string{"Content-Type": {"application/json"}}
	request := contract.Request{Method: "GET", Path: "/x/1", Query: map[string][]string{"a": {"1", "2"}}, Header: map[string][]string{"Accept": {"application/json"}}}
	answer := func(header map[string][]string, body []byte) contract.Response {
		return contract.Response{Status: 200, Header: header, Body: body}
	}
	return contract.Contract{Consumer: "web", Provider: "shop", Interactions: []contract.Interaction{
		{Key: "json", Description: "json", Pending: true, States: []contract.State{{Name: "there is one", Params: map[string]any{"id": "7"}}}, Request: request,
			Response: contract.Response{Status: 200, Header: json, Body: []byte(`{"id":1,"html":"<b>&"}`), Rules: rules},
			Route:    "GET /x/{id}", Source: contract.Recorded, Weight: 12, Redacted: []string{"response.body.token"}},
		{Key: "text", Description: "text", Request: request, Response: answer(nil, []byte("a\nb"))},
		{Key: "binary", Description: "binary", Request: request, Response: answer(map[string][]string{"Content-Type": {"image/png"}}, []byte{0xff, 0, 1})},
		{Key: "unchecked", Description: "unchecked", Request: request, Response: answer(nil, nil)},
		{Key: "empty", Description: "empty", Request: request, Response: answer(nil, []byte{})},
		{Key: "null", Description: "null", Request: request, Response: answer(json, []byte("null"))},
		{Key: "text in JSON", Description: "text in JSON", Request: request, Response: answer(json, []byte(`"hello"`))},
		{Key: "broken JSON", Description: "broken JSON", Request: request, Response: answer(json, []byte(`{"a`))},
	}}
}

func TestAContractReadsBackAsItWasSaved(t *testing.T) {
	path := filepath.Join(t.TempDir(), "web-shop.json")
	want := example(t)
	if err := want.Save(path); err != nil {
		t.Fatal(err)
	}
	got, err := contract.Load(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got, alike); diff != "" {
		t.Errorf("(-saved +loaded)\n%s", diff)
	}
	if want.Digest() != got.Digest() || len(got.Digest()) != 64 {
		t.Errorf("digests differ: %s and %s", want.Digest(), got.Digest())
	}
	got.Interactions[0].Response.Status = 201
	if want.Digest() == got.Digest() {
		t.Error("another status has the same digest")
	}
	left, err := os.ReadDir(filepath.Dir(path))
	if err != nil || len(left) != 1 {
		t.Errorf("saving leaves %v (%v)", left, err)
	}
}

// TestOurMatchersHideFromOtherTools: they would refuse a matcher they do not
// know.
func TestOurMatchersHideFromOtherTools(t *testing.T) {
	var b bytes.Buffer
	if err := example(t).Write(&b); err != nil {
		t.Fatal(err)
	}
	comments := strings.Index(b.String(), `"strangler"`)
	if at := strings.Index(b.String(), "nullable"); at < comments || comments < 0 {
		t.Errorf("nullable stands at %d, comments.strangler at %d", at, comments)
	}
}

func TestSavingRefusesWhatReadingWouldRefuse(t *testing.T) {
	path := filepath.Join(t.TempDir(), "c.json")
	if err := os.WriteFile(path, []byte("old"), 0o600); err != nil {
		t.Fatal(err)
	}
	err := contract.Contract{}.Save(path)
	var problems contract.Problems
	if !errors.As(err, &problems) {
		t.Fatalf("error %v, want problems", err)
	}
	if data, _ := os.ReadFile(path); string(data) != "old" {
		t.Errorf("the file was touched: %q", data)
	}
}

func TestOlderVersionsAreRead(t *testing.T) {
	v3 := read(t, `{"consumer":{"name":"a"},"provider":{"name":"b"},"metadata":{"pactSpecification":{"version":"3.0.0"}},"interactions":[
		{"description":"d","providerStates":[{"name":"s","params":{"n":1}}],
		 "request":{"method":"get","path":"/x","query":{"q":["1"]},"headers":{"Accept":"text/plain"}},
		 "response":{"status":200,"headers":{"Content-Type":"application/json"},"body":{"a": 1},"matchingRules":{"body":{"$.a":{"matchers":[{"match":"integer"}]}}}}}]}`)
	i := v3.Interactions[0]
	if i.Key == "" || i.Request.Method != "GET" || i.Request.Header["Accept"][0] != "text/plain" || string(i.Response.Body) != `{"a":1}` || i.States[0].Name != "s" || i.Response.Rules.Empty() {
		t.Errorf("version 3 is read as %+v", i)
	}
	v2 := read(t, `{"consumer":{"name":"a"},"provider":{"name":"b"},"metadata":{"pactSpecification":{"version":"2.0.0"}},"interactions":[
		{"description":"d","providerState":"s","request":{"method":"GET","path":"/x","query":"q=1&q=2"},
		 "response":{"status":200,"body":"plain","matchingRules":{"$.body":{"match":"type"}}}},
		{"description":"e","request":{"method":"GET","path":"/y"},"response":{"status":204,"body":null}}]}`)
	i = v2.Interactions[0]
	if diff := cmp.Diff(map[string][]string{"q": {"1", "2"}}, i.Request.Query); diff != "" {
		t.Error(diff)
	}
	if string(i.Response.Body) != "plain" || i.States[0].Name != "s" || i.Response.Rules.Empty() {
		t.Errorf("version 2 is read as %+v", i)
	}
	if body := v2.Interactions[1].Response.Body; body == nil || len(body) != 0 {
		t.Errorf("a null body is read as %q (nil %v), want an empty one", body, body == nil)
	}
	if again := read(t, write(t, v2)); again.Digest() != v2.Digest() {
		t.Error("version 2 does not survive being written as version 4")
	}
}

func write(t *testing.T, c contract.Contract) string {
	t.Helper()
	var b bytes.Buffer
	if err := c.Write(&b); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestOthersCommentsAndRequestRulesAreCarriedAlong(t *testing.T) {
	c := read(t, `{"consumer":{"name":"a"},"provider":{"name":"b"},"metadata":{"pactSpecification":{"version":"4.0"}},"interactions":[
		{"type":"Synchronous/HTTP","key":"k","description":"d","comments":{"text":["by hand"],"testname":"t"},
		 "request":{"method":"POST","path":"/x","body":{"content":{"a":1},"contentType":"application/json","encoded":false},"matchingRules":{"body":{"$.a":{"matchers":[{"match":"type"}]}}}},
		 "response":{"status":200,"generators":{"body":{"$.a":{"type":"Uuid"}}}}}]}`)
	text := write(t, c)
	for _, want := range []string{"by hand", "testname", `"$.a"`, "Uuid"} {
		if !strings.Contains(text, want) {
			t.Errorf("%s is lost:\n%s", want, text)
		}
	}
}

// TestWhatIsNotAboutHTTPCanBeLeftOut: others' files hold messages as well.
func TestWhatIsNotAboutHTTPCanBeLeftOut(t *testing.T) {
	c, left, err := contract.ReadHTTP(strings.NewReader(`{"consumer":{"name":"a"},"provider":{"name":"b"},"metadata":{"pactSpecification":{"version":"4.0"}},"interactions":[
		{"type":"Asynchronous/Messages","key":"m","description":"paid"},
		{"type":"Synchronous/HTTP","key":"h","request":{"method":"GET","path":"/"},"response":{"status":200}},
		{"type":"Synchronous/Messages","key":"s"}]}`))
	if err != nil || left != 2 || len(c.Interactions) != 1 || c.Interactions[0].Key != "h" {
		t.Errorf("left out %d, kept %+v (%v)", left, c.Interactions, err)
	}
}

func TestTheFormsOfEarlierWritersAreRead(t *testing.T) {
	for name, metadata := range map[string]string{
		"pact-ruby":       `{"pactSpecification":{"version":"1.0.0"}}`,
		"early pact-js":   `{"pactSpecificationVersion":"2.0.0"}`,
		"early pact-jvm":  `{"pact-specification":{"version":"3.0.0"},"pact-jvm":{"version":"3.5.0"}}`,
		"nothing at all":  `{}`,
		"a mark in front": `{"pactSpecification":{"version":"2.0.0"}}`,
	} {
		mark := ""
		if name == "a mark in front" {
			mark = "\xef\xbb\xbf"
		}
		c := read(t, mark+`{"consumer":{"name":"a"},"provider":{"name":"b"},"metadata":`+metadata+`,"interactions":[
			{"description":"d","provider_state":"there is one","request":{"method":"post","path":"/x","body":{"a":1}},
			 "response":{"status":200,"headers":{"Content-Type":"application/json"},"body":"{\"b\": 12345678901234567890}"}}]}`)
		i := c.Interactions[0]
		if len(i.States) != 1 || i.States[0].Name != "there is one" || string(i.Response.Body) != `{"b": 12345678901234567890}` || i.Request.Header["Content-Type"][0] != "application/json" {
			t.Errorf("%s: read as %+v", name, i)
		}
	}
	large := read(t, `{"consumer":{"name":"a"},"provider":{"name":"b"},"interactions":[{"description":"d","providerStates":[{"name":"s","params":{"id":12345678901234567890}}],"request":{"method":"GET","path":"/"},"response":{}}]}`)
	if !strings.Contains(write(t, large), "12345678901234567890") {
		t.Error("a large number among the parameters of a state is rounded")
	}
}

func TestBrokenFilesEachGetAClearError(t *testing.T) {
	wrap := func(interactions string) string {
		return `{"consumer":{"name":"a"},"provider":{"name":"b"},"metadata":{"pactSpecification":{"version":"4.0"}},"interactions":[` + interactions + `]}`
	}
	good := `"request":{"method":"GET","path":"/"},"response":{"status":200}`
	for _, c := range []struct{ name, text, want string }{
		{"not JSON", "{\n  oops", "line 2, column 3"},
		{"empty", "", "unexpected end"},
		{"no consumer", `{"provider":{"name":"b"}}`, "consumer.name is missing"},
		{"no provider", `{"consumer":{"name":"b"}}`, "provider.name is missing"},
		{"interactions are no list", `{"interactions":{}}`, "line 1"},
		{"another version", `{"metadata":{"pactSpecification":{"version":"9"}}}`, "accepted: 1 to 4"},
		{"messages", wrap(`{"key":"k","type":"Asynchronous/Messages"}`), "interaction k: type is \"Asynchronous/Messages\" (accepted: Synchronous/HTTP)"},
		{"messages of version 3", `{"consumer":{"name":"a"},"provider":{"name":"b"},"messages":[{"description":"paid"}]}`, "interaction #1 (paid): type is \"message\""},
		{"another transport", wrap(`{"key":"k","transport":"grpc",` + good + `}`), "Synchronous/HTTP over grpc"},
		{"a plugin", wrap(`{"key":"k","pluginConfiguration":{"protobuf":{}},` + good + `}`), "of the plugin protobuf"},
		{"unknown generator", wrap(`{"key":"k","request":{"method":"GET","path":"/","generators":{"path":{"type":"Nonsense"}}},"response":{}}`), `interaction k: request.generators.path: unknown generator "Nonsense" (accepted: RandomInt`},
		{"unknown generator of the answer", wrap(`{"key":"k","request":{"method":"GET","path":"/"},"response":{"generators":{"body":{"a":{}}}}}`), "interaction k: response.generators.body"},
		{"another encoding", "{\n \"consumer\": {\"name\": \"caf\xe9\"}}", "line 2, column 27: the byte 0xe9 is not UTF-8"},
		{"UTF-16", "\xff\xfe{\x00}\x00", "is UTF-16"},
		{"a huge body", wrap(`{"key":"k","request":{"method":"GET","path":"/"},"response":{"body":{"content":"` + strings.Repeat("x", contract.MaxBody+1) + `"}}}`), "interaction k: response.body: 16777217 bytes (accepted: up to 16 MiB)"},
		{"no method", wrap(`{"key":"k","request":{"path":"/"},"response":{"status":200}}`), "interaction k: request.method"},
		{"no path", wrap(`{"key":"k","request":{"method":"GET"},"response":{"status":200}}`), "starts with /"},
		{"status", wrap(`{"key":"k","request":{"method":"GET","path":"/"},"response":{"status":20}}`), "accepted: 100 to 599"},
		{"status of another type", wrap(`{"key":"k","request":{"method":"GET","path":"/"},"response":{"status":"x"}}`), "interaction k: response.status is of type string (accepted: a whole number)"},
		{"a path that would end the head", wrap(`{"key":"k","request":{"method":"GET","path":"/a\r\nX: y"},"response":{}}`), "without control characters"},
		{"a header that would begin another", wrap(`{"key":"k","request":{"method":"GET","path":"/","headers":{"A":["b\r\nC: d"]}},"response":{}}`), `request.headers.A is "b\r\nC: d"`},
		{"a header's name that is none", wrap(`{"key":"k","request":{"method":"GET","path":"/"},"response":{"headers":{"a b":["c"]}}}`), `response.headers: the name "a b"`},
		{"same key", wrap(`{"key":"k",` + good + `},{"key":"k",` + good + `}`), "used twice"},
		{"unknown matcher", wrap(`{"key":"k","request":{"method":"GET","path":"/"},"response":{"matchingRules":{"body":{"$.a":{"matchers":[{"match":"tpye"}]}}}}}`), `interaction k: response.rule $.a: unknown matcher "tpye" (accepted: equality`},
		{"unknown matcher of a request", wrap(`{"key":"k","request":{"method":"GET","path":"/","matchingRules":{"path":{"matchers":[{"match":"tpye"}]}}},"response":{}}`), `interaction k: request.matchingRules.path: unknown matcher "tpye"`},
		{"no interactions", `{"consumer":{"name":"a"},"provider":{"name":"b"}}`, "interactions is missing (accepted: a list, which may be empty)"},
		{"bad regex", wrap(`{"key":"k","request":{"method":"GET","path":"/"},"response":{"matchingRules":{"body":{"$.a":{"matchers":[{"match":"regex","regex":"("}]}}}}}`), "RE2"},
		{"bad encoding", wrap(`{"key":"k","request":{"method":"GET","path":"/"},"response":{"body":{"content":"x","encoded":"rot13"}}}`), "accepted: false, base64, JSON"},
		{"bad base64", wrap(`{"key":"k","request":{"method":"GET","path":"/"},"response":{"body":{"content":"?","encoded":"base64"}}}`), "not base64"},
		{"bad source", wrap(`{"key":"k","comments":{"strangler":{"source":"guessed"}},` + good + `}`), "accepted: recorded, written"},
		{"nameless state", wrap(`{"key":"k","providerStates":[{}],` + good + `}`), "no name"},
		{"no key", wrap(`{"description":"list","request":{"path":"/"},"response":{}}`), "request.method"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := contract.Read(strings.NewReader(c.text))
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error\n%v\nwant %q in it", err, c.want)
			}
		})
	}
}

func TestEveryProblemIsToldAtOnce(t *testing.T) {
	_, err := contract.Read(strings.NewReader(`{"metadata":{"pactSpecification":{"version":"4.0"}},"interactions":[
		{"key":"one","request":{},"response":{"status":1,"matchingRules":{"body":{"$.a":{"matchers":[{"match":"x"}]},"$.b":{"matchers":[{"match":"y"}]}}}}},
		{"key":"two","request":{"method":"GET","path":"x"},"response":{}}]}`))
	var problems contract.Problems
	if !errors.As(err, &problems) || len(problems) != 8 {
		t.Errorf("%d problems, want 8:\n%v", len(problems), err)
	}
}
