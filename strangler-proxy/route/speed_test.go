package route_test

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"stranglerfig/strangler-proxy/route"
)

// manyRoutes declares so many routes.
func manyRoutes(t testing.TB, n int) []route.Route {
	t.Helper()
	routes := make([]route.Route, n)
	for i := range routes {
		r, err := route.Parse(fmt.Sprintf("GET /api/v%d/resource%d/{id}/items", i%3, i))
		if err != nil {
			t.Fatal(err)
		}
		routes[i] = r
	}
	return routes
}

// many returns a table of so many routes and paths that meet them in no order.
func many(t testing.TB, n int) (*route.Table, []string) {
	t.Helper()
	table, problems := route.Compile(manyRoutes(t, n), route.Profile{})
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	paths := make([]string, n)
	for i := range paths {
		paths[i] = fmt.Sprintf("/api/v%d/resource%d/%d/items", i%3, i, rand.IntN(1e6))
	}
	rand.Shuffle(n, func(i, j int) { paths[i], paths[j] = paths[j], paths[i] })
	// One after the other in memory: a request's path has just been read, and is in
	// the cache; what it leads to is not.
	all := strings.Join(paths, "")
	for i, at := 0, 0; i < n; i++ {
		paths[i] = all[at : at+len(paths[i])]
		at += len(paths[i])
	}
	return table, paths
}

// decide is what a request costs before anybody is asked.
func decide(t testing.TB, table *route.Table, path string) route.Decision {
	canonical, err := route.Canonical(path)
	if err != nil {
		t.Fatal(err)
	}
	r, err := table.Lookup(route.Request{Method: "GET", Host: "shop.example", Path: canonical})
	if err != nil || r == nil {
		t.Fatalf("%s: %v, %v", path, r, err)
	}
	return route.Decide(r, "GET", route.Client{}, route.Capability{})
}

func TestDecidingAllocatesNothing(t *testing.T) {
	table, paths := many(t, 1000)
	i := 0
	if n := testing.AllocsPerRun(1000, func() { decide(t, table, paths[i%len(paths)]); i++ }); n > 0 {
		t.Errorf("%v allocations", n)
	}
}

func benchmarkDecide(b *testing.B, n int) {
	table, paths := many(b, n)
	i := 0
	for b.Loop() {
		decide(b, table, paths[i%n])
		i++
	}
}

func BenchmarkCompilingTenThousandRoutes(b *testing.B) {
	routes := manyRoutes(b, 10_000)
	for b.Loop() {
		if _, problems := route.Compile(routes, route.Profile{}); len(problems) > 0 {
			b.Fatal(problems)
		}
	}
}

func BenchmarkCompilingTenThousandRoutesByTheirValues(b *testing.B) {
	routes := make([]route.Route, 10_000)
	for i := range routes {
		r, err := route.Parse(fmt.Sprintf("GET /api/items header:X-Tenant=tenant%d", i))
		if err != nil {
			b.Fatal(err)
		}
		routes[i] = r
	}
	for b.Loop() {
		if _, problems := route.Compile(routes, route.Profile{}); len(problems) > 0 {
			b.Fatal(problems)
		}
	}
}

func BenchmarkDecideAmong10kRoutes(b *testing.B)  { benchmarkDecide(b, 10_000) }
func BenchmarkDecideAmong100kRoutes(b *testing.B) { benchmarkDecide(b, 100_000) }

// BenchmarkOneOfAThousandRoutesThatAskForAValue has them on one path.
func BenchmarkOneOfAThousandRoutesThatAskForAValue(b *testing.B) {
	ids := make([]string, 1000)
	for i := range ids {
		ids[i] = fmt.Sprintf("GET /invoices query:kind=value%d", i)
	}
	table, problems := route.Compile(declaredAll(b, ids), route.Profile{})
	if len(problems) > 0 {
		b.Fatal(problems)
	}
	for b.Loop() {
		if r, err := table.Lookup(route.Request{Method: "GET", Path: "/invoices", Query: "page=2&kind=value999"}); err != nil || r.ID != ids[999] {
			b.Fatal(r, err)
		}
	}
}

// BenchmarkARequestThatNamesAThousandValues is the worst that a client can do to
// routes of one path that ask for a value and for something else besides.
func BenchmarkARequestThatNamesAThousandValues(b *testing.B) {
	ids := make([]string, 1000)
	var sent strings.Builder
	for i := range ids {
		ids[i] = fmt.Sprintf("GET /invoices query:kind=value%d cookie:beta", i)
		fmt.Fprintf(&sent, "kind=value%d&", i)
	}
	table, problems := route.Compile(declaredAll(b, ids), route.Profile{})
	if len(problems) > 0 {
		b.Fatal(problems)
	}
	for b.Loop() {
		if r, err := table.Lookup(route.Request{Method: "GET", Path: "/invoices", Query: sent.String()}); err != nil || r != nil {
			b.Fatal(r, err)
		}
	}
}
