package route

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
)

// TestWhoAsksForAnotherValueIsPassedOverAndNoConflictIsMissed for it: of many
// routes of a path two conflict where they do by themselves.
func TestWhoAsksForAnotherValueIsPassedOverAndNoConflictIsMissed(t *testing.T) {
	random := rand.New(rand.NewPCG(11, 12))
	pick := func(of ...string) string { return of[random.IntN(len(of))] }
	outcomes := map[bool]int{}
	for range 2000 {
		var routes []Route
		var ids []string
		for range mostConflicts + 1 {
			id := pick("", "GET ", "GET ", "POST ") + pick("/a/b", "/a/b", "/a/b", "/a/b", "/a/b", "/a/b", "/a/b", "/a/b", "/a/{any}", "/{any}/b", "/{rest...}")
			for _, name := range []string{"cookie:beta", "query:kind"} {
				if random.IntN(8) > 0 {
					id += " " + name + pick("", "=1", "=2", "=3", "=4", "=5", "=6", "=7", "=8", "=9")
				}
			}
			r, err := Parse(id)
			if err != nil {
				t.Fatal(err)
			}
			r.Line = len(routes)
			routes, ids = append(routes, r), append(ids, id)
		}
		want := map[Problem]bool{}
		for i := range routes {
			for j := range i {
				if _, problems := Compile([]Route{routes[j], routes[i]}, Profile{}); len(problems) > 0 {
					want[problems[0]] = true
				}
			}
		}
		table, problems := Compile(routes, Profile{})
		for _, p := range problems {
			if !want[p] {
				t.Fatalf("by themselves they do not conflict: %s", p.Text)
			}
		}
		if len(problems) != len(want) {
			t.Fatalf("%d conflicts found, of %d, of %q", len(problems), len(want), ids)
		}
		if len(want) > 0 || len(table.fanned) > 0 {
			outcomes[len(want) > 0]++
		}
	}
	if outcomes[true] < 100 || outcomes[false] < 100 {
		t.Errorf("there were conflicts or not: %v", outcomes)
	}
}

// TestOfAPatternThatIsDeclaredOftenNotEveryPairIsListed as the pairs of ten
// thousand would take all memory.
func TestOfAPatternThatIsDeclaredOftenNotEveryPairIsListed(t *testing.T) {
	for _, id := range []string{"GET /a", "GET /a query:kind=1", "GET /a query:kind%d=1"} {
		const many = 1000
		var routes []Route
		for i := range many {
			r, err := Parse(strings.ReplaceAll(id, "%d", fmt.Sprint(i)))
			if err != nil {
				t.Fatal(err)
			}
			r.Line = i
			routes = append(routes, r)
		}
		_, problems := Compile(routes, Profile{})
		if len(problems) < many-1 || len(problems) > many*mostConflicts {
			t.Errorf("%s: %d conflicts of %d routes are listed", id, len(problems), many)
		}
		if last := problems[len(problems)-1]; last.Line != many-1 {
			t.Errorf("%s: none of the last one", id)
		}
	}
}
