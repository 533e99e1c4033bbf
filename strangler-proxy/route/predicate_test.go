package route_test

import (
	"strings"
	"testing"

	"stranglerfig/strangler-proxy/route"
)

// lines are a request's fields, "Name: value".
type lines []string

func (l lines) Fields() int { return len(l) }

func (l lines) Field(i int) (name, value string) {
	name, value, _ = strings.Cut(l[i], ": ")
	return name, value
}

// askedFor says what becomes of a request for /invoices with a query and fields.
func askedFor(t *testing.T, table *route.Table, query string, fields ...string) string {
	t.Helper()
	r, err := table.Lookup(route.Request{Method: "GET", Host: "shop", Path: "/invoices", Query: query, Header: lines(fields)})
	switch {
	case err != nil:
		return "refused"
	case r == nil:
		return ""
	}
	return strings.TrimPrefix(strings.TrimPrefix(r.ID, "GET /invoices"), " ")
}

func TestARouteMayAskForFieldsCookiesAndParameters(t *testing.T) {
	table := compile(t, route.Profile{}, "GET /invoices", "GET /invoices header:X-Version", "GET /invoices header:x-version=2", "GET /invoices header:X-Version=2 cookie:beta query:kind=a%26b",
		"GET /invoices cookie:beta=on query:kind=ä", "GET /{any}", "POST /invoices query:kind")
	for _, row := range []struct {
		want, query string
		fields      lines
	}{
		{"", "", nil},
		{"", "kind=a", lines{"Accept: x", "Cookie: other=beta; betar=1"}},
		{"header:X-Version", "", lines{"x-VERSION: 1"}},
		{"header:x-version=2", "", lines{"x-VERSION:  2 "}},
		{"header:x-version=2", "kind=x", lines{"X-Version: 2", "Cookie: beta=off"}},
		{"header:X-Version=2 cookie:beta query:kind=a%26b", "kind=a%26b&page=2", lines{"X-Version: 2", "Cookie: beta=off"}},
		{"cookie:beta=on query:kind=ä", "x=1&%6bind=%C3%a4", lines{"Cookie: a=b; beta=on"}},
		{"", "kind=%C3%A4", lines{"Cookie: beta=oN"}},
	} {
		if got := askedFor(t, table, row.query, row.fields...); got != row.want {
			t.Errorf("?%s %q meets %q, want %q", row.query, row.fields, got, row.want)
		}
	}
}

