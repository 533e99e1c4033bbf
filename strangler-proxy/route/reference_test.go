package route

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

// plainly is the plain way of finding a request's route: look at all of them and
// keep the narrowest.
func plainly(routes []*Route, q Request, met map[string]string) *Route {
	var best *Route
	for _, r := range routes {
		if (r.host == "" || r.host == q.Host) && takes(r.method, q.Method) && meetsPath(r.segments, strings.Split(q.Path[1:], "/")) && meetsAll(r, met) {
			if best == nil || slices.Compare(rank(r), rank(best)) < 0 {
				best = r
			}
		}
	}
	return best
}

func meetsPath(segments []segment, path []string) bool {
	for i, s := range segments {
		switch {
		case s.kind == rest:
			return len(path) > i
		case i == len(path), s.kind == literal && path[i] != s.text, s.kind == single && path[i] == "":
			return false
		}
	}
	return len(segments) == len(path)
}

func meetsAll(r *Route, met map[string]string) bool {
	for _, p := range r.predicates {
		if value, there := met[p.String()]; !there || p.equal && value != p.value {
			return false
		}
	}
	return true
}

// rank is a route's place in the order of precedence: host, path, method,
// predicates.
func rank(r *Route) []int {
	rank := []int{0}
	if r.host == "" {
		rank[0] = 1
	}
	for _, s := range r.segments {
		rank = append(rank, int(s.kind))
	}
	return append(rank, breadth(r.method), -len(r.predicates), -values(r.predicates))
}

// asking makes up a route that may ask for something.
func asking(random *rand.Rand) string {
	pick := func(of ...string) string { return of[random.IntN(len(of))] }
	id := pick("", "GET ", "GET ", "HEAD ", "POST ") + pick("", "", "", "shop.example")
	for i := range random.IntN(4) {
		id += "/" + pick("a", "b", fmt.Sprintf("{x%d}", i))
	}
	id += "/" + pick("", "a", "b", "{last}", "{rest...}", "{$}")
	for _, name := range []string{"header:X-Version", "cookie:beta", "query:kind"} {
		id += pick("", " "+name, " "+name+"=1", " "+name+"=2")
	}
	return id
}

// sent makes up a request and says what it has of what routes ask for.
func sent(random *rand.Rand) (Request, map[string]string) {
	pick := func(of ...string) string { return of[random.IntN(len(of))] }
	q := Request{Method: pick("GET", "HEAD", "POST", "PUT"), Host: pick("shop.example", "other.example")}
	for range 1 + random.IntN(4) {
		q.Path += "/" + pick("a", "a", "b", "c")
	}
	if random.IntN(3) == 0 {
		q.Path = q.Path[:strings.LastIndexByte(q.Path, '/')+1]
	}
	met := map[string]string{}
	for _, name := range []string{"header:x-version", "cookie:beta", "query:kind"} {
		if value := pick("", "1", "2", "3"); value != "" {
			met[name] = value
		}
	}
	fields := pairs{{"Accept", "*/*"}}
	if v, ok := met["header:x-version"]; ok {
		fields = append(fields, [2]string{pick("X-Version", "x-version"), v})
	}
	if v, ok := met["cookie:beta"]; ok {
		fields = append(fields, [2]string{"Cookie", "session=7; beta=" + v})
	}
	q.Query = "page=3"
	if v, ok := met["query:kind"]; ok {
		q.Query += pick("&kind=", "&%6Bind=") + v
	}
	q.Header = fields
	return q, met
}

func TestLookingUpFindsWhatLookingAtEveryRouteFinds(t *testing.T) {
	random := rand.New(rand.NewPCG(7, 8))
	found := map[bool]int{}
	for range 1500 {
		var routes []Route
		var table *Table
		for range 2 + random.IntN(14) {
			r, err := Parse(asking(random))
			if err != nil {
				t.Fatal(err)
			}
			if more, problems := Compile(append(routes[:len(routes):len(routes)], r), Profile{TrailingSlash: Distinct, Case: Distinct}); len(problems) == 0 {
				routes, table = append(routes, r), more
			}
		}
		for range 60 {
			q, met := sent(random)
			got, err := table.Lookup(q)
			want := plainly(table.Routes(), q, met)
			if err != nil || got != want {
				var ids []string
				for _, r := range routes {
					ids = append(ids, r.ID)
				}
				t.Fatalf("%+v meets %v, %v; want %v among %q", q, got, err, want, ids)
			}
			found[got != nil && len(got.predicates) > 0]++
		}
	}
	if found[true] < 5000 || found[false] < 10_000 {
		t.Errorf("only %v", found)
	}
}

// TestPredicatesConflictWhereARequestMeetsBothAndNeitherIsNarrower holds the
// rule against the requests themselves: there are few kinds of them.
func TestPredicatesConflictWhereARequestMeetsBothAndNeitherIsNarrower(t *testing.T) {
	var sets []Route
	names := []string{"header:X-Version", "cookie:beta", "query:kind"}
	forms := []string{"", "+", "=1", "=2"}
	for i := range 64 {
		id := "GET /a"
		for n, name := range names {
			switch form := forms[i>>(2*n)&3]; form {
			case "":
			case "+":
				id += " " + name
			default:
				id += " " + name + form
			}
		}
		r, err := Parse(id)
		if err != nil {
			t.Fatal(err)
		}
		sets = append(sets, r)
	}
	meeting := func(r *Route) (requests uint64) {
		for i := range 64 {
			met := map[string]string{}
			for n, name := range names {
				if value := i >> (2 * n) & 3; value > 0 {
					met[strings.ToLower(name)] = fmt.Sprint(value)
				}
			}
			if meetsAll(r, met) {
				requests |= 1 << i
			}
		}
		return requests
	}
	conflicts := 0
	for i := range sets {
		for j := range sets {
			a, b := meeting(&sets[i]), meeting(&sets[j])
			aInB, bInA := a&^b == 0, b&^a == 0
			want := a&b != 0 && len(sets[i].predicates) == len(sets[j].predicates) && aInB == bInA
			_, problems := Compile([]Route{sets[i], sets[j]}, Profile{})
			if got := len(problems) > 0; got != want {
				t.Errorf("%q and %q conflict: %v, want %v", sets[i].ID, sets[j].ID, got, want)
			}
			if want && i != j {
				conflicts++
			}
		}
	}
	if conflicts < 50 {
		t.Errorf("only %d conflicts", conflicts)
	}
}
