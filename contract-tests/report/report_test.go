package report_test

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/html"

	"stranglerfig/contract-tests/contract"
	"stranglerfig/contract-tests/report"
	"stranglerfig/contract-tests/verify"
)

const planted = `</td><script src="https://evil.example/x.js">alert(1)</script><img src=x onerror=alert(2)>`

// serving answers every path with a body, or is down.
func serving(t *testing.T, name string, bodies map[string]string) verify.Target {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("X-Planted", planted)
		io.WriteString(w, bodies[r.URL.Path])
	}))
	t.Cleanup(server.Close)
	return verify.Target{Name: name, BaseURL: server.URL}
}

// aRun verifies interactions of every verdict, with markup wherever a contract
// or a side may have some.
func aRun(t *testing.T) report.Run {
	t.Helper()
	quoted, err := json.Marshal(planted)
	if err != nil {
		t.Fatal(err)
	}
	i := func(method, path, body string) contract.Interaction {
		return contract.Interaction{Key: method + path, Description: "of " + path + planted, Route: method + " " + path, Weight: 3,
			Request:  contract.Request{Method: method, Path: path},
			Response: contract.Response{Status: 200, Header: map[string][]string{"Content-Type": {"application/json"}}, Body: []byte(body)}}
	}
	pending := i("GET", "/pending", `{"a":1}`)
	pending.Pending = true
	c := contract.Contract{Consumer: "web" + planted, Provider: "shop", Interactions: []contract.Interaction{
		i("GET", "/good", `{"a":1}`), i("GET", "/bug", `{"a":1,"same":true,"text":`+string(quoted)+`}`), i("GET", "/wrong", `{"a":1}`),
		i("GET", "/stale", `{"a":1}`), i("GET", "/differs", `{}`), i("POST", "/post", `{}`), pending}}
	r, err := verify.Run(t.Context(), verify.Options{Contract: c, Targets: []verify.Target{
		serving(t, "monolith", map[string]string{"/good": `{"a":1}`, "/bug": `{"a":1,"same":true,"text":` + string(quoted) + `}`, "/differs": `{"x":1}`}),
		serving(t, "service", map[string]string{"/good": `{"a":1}`, "/bug": `{"a":2,"same":true}`, "/wrong": `{"a":1}`, "/differs": `{"x":2}`}),
	}})
	if err != nil {
		t.Fatal(err)
	}
	return report.Run{At: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), Capability: "books", Contract: "books.pact.json", Report: r}
}

// TestThePageIsWholeInItselfAndRunsNothing parses it as a browser does.
func TestThePageIsWholeInItselfAndRunsNothing(t *testing.T) {
	var b bytes.Buffer
	if err := report.HTML(&b, aRun(t)); err != nil {
		t.Fatal(err)
	}
	root, err := html.Parse(bytes.NewReader(b.Bytes()))
	if err != nil {
		t.Fatal(err)
	}
	text, elements := "", 0
	for n := range root.Descendants() {
		if n.Type == html.TextNode {
			text += n.Data
			continue
		}
		elements++
		switch n.Data {
		case "script", "img", "link", "iframe", "object", "embed", "base", "form", "a":
			t.Errorf("the page has an element %s: %v", n.Data, n.Attr)
		}
		for _, a := range n.Attr {
			if strings.HasPrefix(a.Key, "on") || a.Key == "src" || a.Key == "href" || strings.Contains(a.Val, "://") {
				t.Errorf("the page has %s=%q on %s", a.Key, a.Val, n.Data)
			}
		}
	}
	if strings.Contains(b.String(), "url(") || strings.Contains(b.String(), "@import") {
		t.Error("the style loads something")
	}
	if elements < 100 || !strings.Contains(text, planted) {
		t.Errorf("%d elements, and what was planted is shown as text: %v", elements, strings.Contains(text, planted))
	}
	for _, want := range []string{"service-bug", "contract-wrong", "stale", "differs", "not-exercised", "pending", "$.body.a", "web"} {
		if !strings.Contains(text, want) {
			t.Errorf("the page does not show %q", want)
		}
	}
}

