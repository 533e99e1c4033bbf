package route_test

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"stranglerfig/strangler-proxy/route"
)

// compile builds a table of routes by their IDs; all belong to the service.
// apart is the profile of applications that tell everything apart that is spelled
// differently in routes.
var apart = route.Profile{TrailingSlash: route.Distinct, Case: route.Distinct}

func compile(t testing.TB, profile route.Profile, ids ...string) *route.Table {
	t.Helper()
	table, problems := route.Compile(declaredAll(t, ids), profile)
	if len(problems) > 0 {
		t.Fatalf("%q: %+v", ids, problems)
	}
	return table
}

func declaredAll(t testing.TB, ids []string) []route.Route {
	t.Helper()
	var all []route.Route
	for i, id := range ids {
		r := declared(t, id, "service")
		r.Line = i + 1
		all = append(all, r)
	}
	return all
}

// meets says what becomes of a request as it was sent: the ID of its route,
// "" for none, or "refused".
func meets(table *route.Table, method, host, sent string) string {
	path, err := route.Canonical(sent)
	if err != nil {
		return "refused"
	}
	r, err := table.Lookup(route.Request{Method: method, Host: host, Path: path})
	switch {
	case err != nil:
		return "refused"
	case r == nil:
		return ""
	}
	return r.ID
}

func TestOwnershipCannotBeBypassedBySpelling(t *testing.T) {
	const owned = "GET /invoices/{id}"
	spellings := []string{
		"/%69nvoices/7", "/invoices%2F7", "/invoices%2f7", "//invoices/7", "/invoices//7", "///invoices///7", "/invoices;x=1/7",
		"/invoices;/7", "/invoices%3Bx=1/7", "/a/../invoices/7", "/a/%2e%2e/invoices/7", "/a/%2E./invoices/7", "/./invoices/7",
		"/../invoices/7", "/invoices/../invoices/7", "/a%2F..%2Finvoices%2F7", "/a/..;/invoices/7", "/a/..;x=1/invoices/7",
		"/a/..%3B/invoices/7", "/%2Finvoices/7", "/%2F/invoices%2F7", `/invoices\7`, "/invoices%5C7", "/invoices%00/7", "/%69%6e%76oices;y%2F%37",
		"//a/../invoices/7", "/invoices;a%2Fb/7", "/invoices/;%2F/7", "/;x/invoices/7", "/.;/invoices/7", "/a{/..%2Finvoices%2F7",
	}
	for name, others := range map[string][]string{
		"alone":                          nil,
		"beside a route of everything":   {"GET /{rest...}"},
		"beside wide routes":             {"GET /{any}", "GET /{a}/{b}/{rest...}", "GET /{$}", "POST /invoices/{id}"},
		"beside the route of its parent": {"GET /invoices", "GET /invoices/"},
	} {
		table := compile(t, route.Profile{}, append([]string{owned}, others...)...)
		if got := meets(table, "GET", "shop", "/invoices/7"); got != owned {
			t.Fatalf("%s: /invoices/7 meets %q", name, got)
		}
		for _, sent := range spellings {
			if got := meets(table, "GET", "shop", sent); got != owned && got != "refused" {
				t.Errorf("%s: %s slips past its owner: it meets %q", name, sent, got)
			}
		}
	}
}

func TestAdmittingEscapedSlashesOpensNoOtherWayPast(t *testing.T) {
	routes := declaredAll(t, []string{"GET /files/{name}", "GET /files/{dir}/{name}", "GET /invoices/{id}"})
	routes[0].EncodedSlash, routes[2].EncodedSlash = true, true
	table, problems := route.Compile(routes, route.Profile{})
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	for sent, want := range map[string]string{
		"/files/a%2Fb":      "GET /files/{name}",
		"/files/a%2fb":      "GET /files/{name}",
		"/files/a%2Fb/c":    "refused",
		"/invoices/7%2F8":   "GET /invoices/{id}",
		"/invoices%2F7":     "refused",
		"/invoices;x=1/7":   "refused",
		"//invoices/7":      "refused",
		"/other/a%2Fb":      "",
		"/other;x=1//a/b":   "",
		"/files;x=1/a%2Fb":  "refused",
		"/files/a%2Fb;x=/c": "refused",
	} {
		if got := meets(table, "GET", "", sent); got != want {
			t.Errorf("%s meets %q, want %q", sent, got, want)
		}
	}
}

