package route

import (
	"math/rand/v2"
	"strings"
	"testing"
)

// pairwise is the plain way of finding which routes conflict.
func pairwise(routes []*Route) (pairs []string) {
	for i, r := range routes {
		for _, other := range routes[:i] {
			if clash(r, other) {
				pairs = append(pairs, r.ID+" and "+other.ID)
			}
		}
	}
	return pairs
}

func TestTheTreeFindsTheSameConflictsAsHoldingEveryPairAgainstEachOther(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	pick := func(of ...string) string { return of[random.IntN(len(of))] }
	some := 0
	for round := range 3000 {
		var routes []Route
		for range 1 + random.IntN(8) {
			id := pick("", "GET ", "HEAD ", "POST ") + pick("", "", "shop.example")
			for range random.IntN(3) {
				id += "/" + pick("a", "b", "{x}")
			}
			id += "/" + pick("", "a", "b", "{last}", "{rest...}", "{$}")
			id = strings.Replace(id, "{x}", "{y}", 1)
			if r, err := Parse(id); err == nil {
				r.Line = len(routes) + 1
				routes = append(routes, r)
			}
		}
		for _, profile := range []Profile{{}, {TrailingSlash: Same}} {
			all := make([]*Route, len(routes))
			for i := range routes {
				r := routes[i]
				r.segments = profile.segments(r.segments)
				all[i] = &r
			}
			want := pairwise(all)
			_, problems := Compile(routes, profile)
			if len(problems) != len(want) {
				t.Fatalf("round %d: %d conflicts, want %d: %v\n%v", round, len(problems), len(want), want, problems)
			}
			some += len(want)
			for i, pair := range want {
				one, other, _ := strings.Cut(pair, " and ")
				if !strings.HasPrefix(problems[i].Text, `route "`+one+`" conflicts with "`+other+`"`) {
					t.Fatalf("round %d: %s, want %s", round, problems[i].Text, pair)
				}
			}
		}
	}
	if some < 100 {
		t.Errorf("only %d conflicts in all rounds", some)
	}
}
