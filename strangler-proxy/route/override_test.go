package route_test

import (
	"strings"
	"testing"
	"time"

	"stranglerfig/migrations/change"
	"stranglerfig/strangler-proxy/route"
)

var (
	signing = []byte("a key of at least thirty-two bytes")
	noon    = time.Unix(1_900_000_000, 0)
)

func TestATokenIsReadAsItWasSigned(t *testing.T) {
	for _, o := range []route.Override{
		{Side: change.Service, Scope: "billing", Until: noon.Add(time.Hour)},
		{Side: change.Monolith, Scope: "GET shop.example/invoices/{id} header:X-Version=2", Until: noon.Add(time.Second)},
	} {
		token := o.Sign(signing)
		if strings.Trim(token, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.") != "" {
			t.Errorf("%q cannot stand in a cookie", token)
		}
		if got, err := route.ReadOverride(token, signing, noon); err != nil || got.Side != o.Side || got.Scope != o.Scope || !got.Until.Equal(o.Until) {
			t.Errorf("%+v was read as %+v, %v", o, got, err)
		}
		if _, err := route.ReadOverride(token, signing, o.Until); err != route.ErrTokenExpired {
			t.Errorf("at its end: %v", err)
		}
		if _, err := route.ReadOverride(token, []byte("another key of thirty-two bytes..."), noon); err != route.ErrNoToken {
			t.Errorf("with another key: %v", err)
		}
	}
}

func TestATokenThatWasChangedAnywhereIsNone(t *testing.T) {
	token := route.Override{Side: change.Service, Scope: "billing", Until: noon.Add(time.Hour)}.Sign(signing)
	for i := range token {
		for _, c := range []byte{'A', 'z', '0', '.', '-', ' ', 0, 0xff} {
			if c == token[i] {
				continue
			}
			changed := token[:i] + string([]byte{c}) + token[i+1:]
			got, err := route.ReadOverride(changed, signing, noon)
			if err == nil {
				t.Errorf("%q, changed at %d, was read as %+v", changed, i, got)
			}
		}
	}
	for _, other := range []string{"", ".", "...", token[:len(token)-1], token + "A", strings.Repeat("x", 1<<20), "service.1.x"} {
		if got, err := route.ReadOverride(other, signing, noon); err == nil {
			t.Errorf("%.40q was read as %+v", other, got)
		}
	}
}

func TestAnOverrideMovesReadsAndNothingElse(t *testing.T) {
	routes := declaredAll(t, []string{"GET /invoices/{id}", "POST /invoices", "GET /export", "/any/"})
	for i := range routes {
		routes[i].Capability = "billing"
		routes[i].Owner = route.Owner{Stage: route.Monolith, Share: 100}
	}
	routes[2].Writes = true
	for _, row := range []struct {
		at     int
		method string
		reads  bool
	}{{0, "GET", true}, {0, "HEAD", true}, {1, "POST", false}, {2, "GET", false}, {3, "GET", true}, {3, "PUT", false}} {
		for _, owner := range []route.Owner{{Stage: route.Monolith, Share: 100}, {Stage: route.Service, Share: 100}, {Stage: route.Canary, Share: 50}, {Stage: route.Shadow, Share: 100}} {
			for _, c := range []route.Capability{
				{}, {Data: true, Known: true, Owner: change.Monolith}, {Data: true, Known: true, Owner: change.Service, Reverse: 100}, {Data: true}, {Data: true, Known: true, Owner: change.Service, Held: true}, {Isolated: true},
			} {
				r := routes[row.at]
				r.Owner = owner
				for _, side := range []change.Side{change.Monolith, change.Service} {
					plain, overridden := route.Decide(&r, row.method, route.Client{}, c), route.Decide(&r, row.method, route.Client{Override: side}, c)
					if !row.reads && overridden != plain {
						t.Errorf("a write of %q, %+v, was moved from %+v to %+v", r.ID, c, plain, overridden)
					}
					if row.reads && (overridden.Side != side || overridden.Mirror || !strings.Contains(overridden.Reason, "override")) {
						t.Errorf("a read of %q, %+v, for the %s is decided as %+v", r.ID, c, side, overridden)
					}
				}
			}
		}
	}
}

func TestAnOverrideDoesNotMakeOldDataNew(t *testing.T) {
	r := declaredAll(t, []string{"GET /invoices/{id}"})[0]
	r.Owner = route.Owner{Stage: route.Service, Share: 100}
	for _, client := range []route.Client{{Override: change.Service, Fresh: true}, {Override: change.Service}} {
		c := route.Capability{Data: true, Known: true, Owner: change.Monolith, Stale: !client.Fresh}
		if d := route.Decide(&r, "GET", client, c); d.Side != change.Monolith {
			t.Errorf("%+v, %+v: %+v", client, c, d)
		}
	}
}
