package har_test

import (
	"bytes"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"testing/quick"

	"github.com/google/go-cmp/cmp"

	"stranglerfig/contract-tests/contract"
	"stranglerfig/contract-tests/har"
)

func everything(*http.Request) (string, []string, bool) { return "", nil, true }

func entries(list ...string) string {
	return `{"log":{"version":"1.2","creator":{"name":"WebInspector","version":"537.36"},"entries":[` + strings.Join(list, ",") + `]}}`
}

const saved = `{"startedDateTime":"2026-03-01T10:00:00.123+01:00","time":12.5,
	"request":{"method":"POST","url":"https://shop.example/cart/a%2Fb?x=1&x=2","httpVersion":"h2",
		"headers":[{"name":":method","value":"POST"},{"name":"accept","value":"application/json"},{"name":"content-length","value":"3"}],
		"queryString":[{"name":"x","value":"1"}],"postData":{"mimeType":"application/x-www-form-urlencoded","params":[{"name":"a b","value":"ü"},{"name":"c","value":""}]}},
	"response":{"status":200,"statusText":"","headers":[{"name":"Content-Encoding","value":"br"},{"name":"X-A","value":"1"},{"name":"x-a","value":"2"}],
		"content":{"size":5,"mimeType":"application/octet-stream","text":"/wAB\nAg==","encoding":"base64"}},"cache":{},"timings":{}}`

func TestWhatBrowsersSaveBecomesTraffic(t *testing.T) {
	got, err := har.Read(strings.NewReader("\xef\xbb\xbf"+entries(saved)), everything)
	if err != nil || len(got.Exchanges) != 1 {
		t.Fatalf("%+v (%v)", got, err)
	}
	x := got.Exchanges[0]
	if x.Request.Method != "POST" || x.Request.Path != "/cart/a%2Fb" || x.Request.Query != "x=1&x=2" || string(x.Request.Body) != "a+b=%C3%BC&c=" {
		t.Errorf("request %+v", x.Request)
	}
	if diff := cmp.Diff(map[string][]string{"Accept": {"application/json"}, "Content-Type": {"application/x-www-form-urlencoded"}}, x.Request.Header); diff != "" {
		t.Error(diff)
	}
	if !bytes.Equal(x.Response.Body, []byte{0xff, 0, 1, 2}) || len(x.Response.Header["X-A"]) != 2 || x.Response.Header["Content-Encoding"] != nil {
		t.Errorf("response %+v", x.Response)
	}
	if x.At.IsZero() {
		t.Error("no time")
	}
}

func TestWhatIsLeftOutIsCounted(t *testing.T) {
	entry := func(url, response string) string {
		return `{"request":{"method":"GET","url":"` + url + `"},"response":` + response + `}`
	}
	got, err := har.Read(strings.NewReader(entries(
		entry("https://shop.example/a", `{"status":200,"content":{"text":"x"}}`),
		entry("https://cdn.example/a", `{"status":200,"content":{"text":"x"}}`),
		entry("data:text/plain,x", `{"status":200,"content":{}}`),
		entry("wss://shop.example/live", `{"status":101,"content":{}}`),
		entry("https://shop.example/blocked", `{"status":0,"content":{}}`),
		entry("https://shop.example/big", `{"status":200,"content":{"size":7}}`),
		entry("https://shop.example/empty", `{"status":204,"content":{"size":0}}`),
		`{"request":{"method":"POST","url":"https://shop.example/up","postData":{"mimeType":"multipart/form-data","params":[{"name":"f","fileName":"a.png"}]}},"response":{"status":200,"content":{"text":""}}}`,
	)), func(r *http.Request) (string, []string, bool) { return "GET /{x}", nil, r.Host == "shop.example" })
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]int{har.Unwanted: 1, har.NotHTTP: 2, har.NoAnswer: 1, har.BodyUnkept: 2}
	if diff := cmp.Diff(want, got.Left); diff != "" || len(got.Exchanges) != 2 || got.Exchanges[0].Route != "GET /{x}" {
		t.Errorf("%d kept, (-want +got)\n%s", len(got.Exchanges), diff)
	}
}

