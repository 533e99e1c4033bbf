package contract_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"stranglerfig/contract-tests/contract"
)

func TestMergingAddsWhatIsNewAndListsWhatConflicts(t *testing.T) {
	json := map[string][]string{"Content-Type": {"application/json"}}
	i := func(key, path string, status int, body string) contract.Interaction {
		return contract.Interaction{Key: key, Description: "of " + key, Request: contract.Request{Method: "GET", Path: path},
			Response: contract.Response{Status: status, Header: json, Body: []byte(body)}}
	}
	of := func(all ...contract.Interaction) contract.Contract {
		return contract.Contract{Consumer: "web", Provider: "shop", Interactions: all}
	}
	stateful := i("s", "/a", 404, "{}")
	stateful.States = []contract.State{{Name: "there is none"}}
	renamed := i("other name", "/a", 200, `{"x": 1}`)
	renamed.Weight, renamed.Source = 7, contract.Recorded
	old := of(i("a", "/a", 200, `{"x":1}`), i("b", "/b", 200, `{}`), i("c", "/c", 200, `{}`))
	other := of(renamed, stateful, i("b2", "/b", 200, `{"y":1}`), i("b3", "/c", 404, `{}`), i("a", "/z", 200, "{}"))

	_, got := contract.Merge(old, other, contract.Neither)
	want := contract.Merged{Added: 1, Same: 1, Conflicts: []contract.Conflict{
		{Old: "b", New: "b2", Text: "GET /b is answered differently"},
		{Old: "c", New: "b3", Text: "GET /c is answered 200 in one and 404 in the other"},
		{Old: "a", New: "a", Text: "the key stands for GET /a (of a) in one and for GET /z (of a) in the other"},
	}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Fatalf("(-want +got)\n%s", diff)
	}
	if text := got.Conflicts[0].String() + got.Conflicts[2].String(); !strings.Contains(text, "interactions b and b2: ") || !strings.Contains(text, "interaction a: ") {
		t.Error(text)
	}
	kept, m := contract.Merge(old, other, contract.Old)
	if m.Kept != 3 || len(kept.Interactions) != 4 || string(kept.Interactions[1].Response.Body) != "{}" || len(old.Interactions) != 3 {
		t.Errorf("%+v: %+v", m, kept)
	}
	replaced, m := contract.Merge(old, other, contract.New)
	if m.Replaced != 3 || replaced.Interactions[1].Key != "b" || string(replaced.Interactions[1].Response.Body) != `{"y":1}` || replaced.Interactions[0].Request.Path != "/z" {
		t.Errorf("%+v: %+v", m, replaced)
	}
	for name, result := range map[string]contract.Contract{"old": kept, "new": replaced} {
		if err := result.Validate(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestMergingAContractWithItselfChangesNothing(t *testing.T) {
	c := example(t)
	again, m := contract.Merge(c, c, contract.Neither)
	if m.Same != len(c.Interactions) || again.Digest() != c.Digest() {
		t.Errorf("%+v", m)
	}
}