// TestWhatCountsIsTheLineThatIsRed reads the side-by-side tables.
func TestWhatCountsIsTheLineThatIsRed(t *testing.T) {
	var b bytes.Buffer
	if err := report.HTML(&b, aRun(t)); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		`<tr><td class="wrong"><div class="long">  &#34;a&#34;: 1</div></td><td class=""><div class="long"></div></td></tr>`, // against a body that is not there
		`<tr><td class=""><div class="long">  &#34;same&#34;: true</div></td><td class=""><div class="long">  &#34;same&#34;: true</div></td></tr>`,
		`<tr><td class="wrong"><div class="long">  &#34;a&#34;: 1</div></td><td class="wrong"><div class="long">  &#34;a&#34;: 2</div></td></tr>`,
		`<tr><td class="wrong"><div class="long">  &#34;x&#34;: 1</div></td><td class="wrong"><div class="long">  &#34;x&#34;: 2</div></td></tr>`,
	} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("the page lacks\n%s", want)
		}
	}
}

func TestJUnitCountsAsTheReportDoes(t *testing.T) {
	r := aRun(t)
	var b bytes.Buffer
	if err := report.JUnit(&b, r); err != nil {
		t.Fatal(err)
	}
	var got struct {
		Suite struct {
			Tests    int `xml:"tests,attr"`
			Failures int `xml:"failures,attr"`
			Errors   int `xml:"errors,attr"`
			Skipped  int `xml:"skipped,attr"`
			Cases    []struct {
				Class   string `xml:"classname,attr"`
				Failure *struct {
					Type string `xml:"type,attr"`
					Text string `xml:",chardata"`
				} `xml:"failure"`
			} `xml:"testcase"`
		} `xml:"testsuite"`
	}
	if err := xml.Unmarshal(b.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	s := got.Suite
	if s.Tests != 7 || s.Failures != r.Report.Failed || s.Errors != r.Report.Unreachable || s.Skipped != r.Report.Pending+r.Report.NotExercised || s.Failures != 4 {
		t.Errorf("%+v, of the report %+v", s, r.Report)
	}
	if bug := s.Cases[1]; bug.Class != "GET /bug" || bug.Failure.Type != "service-bug" || !strings.Contains(bug.Failure.Text, "$.body.a") {
		t.Errorf("%+v", bug)
	}
}

func TestStoredRunsReadBackAndTheOldestGo(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "runs")
	r := aRun(t)
	var last string
	for n := range 23 {
		r.At = r.At.Add(time.Second)
		r.Filed = fmt.Sprint(n)
		path, err := report.Save(dir, r)
		if err != nil {
			t.Fatal(err)
		}
		last = path
	}
	other := r
	other.Capability = "books-too"
	if _, err := report.Save(dir, other); err != nil {
		t.Fatal(err)
	}
	paths, err := report.List(dir, "books")
	if err != nil || len(paths) != 20 || paths[19] != last {
		t.Fatalf("%d runs, the last %v (%v)", len(paths), paths, err)
	}
	back, err := report.Load(last)
	if err != nil || back.Filed != "22" || back.Report.Interactions[1].Results[1].Answer.Body != `{"a":2,"same":true}` || back.Report.Interactions[0].Example != nil {
		t.Errorf("%+v (%v)", back, err)
	}
	if info, err := os.Stat(last); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v (%v)", info.Mode(), err)
	}
	bad := filepath.Join(dir, "bad.json")
	for _, text := range []string{"{", "{}"} {
		if err := os.WriteFile(bad, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := report.Load(bad); err == nil {
			t.Errorf("%q is read", text)
		}
	}
	if paths, err := report.List(filepath.Join(dir, "nowhere"), "books"); err != nil || len(paths) != 0 {
		t.Errorf("%v (%v)", paths, err)
	}
}