func TestHarmlessPathsAreNotRefused(t *testing.T) {
	table := compile(t, route.Profile{}, "GET /invoices/{id}", "GET /files/{path...}", "GET /")
	for sent, want := range map[string]string{
		"/invoices/7;v=2":         "GET /invoices/{id}",
		"/invoices/a%3Bb":         "GET /invoices/{id}",
		"/files/a//b":             "GET /files/{path...}",
		"/files/a;b/c":            "GET /files/{path...}",
		"/assets//app.js":         "GET /",
		"/search;page=2":          "GET /",
		"/invoices/caf%C3%A9":     "GET /invoices/{id}",
		"/invoices/100%25":        "GET /invoices/{id}",
		"/nothing/%7Bdeclared%7D": "GET /",
	} {
		if got := meets(table, "GET", "", sent); got != want {
			t.Errorf("%s meets %q, want %q", sent, got, want)
		}
	}
}

func TestTheNarrowestRouteWins(t *testing.T) {
	table := compile(t, apart,
		"/", "GET /invoices", "/invoices/", "GET /invoices/{id}", "GET /invoices/new", "POST /invoices/{id}", "GET /invoices/{id}/page",
		"GET /{$}", "GET /files/{path...}", "HEAD /files/{path...}", "/docs/", "/docs/{$}", "GET admin.shop/invoices/{id}", "GET admin.shop/")
	for _, row := range []struct{ method, host, path, want string }{
		{"GET", "shop", "/", "GET /{$}"},
		{"POST", "shop", "/", "/"},
		{"GET", "shop", "/invoices", "GET /invoices"},
		{"HEAD", "shop", "/invoices", "GET /invoices"},
		{"PUT", "shop", "/invoices", "/"},
		{"GET", "shop", "/invoices/", "/invoices/"},
		{"GET", "shop", "/invoices/7", "GET /invoices/{id}"},
		{"GET", "shop", "/invoices/new", "GET /invoices/new"},
		{"POST", "shop", "/invoices/new", "POST /invoices/{id}"},
		{"DELETE", "shop", "/invoices/7", "/invoices/"},
		{"GET", "shop", "/invoices/7/page", "GET /invoices/{id}/page"},
		{"GET", "shop", "/invoices/new/page", "GET /invoices/{id}/page"},
		{"GET", "shop", "/invoices/7/else", "/invoices/"},
		{"GET", "shop", "/docs/", "/docs/{$}"},
		{"GET", "shop", "/docs/a", "/docs/"},
		{"GET", "shop", "/files/", "GET /files/{path...}"},
		{"GET", "shop", "/files/a/b", "GET /files/{path...}"},
		{"HEAD", "shop", "/files/a/b", "HEAD /files/{path...}"},
		{"GET", "shop", "/INVOICES", "/"},
		{"GET", "admin.shop", "/invoices/7", "GET admin.shop/invoices/{id}"},
		{"GET", "ADMIN.shop:8080", "/invoices/7", "GET admin.shop/invoices/{id}"},
		{"GET", "admin.shop.", "/other", "GET admin.shop/"},
		{"POST", "admin.shop", "/other", "/"},
		{"GET", "[::1]:80", "/invoices/7", "GET /invoices/{id}"},
	} {
		if got := meets(table, row.method, row.host, row.path); got != row.want {
			t.Errorf("%s %s%s meets %q, want %q", row.method, row.host, row.path, got, row.want)
		}
	}
}

func TestWithoutARouteOfEverythingOtherPathsMeetNone(t *testing.T) {
	table := compile(t, route.Profile{}, "GET /invoices/{id}")
	for _, path := range []string{"/", "/invoices", "/invoices/", "/invoices/7/page", "/products"} {
		if got := meets(table, "GET", "", path); got != "" {
			t.Errorf("%s meets %q", path, got)
		}
	}
	if got := meets(table, "POST", "", "/invoices/7"); got != "" {
		t.Errorf("POST meets %q", got)
	}
}

func TestAProfileWidensRoutesToWhatTheBackendsTakeForTheSame(t *testing.T) {
	same := route.Profile{TrailingSlash: route.Same, Case: route.Same}
	table := compile(t, same, "GET /Invoices/{id}", "GET /files/", "GET /products/{$}", "GET /{$}", "GET /caf%C3%A9")
	for path, want := range map[string]string{
		"/invoices/7":     "GET /Invoices/{id}",
		"/INVOICES/7/":    "GET /Invoices/{id}",
		"/files":          "GET /files/",
		"/files/":         "GET /files/",
		"/Files/a/b/":     "GET /files/",
		"/products":       "GET /products/{$}",
		"/products/":      "GET /products/{$}",
		"/":               "GET /{$}",
		"/CAF%c3%a9":      "GET /caf%C3%A9",
		"/invoices%2F7":   "refused",
		"/INVOICES;x=1/7": "refused",
		"/other":          "",
	} {
		if got := meets(table, "GET", "", path); got != want {
			t.Errorf("%s meets %q, want %q", path, got, want)
		}
	}
	narrow := compile(t, same, "GET /{any...}", "GET /files/", "GET /files")
	for path, want := range map[string]string{"/files": "GET /files", "/files/": "GET /files", "/files/a": "GET /files/", "/x/": "GET /{any...}"} {
		if got := meets(narrow, "GET", "", path); got != want {
			t.Errorf("%s meets %q, want %q", path, got, want)
		}
	}
}