// TestWhatServersReadDifferentlyCannotSlipPastAPredicate: the service owns what
// asks, the monolith the rest. Whatever some server could read as asked for is
// the service's or refused.
func TestWhatServersReadDifferentlyCannotSlipPastAPredicate(t *testing.T) {
	for _, row := range []struct {
		asks, query string
		fields      lines
		want        string
	}{
		// several of a name
		{"query:kind=a", "kind=a&kind=b", nil, "refused"},
		{"query:kind=a", "kind=b&kind=a", nil, "refused"},
		{"query:kind=a", "kind=a&kind=a", nil, "refused"},
		{"query:kind=a", "kind=b&kind=c", nil, ""},
		{"query:kind", "kind=b&kind=c", nil, "query:kind"},
		{"header:X-Version=2", "", lines{"X-Version: 2", "x-version: 1"}, "refused"},
		{"header:X-Version=2", "", lines{"X-Version: 1", "x-version: 3"}, ""},
		{"header:X-Version=2", "", lines{"X-Version: 2, 1"}, ""},
		{"header:X-Version", "", lines{"X-Version: 2", "x-version: 1"}, "header:X-Version"},
		{"cookie:beta=1", "", lines{"Cookie: beta=1; beta=2"}, "refused"},
		{"cookie:beta=1", "", lines{"Cookie: beta=2", "Cookie: beta=1"}, "refused"},
		{"cookie:beta", "", lines{"Cookie: beta=1; beta=2"}, "cookie:beta"},
		// other separators
		{"query:kind=a", "x=1;kind=a", nil, "refused"},
		{"query:kind=a", "kind=a;x=1", nil, "refused"},
		{"query:kind=a", "kind=b;x=1", nil, ""},
		{"query:kind", "x=1;kind", nil, "refused"},
		{"query:kind", "y;x=1", nil, ""},
		{"cookie:beta=1", "", lines{"Cookie: x=1, beta=1"}, "refused"},
		{"cookie:beta=1", "", lines{`Cookie: x="; beta=1; y="`}, "refused"},
		{"cookie:beta", "", lines{`Cookie: x=","`}, ""},
		// other spellings
		{"query:kind=a", "%6Bin%64=%61", nil, "query:kind=a"},
		{"query:kind=a", "KIND=a", nil, "refused"},
		{"query:kind=a", "KIND=b", nil, ""},
		{"query:kind=a", "kind[]=a", nil, "refused"},
		{"query:kind", "kind%5B0]=a", nil, "refused"},
		{"query:kind=a", "%20+kind=a", nil, "refused"},
		{"query:kind=a", "kind%00x=a", nil, "refused"},
		{"query:the_kind=a", "the.kind=a", nil, "refused"},
		{"query:the_kind=a", "the%20kind=a", nil, "refused"},
		{"query:the_kind", "the[kind=a", nil, "refused"},
		{"query:the_kind=a", "the-kind=a", nil, ""},
		{"query:kind", "kinds=a&kin=b", nil, ""},
		{"query:kind", "kind=%zz", nil, "refused"},
		{"query:kind=a", "kind=%zz", nil, ""},
		{"query:kind=a", "other=%zz", nil, ""},
		{"query:kind", "kind", nil, "query:kind"},
		{"header:X-Version=2", "", lines{"X_Version: 2"}, "refused"},
		{"header:X-Version", "", lines{"X_VERSION: 2"}, "refused"},
		{"header:X-Version", "", lines{": 2"}, ""},
		{"cookie:beta=1", "", lines{`Cookie: beta="1"`}, "refused"},
		{"cookie:beta=1", "", lines{"Cookie: beta=%31"}, "refused"},
		{"cookie:beta=1", "", lines{"Cookie: Beta=1"}, "refused"},
		{"cookie:beta=1", "", lines{"Cookie: beta =1"}, "refused"},
		{"cookie:beta=1", "", lines{"Cookie: beta= 1"}, "refused"},
		{"cookie:beta", "", lines{"Cookie: beta"}, "refused"},
		{"cookie:beta=1", "", lines{"Cookie: beta=10"}, ""},
		// one that is not met settles it
		{"header:X-Version=2 query:kind=a", "kind=a&kind=b", lines{"X-Version: 1"}, ""},
	} {
		table := compile(t, route.Profile{}, "GET /invoices", "GET /invoices "+row.asks)
		if got := askedFor(t, table, row.query, row.fields...); got != row.want {
			t.Errorf("%s: ?%s %q meets %q, want %q", row.asks, row.query, row.fields, got, row.want)
		}
	}
}

func TestWithoutPredicatesNothingOfARequestIsRefusedForThem(t *testing.T) {
	table := compile(t, route.Profile{}, "GET /invoices", "GET /orders query:kind=a")
	if got := askedFor(t, table, "kind=a&kind=b;kind", "X_Version: 1", "Cookie: a;a=1,a"); got != "" {
		t.Errorf("it meets %q", got)
	}
	if compile(t, route.Profile{}, "GET /invoices").Asks() || !table.Asks() {
		t.Error("a table does not know whether it asks")
	}
}

func TestAskingAllocatesNothing(t *testing.T) {
	table := compile(t, route.Profile{}, "GET /invoices", "GET /invoices header:X-Version=2 cookie:beta query:kind=a")
	q := route.Request{Method: "GET", Host: "shop", Path: "/invoices", Query: "page=2&k%69nd=a", Header: lines{"Accept: */*", "X-Version: 2", "Cookie: session=1; beta=on"}}
	if n := testing.AllocsPerRun(100, func() {
		if r, err := table.Lookup(q); err != nil || r.ID == "GET /invoices" {
			t.Fatal(r, err)
		}
	}); n > 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestANarrowerPathWinsWhateverPredicatesAsk(t *testing.T) {
	table := compile(t, route.Profile{}, "GET /{any} header:X-Version", "GET /invoices cookie:beta", "GET /{any}")
	for want, fields := range map[string]lines{
		"cookie:beta":                 {"X-Version: 2", "Cookie: beta=1"},
		"GET /{any} header:X-Version": {"X-Version: 2"},
		"GET /{any}":                  {"Accept: */*"},
	} {
		if got := askedFor(t, table, "", fields...); got != want {
			t.Errorf("%q meets %q, want %q", fields, got, want)
		}
	}
}

func TestWrongPredicatesAreRefusedInAWayThatHelps(t *testing.T) {
	for id, want := range map[string]string{
		"GET /a header":                     "accepted are header:NAME",
		"GET /a header:":                    "accepted are header:NAME",
		"GET /a body:x=1":                   "accepted are header:NAME",
		`GET /a header:X="a b"`:             "without quotes",
		`GET /a cookie:x=a b`:               "a value has no blanks",
		"GET /a header:X=":                  "without = it asks whether there is one",
		"GET /a header:Host=x":              "the host is written before the path",
		"GET /a header:Cookie=x":            "cookie:NAME",
		"GET /a header:X-Forwarded-For=1":   "the proxy itself writes",
		"GET /a header:X-Real-IP=1":         "the proxy itself writes",
		"GET /a header:X-Strangler-Shadow":  "the proxy itself writes",
		"GET /a header:Proxy":               "the proxy itself writes",
		"GET /a header:Connection=close":    "the proxy itself writes",
		"GET /a header:X_Version=1":         "write the name with -",
		"GET /a header:X=é":                 "visible characters",
		"GET /a header:a/b=1":               "is not a name",
		"GET /a cookie:a=b;c":               "no commas and semicolons",
		"GET /a query:=1":                   "is not a name",
		"GET /a query:a=b+c":                "a blank or a plus",
		"GET /a query:a=b%20c":              "a blank or a plus",
		"GET /a query:a=%2":                 "broken escape",
		"GET /a query:a=%0A":                "visible characters",
		"GET /a query:a=1 query:%61=2":      "asked for twice",
		"GET /a header:X-A header:x-a=1":    "asked for twice",
		"header:X-A GET /a":                 "written in capitals",
		"GET /" + strings.Repeat("a", 8192): "longer than 8192 bytes",
	} {
		if r, err := route.Parse(id); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Parse(%q) = %+v, %v; want an error that says %q", id, r, err, want)
		}
	}
}