func TestBrokenFilesTellEveryPlace(t *testing.T) {
	bad := func(response string) string {
		return `{"request":{"method":"GET","url":"http://x/"},"response":{"status":200,"content":` + response + `}}`
	}
	for text, want := range map[string][]string{
		"{": {"unexpected end"}, "{}": {"has no log"}, `{"log":{"entries":{}}}`: {"line 1, column 19: log.entries is of type object (accepted: a list)"},
		"{\"log\":\"\xff\"}": {"not UTF-8"},
		entries(bad(`{"text":"?","encoding":"base64"}`), saved, bad(`{"text":"x","encoding":"zip"}`), `{"request":{"url":"http://[x"},"response":{}}`, `7`): {
			"log.entries[0]: response.content: text is not base64", "log.entries[2]: response.content: encoding is \"zip\" (accepted: base64", "log.entries[3]: request.url", "log.entries[4]: no entry"},
		entries(bad(`{"text":"` + strings.Repeat("x", contract.MaxBody+1) + `"}`)): {"log.entries[0]: response.content: 16777217 bytes (accepted: up to 16 MiB)"},
	} {
		got, err := har.Read(strings.NewReader(text), everything)
		if err == nil || len(got.Exchanges) != 0 {
			t.Errorf("%.80s is read as %+v", text, got)
			continue
		}
		for _, w := range want {
			if !strings.Contains(err.Error(), w) {
				t.Errorf("%.80s: error %v, want %q in it", text, err, w)
			}
		}
	}
}

// TestAContractSurvivesAsAnArchive writes random examples and reads them back.
func TestAContractSurvivesAsAnArchive(t *testing.T) {
	property := func(segments []string, query map[string][]string, field string, sent, answered []byte, status uint8) bool {
		var path strings.Builder
		for _, s := range segments {
			if s != "" && s != "." && s != ".." {
				path.WriteString("/" + url.PathEscape(s))
			}
		}
		if path.Len() == 0 {
			path.WriteString("/")
		}
		for name, values := range query {
			if len(values) == 0 {
				delete(query, name)
			}
		}
		i := contract.Interaction{Description: "d",
			Request: contract.Request{Method: "POST", Path: path.String(), Query: query, Body: sent,
				Header: map[string][]string{"Accept": {field, "b"}, "Content-Type": {"text/plain"}}},
			Response: contract.Response{Status: 200 + int(status)%300, Header: map[string][]string{"X-A": {field}}, Body: answered}}
		var b bytes.Buffer
		if err := har.Write(&b, contract.Contract{Consumer: "c", Provider: "p", Interactions: []contract.Interaction{i}}, "http://shop.example/"); err != nil {
			t.Error(err)
			return false
		}
		got, err := har.Read(&b, everything)
		if err != nil || len(got.Exchanges) != 1 {
			t.Errorf("%v: %+v", err, got)
			return false
		}
		x := got.Exchanges[0]
		back, err := url.ParseQuery(x.Request.Query)
		ok := err == nil && x.Request.Method == "POST" && x.Request.Path == i.Request.Path && fmt.Sprint(back) == fmt.Sprint(url.Values(query)) &&
			cmp.Equal(x.Request.Header, i.Request.Header) && bytes.Equal(x.Request.Body, sent) &&
			x.Response.Status == i.Response.Status && cmp.Equal(x.Response.Header, i.Response.Header) && bytes.Equal(x.Response.Body, answered)
		if !ok {
			t.Logf("%+v\n%+v", i, x)
		}
		return ok
	}
	if err := quick.Check(property, &quick.Config{MaxCount: 100}); err != nil {
		t.Error(err)
	}
}