func TestRoutesThatAProfileMakesTheSameConflict(t *testing.T) {
	for _, ids := range [][]string{{"GET /invoices", "GET /Invoices"}, {"GET /invoices", "GET /invoices/{$}"}, {"GET /A/{id}", "GET /a/{name}"}} {
		if _, problems := route.Compile(declaredAll(t, ids), apart); len(problems) > 0 {
			t.Errorf("%q, all distinct: %+v", ids, problems)
		}
		if _, problems := route.Compile(declaredAll(t, ids), route.Profile{Case: route.Same, TrailingSlash: route.Same}); len(problems) != 1 {
			t.Errorf("%q, the same to the backends: %+v; want one problem", ids, problems)
		}
	}
}

func TestEveryConflictIsNamedWithBothLines(t *testing.T) {
	ids := []string{"GET /a", "GET /a", "/b/{x}", "GET /{y}/c", "GET /b/c", "POST /p/{x}/q", "POST /p/q/{y}"}
	_, problems := route.Compile(declaredAll(t, ids), route.Profile{})
	var got []string
	for _, p := range problems {
		got = append(got, fmt.Sprintf("%d: %s", p.Line, p.Text))
		if p.Hint == "" {
			t.Errorf("%q comes without a hint", p.Text)
		}
	}
	want := []string{
		`2: route "GET /a" conflicts with "GET /a" (line 1): some requests meet both and neither is narrower`,
		`4: route "GET /{y}/c" conflicts with "/b/{x}" (line 3): some requests meet both and neither is narrower`,
		`7: route "POST /p/q/{y}" conflicts with "POST /p/{x}/q" (line 6): some requests meet both and neither is narrower`,
	}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func TestWrongDeclarationsAreRefusedInAWayThatHelps(t *testing.T) {
	for id, want := range map[string]string{
		"get /a":          "written in capitals",
		"GET":             "METHOD /path",
		"GET a":           "METHOD /path",
		"":                "METHOD /path",
		"GET /{}":         "is not a wildcard",
		"GET /{...}":      "is not a wildcard",
		"GET /{a.b}":      "is not a wildcard",
		"GET /{a:[0-9]+}": "is not a wildcard",
		"GET /{a*}":       "is not a wildcard",
		"GET /a{b}":       "a wildcard is a whole segment",
		"GET /{a}b":       "a wildcard is a whole segment",
		"GET /{a}/{a}":    "appears twice",
		"GET /{a...}/b":   "must be the last segment",
		"GET /{$}/b":      "is not a wildcard",
		"GET /a%2":        "broken escape",
		`GET /a\b`:        "not allowed",
		"GET /a/../b":     "dot segment",
		"GET /a/%2e/b":    "dot segment",
		"GET //a":         "empty segment",
		"GET /a//b":       "empty segment",
		"GET /a b":        "is not a predicate",
		"G@T /a":          "not a method",
		"GET POST /a":     "METHOD /path",
		"GET shop /a":     "METHOD /path",
		"GET {host}/a":    "is not a host",
		"GET shop:8080/a": "is not a host",
	} {
		if r, err := route.Parse(id); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Parse(%q) = %+v, %v; want an error that says %q", id, r, err, want)
		}
	}
}

func TestTheMethodSaysWhetherARouteWrites(t *testing.T) {
	for id, want := range map[string]bool{"GET /a": false, "HEAD /a": false, "OPTIONS /a": false, "POST /a": true, "DELETE /a": true, "PROPFIND /a": true, "/a": true} {
		if r := declared(t, id, "monolith"); r.Writes != want {
			t.Errorf("%s writes: %v", id, r.Writes)
		}
	}
	if r := declared(t, "  GET   /a ", "monolith"); r.ID != "GET /a" {
		t.Errorf("the ID is %q", r.ID)
	}
}