func TestTiesOfPredicatesAreConflictsWithAWayOut(t *testing.T) {
	_, problems := route.Compile(declaredAll(t, []string{"GET /a header:X=1", "GET /a cookie:b"}), route.Profile{})
	if len(problems) != 1 || problems[0].Line != 2 || !strings.Contains(problems[0].Text, "(line 1)") || !strings.Contains(problems[0].Hint, "a predicate more") {
		t.Errorf("%+v", problems)
	}
	for _, ids := range [][]string{
		{"GET /a header:X=1", "GET /a header:x=2"},
		{"GET /a header:X=1", "GET /a header:X"},
		{"GET /a header:X=1 cookie:b", "GET /a query:k"},
		{"GET /a/{x} header:X=1", "GET /{y}/b header:X=2"},
	} {
		compile(t, route.Profile{}, ids...)
	}
}

func TestRoutesThatNothingReachesAreShadowed(t *testing.T) {
	for _, row := range []struct {
		profile route.Profile
		ids     []string
		want    string // the route that is shadowed
	}{
		{route.Profile{}, []string{"GET /a/{rest...}", "GET /a/{$}", "GET /a/{x}", "GET /a/{x}/{more...}"}, "GET /a/{rest...}"},
		{route.Profile{}, []string{"GET /a/{rest...} cookie:b", "GET /a/{$}", "GET /a/{x}", "GET /a/{x}/{more...}"}, "GET /a/{rest...} cookie:b"},
		{apart, []string{"GET /a/{rest...}", "GET /a/{$}", "GET /a/{x} cookie:b", "GET /a/{x}/{more...}"}, ""},
		{route.Profile{}, []string{"GET /a/{rest...}", "GET /a/{x}", "GET /a/{x}/{more...}"}, ""},
		{route.Profile{}, []string{"GET /a/{rest...}", "HEAD /a/{$}", "GET /a/{x}", "GET /a/{x}/{more...}"}, ""},
		{route.Profile{TrailingSlash: route.Same}, []string{"GET /a/{rest...}", "GET /a", "GET /a/{x}", "GET /a/{x}/{more...}"}, "GET /a/{rest...}"},
		{route.Profile{}, []string{"GET /files%2Fa"}, "GET /files%2Fa"},
		{route.Profile{}, []string{"GET /a;b", "GET /a"}, "GET /a;b"},
		{route.Profile{}, []string{"/{rest...}", "GET /a/{id}", "GET shop/a/{id}", "/a/{id}/b header:X=1 query:a%3D=%26 cookie:c=d"}, ""},
	} {
		table, conflicts := route.Compile(declaredAll(t, row.ids), row.profile)
		if len(conflicts) > 0 {
			t.Fatalf("%q: %+v", row.ids, conflicts)
		}
		problems := table.Shadowed(func() {})
		switch {
		case row.want == "" && len(problems) > 0, row.want != "" && len(problems) != 1:
			t.Errorf("%q: %+v", row.ids, problems)
		case row.want != "" && (!strings.HasPrefix(problems[0].Text, `route "`+row.want+`" can never be chosen: `) || problems[0].Line != 1):
			t.Errorf("%q: %+v", row.ids, problems)
		}
	}
}
