package compare_test

import (
	"fmt"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"stranglerfig/contract-tests/compare"
	"stranglerfig/contract-tests/match"
)

func TestIdentifiersStandForOneAnotherThroughoutASession(t *testing.T) {
	r := rules(t, `{"$.id":{"matchers":[{"match":"id","scope":"invoice"}]}}`)
	session := compare.NewBijection(0)
	o := compare.Options{Mode: compare.Exact, IDs: session}
	for _, c := range []struct {
		name, expected, actual string
		want                   []string
	}{
		{"the first time it is learnt", `{"id":7}`, `{"id":12}`, nil},
		{"afterwards it holds", `{"id":7,"n":1}`, `{"id":12,"n":1}`, nil},
		{"another one for the same", `{"id":7}`, `{"id":13}`, []string{"$.body.id identity"}},
		{"the same one for another", `{"id":8}`, `{"id":12}`, []string{"$.body.id identity"}},
		{"what differs otherwise teaches nothing", `{"id":9,"n":1}`, `{"id":14,"n":2}`, []string{"$.body.n value"}},
		{"so that this is learnt now", `{"id":9}`, `{"id":15}`, nil},
		{"equal bytes teach, too", `{"id":20}`, `{"id":20}`, nil},
		{"and hold", `{"id":20}`, `{"id":21}`, []string{"$.body.id identity"}},
	} {
		found := compare.Responses(answer(c.expected), answer(c.actual), r, o)
		if diff := cmp.Diff(c.want, brief(found)); diff != "" {
			t.Errorf("%s: (-want +got)\n%s%v", c.name, diff, found)
		}
	}
	if got, ok := session.Actual("invoice", "7"); !ok || got != "12" {
		t.Errorf("7 is %q there", got)
	}
	if got, ok := session.Expected("invoice", "15"); !ok || got != "9" {
		t.Errorf("15 is %q here", got)
	}
	if _, ok := session.Actual("customer", "7"); ok || session.Len() != 3 {
		t.Errorf("%d pairs are known, among them a customer's: %v", session.Len(), ok)
	}
}

func TestIdentifiersAreLearntFromTheOrderThatFits(t *testing.T) {
	r := rules(t, `{"$.l":{"matchers":[{"match":"unordered"}]},"$.l[*].id":{"matchers":[{"match":"id"}]}}`)
	session := compare.NewBijection(0)
	o := compare.Options{Mode: compare.Exact, IDs: session}
	if found := compare.Responses(answer(`{"l":[{"id":1,"n":"a"},{"id":2,"n":"b"}]}`), answer(`{"l":[{"id":9,"n":"b"},{"id":8,"n":"a"}]}`), r, o); found != nil {
		t.Fatal(found)
	}
	if one, _ := session.Actual("", "1"); one != "8" || session.Len() != 2 {
		t.Errorf("1 is %q there, and %d pairs are known", one, session.Len())
	}
	found := compare.Responses(answer(`{"l":[{"id":1,"n":"a"}]}`), answer(`{"l":[{"id":9,"n":"a"}]}`), r, o)
	if len(found) != 2 {
		t.Errorf("1 stands for 9 as well: %v", found)
	}
}

// TestAMappingKeepsAsManyPairsAsItMay, counts the others, and holds nobody to
// what it does not know.
func TestAMappingKeepsAsManyPairsAsItMay(t *testing.T) {
	b := compare.NewBijection(2)
	for i := range 5 {
		if !b.Pair("", fmt.Sprint(i), fmt.Sprint(100+i)) {
			t.Errorf("%d is refused", i)
		}
	}
	if b.Len() != 2 || b.Dropped() != 3 {
		t.Errorf("%d kept, %d dropped", b.Len(), b.Dropped())
	}
	if b.Pair("", "0", "7") || !b.Pair("", "0", "100") || !b.Pair("", "4", "7") {
		t.Error("a full mapping forgot what it knows, or knows what it dropped")
	}
}

// TestGoroutinesShareOneMapping: of two that contradict each other at the same
// moment, exactly one is heard.
func TestGoroutinesShareOneMapping(t *testing.T) {
	r := match.Rules{}.WithBody(path(t, "$.id"), match.Matcher{Kind: match.ID})
	session := compare.NewBijection(0)
	contradicted := make([]int, 8)
	var group sync.WaitGroup
	for g := range contradicted {
		group.Go(func() {
			for i := range 50 {
				expected, actual := answer(fmt.Sprintf(`{"id":%d}`, i)), answer(fmt.Sprintf(`{"id":%d}`, 1000+10*i+g%2))
				if compare.Responses(expected, actual, r, compare.Options{Mode: compare.Exact, IDs: session}) != nil {
					contradicted[g]++
				}
			}
		})
	}
	group.Wait()
	even, odd := 0, 0
	for g, n := range contradicted {
		if g%2 == 0 {
			even += n
		} else {
			odd += n
		}
	}
	if session.Len() != 50 || even+odd != 50*4 {
		t.Errorf("%d pairs; %d and %d of 200 each are contradicted, together not 200", session.Len(), even, odd)
	}
}

func TestARecentMappingForgetsWhatItLearntFirst(t *testing.T) {
	b := compare.NewRecent(2)
	for n := range 5 {
		for range 2 {
			if !b.Pair("", fmt.Sprint(n), fmt.Sprint(10+n)) {
				t.Errorf("%d is not learnt", n)
			}
		}
	}
	_, old := b.Actual("", "2")
	here, _ := b.Expected("", "14")
	if old || here != "4" || b.Len() != 2 || b.Dropped() != 3 {
		t.Errorf("2 is known: %v; 14 stands for %q; %d pairs, %d forgotten", old, here, b.Len(), b.Dropped())
	}
	if b.Pair("", "9", "13") || !b.Pair("", "0", "12") {
		t.Error("what is kept no longer holds, or what was forgotten still does")
	}
}

func TestOnlyKnownIdentifiersMayDifferWhereNothingIsToBeLearnt(t *testing.T) {
	r := rules(t, `{"$.id":{"matchers":[{"match":"id"}]}}`)
	session := compare.NewBijection(0)
	known := compare.Options{Mode: compare.Exact, IDs: session, Known: true}
	if found := compare.Responses(answer(`{"id":7}`), answer(`{"id":12}`), r, known); len(found) != 1 || found[0].Kind != compare.Identity || session.Len() != 0 {
		t.Errorf("%v, %d pairs are known", found, session.Len())
	}
	session.Pair("", "7", "12")
	if found := compare.Responses(answer(`{"id":7}`), answer(`{"id":12}`), r, known); found != nil {
		t.Error(found)
	}
	if found := compare.Responses(answer(`{"id":8}`), answer(`{"id":12}`), r, known); len(found) != 1 {
		t.Errorf("12 is another one's: %v", found)
	}
}