// pattern makes up a pattern of few words, so that many meet.
func pattern(random *rand.Rand) string {
	var b strings.Builder
	b.WriteString([]string{"", "", "GET ", "GET ", "HEAD ", "POST "}[random.IntN(6)])
	b.WriteString([]string{"", "", "", "a.example", "b.example"}[random.IntN(5)])
	for i := range 1 + random.IntN(3) {
		b.WriteString([]string{"/a", "/b", fmt.Sprintf("/{p%d}", i), fmt.Sprintf("/{p%d}", i)}[random.IntN(4)])
	}
	b.WriteString([]string{"", "", "", "/", "/{rest...}", "/{$}"}[random.IntN(6)])
	return b.String()
}

// named is a handler that can be told from the redirects of a ServeMux.
type named string

func (named) ServeHTTP(http.ResponseWriter, *http.Request) {}

// conflicts reports whether a ServeMux refuses a set of patterns.
func conflicts(patterns []string) (refused bool) {
	defer func() { refused = recover() != nil }()
	mux := http.NewServeMux()
	for _, p := range patterns {
		mux.Handle(p, named(p))
	}
	return false
}

func TestConflictsAreThoseOfServeMux(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	refused := 0
	for range 20_000 {
		patterns := []string{pattern(random), pattern(random)}
		want := conflicts(patterns)
		_, problems := route.Compile(declaredAll(t, patterns), route.Profile{})
		if got := len(problems) > 0; got != want {
			t.Fatalf("%q: a conflict here: %v, for a ServeMux: %v", patterns, got, want)
		}
		if want {
			refused++
		}
	}
	if refused < 1000 {
		t.Fatalf("only %d pairs were in conflict, which tests little", refused)
	}
}

func TestPrecedenceIsThatOfServeMux(t *testing.T) {
	random := rand.New(rand.NewPCG(5, 6))
	compared := 0
	for range 3000 {
		var patterns []string
		for range 1 + random.IntN(8) {
			if more := append(patterns[:len(patterns):len(patterns)], pattern(random)); !conflicts(more) {
				patterns = more
			}
		}
		mux := http.NewServeMux()
		for _, p := range patterns {
			mux.Handle(p, named(p))
		}
		table := compile(t, apart, patterns...)
		for range 30 {
			method := []string{"GET", "HEAD", "POST", "PUT"}[random.IntN(4)]
			host := []string{"a.example", "b.example:80", "c.example"}[random.IntN(3)]
			path := ""
			for range random.IntN(4) {
				path += []string{"/a", "/b", "/c"}[random.IntN(3)]
			}
			if path == "" || random.IntN(3) == 0 {
				path += "/"
			}
			r := httptest.NewRequest(method, "http://"+host+path, nil)
			handler, _ := mux.Handler(r)
			want := ""
			if ours, ok := handler.(named); ok {
				want = string(ours)
			} else if isRedirect(handler, r) {
				continue // to the path with a slash; the proxy leaves that to the owner
			}
			compared++
			if got := meets(table, method, host, path); got != want {
				t.Fatalf("%s %s%s meets %q, with a ServeMux %q; patterns: %q", method, host, path, got, want, patterns)
			}
		}
	}
	if compared < 30_000 {
		t.Fatalf("only %d requests were compared", compared)
	}
}

func isRedirect(h http.Handler, r *http.Request) bool {
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w.Code/100 == 3
}

func TestLookingUpCostsNoAllocationWithTenThousandRoutes(t *testing.T) {
	table := large(t)
	for _, path := range []string{"/service-77/items/{id}", "/service-9999/items/12345", "/service-1234/items", "/nothing/here"} {
		path := strings.ReplaceAll(path, "{id}", "42")
		if n := testing.AllocsPerRun(100, func() {
			canonical, err := route.Canonical(path)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := table.Lookup(route.Request{Method: "GET", Host: "shop.example:8080", Path: canonical}); err != nil {
				t.Fatal(err)
			}
		}); n != 0 {
			t.Errorf("%s: %v allocations", path, n)
		}
	}
}

func BenchmarkLookupAmongTenThousandRoutes(b *testing.B) {
	table := large(b)
	b.ReportAllocs()
	for b.Loop() {
		path, err := route.Canonical("/service-7777/items/12345")
		if err != nil {
			b.Fatal(err)
		}
		if r, err := table.Lookup(route.Request{Method: "GET", Host: "shop.example", Path: path}); r == nil || err != nil {
			b.Fatal(r, err)
		}
	}
}

func large(t testing.TB) *route.Table {
	t.Helper()
	var ids []string
	for i := range 5000 {
		ids = append(ids, fmt.Sprintf("GET /service-%d/items/{id}", 2*i+1), fmt.Sprintf("GET /service-%d/items", 2*i))
	}
	return compile(t, route.Profile{}, ids...)
}
