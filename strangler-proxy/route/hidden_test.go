package route_test

import (
	"slices"
	"strings"
	"testing"

	"stranglerfig/strangler-proxy/route"
)

func TestRoutesThatAPostCouldBeMeantForAreNamed(t *testing.T) {
	everybody := func(*route.Route) bool { return true }
	for _, row := range []struct {
		ids  []string
		want []string // the methods and ids of those that could be got past
	}{
		{[]string{"GET /a", "POST /a"}, nil},
		{[]string{"DELETE /a/{id}"}, []string{"DELETE /a/{id}"}},
		{[]string{"DELETE /a/{id}", "POST /a/{id}"}, nil},
		{[]string{"DELETE /a/{id}", "/a/{id}"}, nil},
		{[]string{"/a/{id}", "POST /a/{id} header:X-Other"}, nil},
		{[]string{"DELETE /a/{id} header:X-Form", "POST /a/{id}"}, nil},
		{[]string{"PURGE /a"}, []string{"PURGE /a"}},
		{[]string{"PATCH /a/{rest...}", "POST /a/{id}"}, []string{"PATCH /a/{rest...}"}},
	} {
		table := compile(t, route.Profile{}, row.ids...)
		var got []string
		for _, p := range table.Hidden(everybody, func() {}) {
			_, id, _ := strings.Cut(p.Text, `"`)
			id, _, _ = strings.Cut(id, `"`)
			got = append(got, id)
		}
		if !slices.Equal(got, row.want) {
			t.Errorf("%q: %q, want %q", row.ids, got, row.want)
		}
		if nobody := table.Hidden(func(*route.Route) bool { return false }, func() {}); nobody != nil {
			t.Errorf("%q: though nobody looks there: %v", row.ids, nobody)
		}
	}
}
