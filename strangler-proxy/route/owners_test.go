package route_test

import (
	"testing"

	"stranglerfig/migrations/change"
	"stranglerfig/strangler-proxy/route"
)

func TestATableWithOtherOwnersAnswersAlikeAndLeavesTheOtherAlone(t *testing.T) {
	wanted, problems := route.Compile(declaredAll(t, []string{"GET /a/{id}", "POST /a", "GET /b/{rest...}"}), route.Profile{})
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	declared := wanted.Routes()[0].Owner
	owners := map[string]route.Owner{
		"GET /a/{id}": {Stage: route.Monolith, Share: 100}, "POST /a": {Stage: route.Shadow, Share: 10}, "GET /b/{rest...}": {Stage: route.Canary, Share: 5},
	}
	obeyed := wanted.WithOwners(func(id string) route.Owner { return owners[id] })
	for _, row := range []struct{ method, path, id string }{
		{"GET", "/a/1", "GET /a/{id}"}, {"POST", "/a", "POST /a"}, {"GET", "/b/1/2", "GET /b/{rest...}"}, {"GET", "/c", ""},
	} {
		q := route.Request{Method: row.method, Path: row.path}
		before, err := wanted.Lookup(q)
		if err != nil {
			t.Fatal(err)
		}
		now, err := obeyed.Lookup(q)
		if err != nil {
			t.Fatal(err)
		}
		if row.id == "" {
			if before != nil || now != nil {
				t.Errorf("%s %s: found %v and %v", row.method, row.path, before, now)
			}
			continue
		}
		if now.ID != row.id || before.ID != row.id || now.Place() != before.Place() || obeyed.Routes()[now.Place()] != now {
			t.Errorf("%s %s: %s at %d, and %s at %d", row.method, row.path, before.ID, before.Place(), now.ID, now.Place())
		}
		if now.Owner != owners[row.id] || before.Owner != declared {
			t.Errorf("%s: owned by %v, and in the other table by %v", row.id, now.Owner, before.Owner)
		}
	}
	if again := obeyed.WithOwners(func(id string) route.Owner { return owners[id] }); again != obeyed {
		t.Error("a table was copied although its owners are the same")
	}
	read, _ := obeyed.Lookup(route.Request{Method: "GET", Path: "/a/1"})
	d := route.Decide(read, "GET", route.Client{}, route.Capability{})
	if d.Side != change.Monolith || d.Reason != `route "GET /a/{id}" is owned by the monolith` {
		t.Errorf("decided %+v", d)
	}
}
