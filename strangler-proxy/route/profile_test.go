package route

import (
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

// tableOf compiles routes, or fails.
func tableOf(t testing.TB, profile Profile, ids ...string) *Table {
	t.Helper()
	var routes []Route
	for _, id := range ids {
		r, err := Parse(id)
		if err != nil {
			t.Fatal(err)
		}
		routes = append(routes, r)
	}
	table, problems := Compile(routes, profile)
	if len(problems) > 0 {
		t.Fatalf("%v", problems)
	}
	return table
}

// routed is what becomes of a path: the route it meets, and the two forms in
// which it is sent on, without parameters and with them.
func routed(t testing.TB, table *Table, q Request) (r *Route, path, with string, err error) {
	t.Helper()
	if path, err = Canonical(q.Path); err != nil {
		return nil, "", "", err
	}
	if path, with, err = table.Normal(path); err != nil {
		return nil, "", "", err
	}
	q.Path = path
	if r, err = table.Lookup(q); err != nil {
		return nil, "", "", err
	}
	path, with = table.Spell(r, path, with)
	return r, path, with, nil
}

func TestAPathIsReadAsItsProfileSays(t *testing.T) {
	ids := []string{"GET /Invoices/{id}", "GET /invoices-old/", "GET /orders", "GET /products/{$}", "GET /files/{name}", "GET /files/{dir}/{name}"}
	for _, row := range []struct {
		facet       string
		path        string
		unknown     string // what it is sent on as, "" where it is refused, "-" where it meets no route
		apart, same string
	}{
		{"slash", "/orders/", "", "-", "/orders"},
		{"slash", "/orders", "/orders", "/orders", "/orders"},
		{"slash", "/products", "", "-", "/products/"},
		{"slash", "/Invoices/7/", "", "-", "/Invoices/7"},
		{"slash", "/invoices-old", "", "-", "/invoices-old"},
		{"slash", "/invoices-old/a/", "/invoices-old/a/", "/invoices-old/a/", "/invoices-old/a/"},
		{"case", "/invoices/aB", "", "-", "/Invoices/aB"},
		{"case", "/Invoices/aB", "/Invoices/aB", "/Invoices/aB", "/Invoices/aB"},
		{"case", "/ORDERS", "", "-", "/orders"},
		{"case", "/%4Frders", "", "-", "/orders"},
		{"doubled", "//orders", "", "-", "/orders"},
		{"doubled", "/Invoices//7", "", "-", "/Invoices/7"},
		{"doubled", "/nothing//7", "-", "-", "-"},
		{"doubled", "/files//a", "", "-", "/files/a"},
		{"encoded", "/Invoices%2F7", "", "-", "/Invoices/7"},
		{"encoded", "/files/a%2fb", "", "/files/a%2Fb", "/files/a/b"},
		{"encoded", "/x%2F..%2Forders", "", "-", "/orders"},
		{"parameters", "/orders;id=1", "", "-", "/orders"},
		{"parameters", "/Invoices;a=b/7;c", "", "-", "/Invoices/7"},
		{"parameters", "/Invoices/7;v=2", "/Invoices/7;v=2", "/Invoices/7;v=2", "/Invoices/7"},
		{"parameters", "/orders%3Bid=1", "", "-", ""},
		{"parameters", "/x/..;/orders", "", "-", ""},
		{"parameters", "/;x/orders", "", "-", ""},
	} {
		for reading, want := range []string{Refuse: row.unknown, Distinct: row.apart, Same: row.same} {
			profile := Profile{TrailingSlash: Distinct, Case: Distinct}
			*map[string]*Reading{
				"slash": &profile.TrailingSlash, "case": &profile.Case, "doubled": &profile.DoubleSlash, "encoded": &profile.EncodedSlash, "parameters": &profile.Parameters,
			}[row.facet] = Reading(reading)
			r, path, _, err := routed(t, tableOf(t, profile, ids...), Request{Method: "GET", Path: row.path})
			got := path
			switch {
			case err != nil:
				got = ""
			case r == nil:
				got = "-"
			}
			if got != want {
				t.Errorf("%s of %s is %d: sent on as %q, want %q (%v)", row.facet, row.path, reading, got, want, err)
			}
		}
	}
}

func TestParametersGoToWhoeverTakesThem(t *testing.T) {
	table := tableOf(t, Profile{Parameters: Same, Case: Same, TrailingSlash: Same, DoubleSlash: Same}, "GET /Invoices/{id}")
	for sent, want := range map[string][2]string{
		"/INVOICES;a=1//7;b=2/": {"/Invoices/7", "/Invoices;a=1/7;b=2"},
		"/other;a=1/7;b=2/":     {"/other/7/", "/other;a=1/7;b=2/"},
		"/invoices/7":           {"/Invoices/7", "/Invoices/7"},
	} {
		if _, path, with, err := routed(t, table, Request{Method: "GET", Path: sent}); err != nil || path != want[0] || with != want[1] {
			t.Errorf("%s is sent on as %q and %q, %v; want %q", sent, path, with, err, want)
		}
	}
}

func TestAServiceMustTellApartWhatTheMonolithDoes(t *testing.T) {
	for _, row := range []struct{ monolith, service, want Reading }{
		{Refuse, Same, Refuse}, {Refuse, Distinct, Refuse}, {Distinct, Distinct, Distinct}, {Distinct, Same, Refuse}, {Distinct, Refuse, Refuse},
		{Same, Same, Same}, {Same, Distinct, Same}, {Same, Refuse, Same},
	} {
		all := func(r Reading) Profile { return Profile{r, r, r, r, r} }
		if got := all(row.monolith).Beside(all(row.service)); got != all(row.want) {
			t.Errorf("%d beside %d is %v, want %d", row.monolith, row.service, got, row.want)
		}
	}
}

// dispatch finds the route that an application would take a path for, which
// reads every difference as Same or Distinct.
func dispatch(t testing.TB, routes []*Route, app Profile, path string) *Route {
	t.Helper()
	if app.Parameters == Same {
		path = cutParameters(path)
	}
	if app.EncodedSlash == Same {
		path = decodeSlashes(path)
	}
	if app.DoubleSlash == Same {
		path = mergeSlashes(path)
	}
	path = resolveDots(path)
	ends := []string{path}
	if app.TrailingSlash == Same && path != "/" {
		if ends[0] = bare(path); ends[0] != "/" {
			ends = append(ends, ends[0]+"/")
		}
	}
	var best *Route
	for _, r := range routes {
		declared := *r
		declared.segments = slices.Clone(r.declared)
		for _, one := range ends {
			if app.Case == Same {
				one = strings.ToLower(one)
				for i := range declared.segments {
					declared.segments[i].text = strings.ToLower(declared.segments[i].text)
				}
			}
			if meetsPath(declared.segments, strings.Split(one[1:], "/")) && (best == nil || slices.Compare(rank(&declared), rank(best)) < 0) {
				best = r
			}
		}
	}
	return best
}

// known makes an application of a profile: what the profile does not know may
// be either.
func known(random *rand.Rand, p Profile) Profile {
	for _, facet := range []*Reading{&p.TrailingSlash, &p.Case, &p.DoubleSlash, &p.EncodedSlash, &p.Parameters} {
		if *facet == Refuse {
			*facet = Distinct + Reading(random.IntN(2))
		}
	}
	return p
}

// TestNoSpellingSlipsPastTheOwnerWhateverTheProfile makes up tables, profiles
// and spellings, and applications that read as their profile says: what is
// taken is what the application takes it for.
func TestNoSpellingSlipsPastTheOwnerWhateverTheProfile(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	pick := func(of ...string) string { return of[random.IntN(len(of))] }
	taken, refused, owned := 0, 0, 0
	for range 1500 {
		profile := Profile{Reading(random.IntN(3)), Reading(random.IntN(3)), Reading(random.IntN(3)), Reading(random.IntN(3)), Reading(random.IntN(3))}
		var routes []Route
		for range 1 + random.IntN(5) {
			id := "GET "
			for i := range random.IntN(3) {
				id += "/" + pick("a", "B", "{x}", "b")
				id = strings.Replace(id, "{x}", "{"+string(rune('p'+i))+"}", 1)
			}
			r, err := Parse(id + "/" + pick("a", "b", "{last}", "{rest...}", "", "{$}"))
			if err != nil {
				t.Fatal(err)
			}
			if _, problems := Compile(append(routes[:len(routes):len(routes)], r), profile); len(problems) == 0 {
				routes = append(routes, r)
			}
		}
		table, _ := Compile(routes, profile)
		for range 40 {
			sent := ""
			for range 1 + random.IntN(3) {
				sent += pick("/", "/", "/", "//", "%2F", "/..;y/") + pick("a", "A", "b", "c", "..", "%61") + pick("", "", "", ";x", "%3Bx")
			}
			sent = "/" + strings.TrimPrefix(sent+pick("", "", "/"), "/")
			r, path, with, err := routed(t, table, Request{Method: "GET", Path: sent})
			if err != nil {
				refused++
				continue
			}
			taken++
			app := known(random, profile)
			asked := path
			if profile.Parameters == Same {
				asked = with
			}
			if r != nil {
				owned++
			}
			if got := dispatch(t, table.Routes(), app, asked); got != r && !(got != nil && r != nil && twins(got, r)) {
				t.Fatalf("%s, sent on as %s, meets %v; an application that reads %+v, of the profile %+v, takes it for %v", sent, asked, name(r), app, profile, name(got))
			}
		}
	}
	if taken < 10_000 || refused < 10_000 || owned < 4000 {
		t.Errorf("%d were taken, %d of them met a route, %d were refused", taken, owned, refused)
	}
}

func name(r *Route) string {
	if r == nil {
		return "no route"
	}
	return r.ID
}
