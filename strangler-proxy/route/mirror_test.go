package route_test

import (
	"testing"

	"stranglerfig/migrations/change"
	"stranglerfig/strangler-proxy/route"
)

func TestReadsOfTheServiceAreMirroredBackWhileTheMonolithFollows(t *testing.T) {
	following := route.Capability{Data: true, Known: true, Owner: change.Service, Reverse: 25}
	for _, row := range []struct {
		what, word string
		chance     int
		change     func(*route.Capability)
		want       bool
	}{
		{"within the share", "service", 2499, func(*route.Capability) {}, true},
		{"outside of the share", "service", 2500, func(*route.Capability) {}, false},
		{"off", "service", 0, func(c *route.Capability) { c.Reverse = 0 }, false},
		{"the canary's part that the service answers", "canary 50%", 0, func(*route.Capability) {}, true},
		{"before the cutover", "service", 0, func(c *route.Capability) { c.Owner = change.Monolith }, false},
		{"the monolith is too far behind", "service", 0, func(c *route.Capability) { c.Stale = true }, false},
		{"nobody knows who owns the data", "service", 0, func(c *route.Capability) { c.Known = false }, false},
		{"no data moves", "service", 0, func(c *route.Capability) { c.Data = false }, false},
		{"the monolith answers", "monolith", 0, func(*route.Capability) {}, false},
	} {
		state := following
		row.change(&state)
		r := declared(t, "GET /invoices", row.word)
		if d := route.Decide(&r, "GET", route.Client{Chance: row.chance}, state); d.Mirror != row.want {
			t.Errorf("%s: %+v", row.what, d)
		}
	}
}

func TestWritesAreMirroredToADeclaredIsolatedStoreOnly(t *testing.T) {
	for _, row := range []struct {
		what  string
		word  string
		state route.Capability
		want  bool
	}{
		{"none declared, no data", "monolith", route.Capability{}, false},
		{"declared, no data", "monolith", route.Capability{Isolated: true}, true},
		{"the service answers", "service", route.Capability{Isolated: true}, false},
		{"none declared", "monolith", route.Capability{Data: true, Known: true, Owner: change.Monolith}, false},
		{"declared", "monolith", route.Capability{Data: true, Known: true, Owner: change.Monolith, Isolated: true}, true},
		{"after the cutover", "service", route.Capability{Data: true, Known: true, Owner: change.Service, Isolated: true, Reverse: 100}, false},
		{"nobody knows who owns the data", "monolith", route.Capability{Data: true, Isolated: true}, false},
	} {
		r := declared(t, "POST /invoices", row.word)
		if d := route.Decide(&r, "POST", inside, row.state); d.Mirror != row.want {
			t.Errorf("%s: %+v", row.what, d)
		}
	}
}
