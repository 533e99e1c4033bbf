package route

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
)

// oneByOne returns the same table without what finds routes by their values.
func (t *Table) oneByOne() *Table {
	made := *t
	made.routes = append([]Route(nil), t.routes...)
	for i := range made.routes {
		made.routes[i].fan = 0
	}
	return &made
}

// askedValues are what made-up routes ask for, and what made-up requests have.
var askedValues = []string{"1", "2", "3", "a", "b", "A", "a%26b", "%C3%A4", "50%25", "x;y", `x`, strings.Repeat("v", longestFiled), strings.Repeat("v", longestFiled+1)}

// crowd makes up routes of one path that ask for values, until there are enough
// that do not conflict.
func crowd(t *testing.T, random *rand.Rand) *Table {
	t.Helper()
	pick := func(of ...string) string { return of[random.IntN(len(of))] }
	var routes []Route
	var table *Table
	for range 60 {
		id := pick("", "GET ", "GET ", "GET ", "HEAD ", "POST ") + pick("/a", "/a", "/a", "/{any}", "/{rest...}")
		for _, name := range []string{"header:X-Version", "cookie:beta", "query:kind"} {
			switch random.IntN(4) {
			case 0:
				id += " " + name
			case 1, 2:
				id += " " + name + "=" + pick(askedValues...)
			}
		}
		r, err := Parse(id)
		if err != nil {
			continue // a cookie has no semicolon, a field no escape
		}
		if more, problems := Compile(append(routes[:len(routes):len(routes)], r), Profile{TrailingSlash: Distinct, Case: Distinct}); len(problems) == 0 {
			routes, table = append(routes, r), more
		}
	}
	return table
}

// muddled makes up a request that servers may read differently.
func muddled(random *rand.Rand) Request {
	pick := func(of ...string) string { return of[random.IntN(len(of))] }
	value := func() string {
		return pick(pick(askedValues...), pick(askedValues...), "", "%31", "%zz", " 1", "unheard of")
	}
	q := Request{Method: pick("GET", "GET", "HEAD", "POST"), Path: "/a"}
	if random.IntN(2) == 0 { // nothing is muddled
		q.Query = "page=2&kind=" + pick(askedValues...)
		q.Header = pairs{{"X-Version", pick(askedValues...)}, {"Cookie", "other=1; beta=" + pick(askedValues...)}}
		return q
	}
	var query []string
	for range random.IntN(4) {
		query = append(query, pick("kind", "kind", "kind", "KIND", "k%69nd", "kind[]", "+kind", "page")+pick("=", "=", "=", "")+value())
	}
	q.Query = strings.Join(query, pick("&", "&", "&", ";"))
	var fields pairs
	for range random.IntN(3) {
		fields = append(fields, [2]string{pick("X-Version", "x-version", "X_Version", "Accept"), pick("", " ") + value()})
	}
	for range random.IntN(3) {
		var cookies []string
		for range random.IntN(4) {
			cookies = append(cookies, pick("beta=", "beta=", "beta = ", "Beta=", "beta", "other=")+pick(value(), `"`+value()+`"`))
		}
		fields = append(fields, [2]string{"Cookie", strings.Join(cookies, pick("; ", ";", ", "))})
	}
	if len(fields) > 0 || random.IntN(2) == 0 {
		q.Header = fields
	}
	return q
}

// TestARouteIsFoundByItsValueAsItIsOneByOne whatever a request has several times
// or in a spelling that servers read differently.
func TestARouteIsFoundByItsValueAsItIsOneByOne(t *testing.T) {
	random := rand.New(rand.NewPCG(9, 10))
	outcomes := map[string]int{}
	for range 150 {
		table := crowd(t, random)
		if len(table.fanned) == 0 {
			continue
		}
		plain := table.oneByOne()
		for range 300 {
			q := muddled(random)
			got, gotErr := table.Lookup(q)
			want, wantErr := plain.Lookup(q)
			if fmt.Sprint(gotErr) != fmt.Sprint(wantErr) || (got == nil) != (want == nil) || got != nil && got.ID != want.ID {
				t.Fatalf("%+v meets %v, %v; one by one %v, %v", q, got, gotErr, want, wantErr)
			}
			switch {
			case gotErr != nil:
				outcomes["refused"]++
			case got != nil && values(got.predicates) > 0:
				outcomes["by a value"]++
			default:
				outcomes["otherwise"]++
			}
		}
	}
	for _, outcome := range []string{"refused", "by a value", "otherwise"} {
		if outcomes[outcome] < 1000 {
			t.Errorf("only %v", outcomes)
		}
	}
}

// TestMoreCandidatesThanAreLookedAtAtOnceAreAllLookedAt in their order: of many
// routes that ask for the same value only the last one is met.
func TestMoreCandidatesThanAreLookedAtAtOnceAreAllLookedAt(t *testing.T) {
	var routes []Route
	for i := range 100 {
		r, err := Parse(fmt.Sprintf("/a query:kind=1 cookie:beta=%02d", i))
		if err != nil {
			t.Fatal(err)
		}
		routes = append(routes, r)
	}
	table, problems := Compile(routes, Profile{})
	if len(problems) > 0 || len(table.fanned) != 1 {
		t.Fatal(problems, len(table.fanned))
	}
	f := &table.fanned[0]
	f.names, f.plain = nil, none // file all of them under the one value they share
	for at := len(f.routes) - 1; at >= 0; at-- {
		f.file(int32(at), &predicate{of: query, name: "kind", value: "1"})
	}
	for _, i := range []int{0, 31, 32, 33, 64, 99} {
		r, err := table.Lookup(Request{Method: "GET", Path: "/a", Query: "kind=1", Header: pairs{{"Cookie", fmt.Sprintf("beta=%02d", i)}}})
		if err != nil || r.ID != routes[i].ID {
			t.Errorf("%d: %v, %v", i, r, err)
		}
	}
	if r, err := table.Lookup(Request{Method: "GET", Path: "/a", Query: "kind=1", Header: pairs{{"Cookie", "beta=no"}}}); r != nil || err != nil {
		t.Errorf("%v, %v", r, err)
	}
}

func TestFindingARouteByItsValueAllocatesNothing(t *testing.T) {
	var routes []Route
	for i := range 1000 {
		r, err := Parse(fmt.Sprintf("GET /a query:kind=value%d", i))
		if err != nil {
			t.Fatal(err)
		}
		routes = append(routes, r)
	}
	table, problems := Compile(routes, Profile{})
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	for _, sent := range []string{"page=2&kind=value999", "page=2&kind=%76alue999"} {
		q := Request{Method: "GET", Path: "/a", Query: sent}
		if n := testing.AllocsPerRun(100, func() {
			if r, err := table.Lookup(q); err != nil || r.ID != "GET /a query:kind=value999" {
				t.Fatal(r, err)
			}
		}); n > 0 {
			t.Errorf("%s: %v allocations", sent, n)
		}
	}
}
