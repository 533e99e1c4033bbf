package route_test

import (
	"fmt"
	"strings"
	"testing"

	"stranglerfig/migrations/change"
	"stranglerfig/strangler-proxy/route"
)

// Inside and outside of "canary 50%" and "shadow 50%".
var (
	inside  = route.Client{Bucket: 0}
	outside = route.Client{Bucket: 9999}
)

func TestWordsDecideWhereNoDataMoves(t *testing.T) {
	for _, row := range []struct {
		id, word string
		client   route.Client
		side     change.Side
		mirror   bool
	}{
		{"GET /invoices/{id}", "monolith", inside, change.Monolith, false},
		{"GET /invoices/{id}", "shadow 50%", inside, change.Monolith, true},
		{"GET /invoices/{id}", "shadow 50%", outside, change.Monolith, false},
		{"GET /invoices/{id}", "shadow", outside, change.Monolith, true},
		{"GET /invoices/{id}", "canary 50%", inside, change.Service, false},
		{"GET /invoices/{id}", "canary 50%", outside, change.Monolith, false},
		{"GET /invoices/{id}", "service", outside, change.Service, false},
		{"POST /invoices", "monolith", inside, change.Monolith, false},
		{"POST /invoices", "service", outside, change.Service, false},
	} {
		r := declared(t, row.id, row.word)
		d := route.Decide(&r, strings.Fields(row.id)[0], row.client, route.Capability{})
		if d.Side != row.side || d.Mirror != row.mirror || d.Hold || d.Reason == "" {
			t.Errorf("%s: %s, bucket %d: %+v; want the %s, mirrored %v", row.id, row.word, row.client.Bucket, d, row.side, row.mirror)
		}
	}
}

// TestReadsOfMovingDataObeyTheWordUnlessTheAnswerWouldBeOld goes through every
// word, owner and state of the follower.
func TestReadsOfMovingDataObeyTheWordUnlessTheAnswerWouldBeOld(t *testing.T) {
	words := []struct {
		word   string
		client route.Client
		side   change.Side // by the word alone
		mirror bool
	}{
		{"monolith", inside, change.Monolith, false},
		{"shadow 50%", inside, change.Monolith, true},
		{"shadow 50%", outside, change.Monolith, false},
		{"canary 50%", inside, change.Service, false},
		{"canary 50%", outside, change.Monolith, false},
		{"service", outside, change.Service, false},
	}
	for _, w := range words {
		for _, owner := range []change.Side{change.Monolith, change.Service} {
			for bits := range 16 {
				known, held, fresh, stale := bits&1 != 0, bits&2 != 0, bits&4 != 0, bits&8 != 0
				state := route.Capability{Data: true, Known: known, Held: held, Owner: owner, Epoch: 3, Stale: stale}
				client := w.client
				client.Fresh = fresh
				want, mirror := w.side, w.mirror
				if known && w.side != owner && (fresh || stale) {
					want, mirror = owner, false
				}
				r := declared(t, "GET /invoices/{id}", w.word)
				d := route.Decide(&r, "GET", client, state)
				if d.Side != want || d.Mirror != mirror || d.Hold || d.Reason == "" || d.Epoch != 3 {
					t.Errorf("%s (bucket %d), client %+v, state %+v: %+v; want the %s, mirrored %v", w.word, client.Bucket, client, state, d, want, mirror)
				}
			}
		}
	}
}

// TestWritesOfMovingDataObeyTheWriteOwnerAndNothingElse goes through every
// word, client and state.
func TestWritesOfMovingDataObeyTheWriteOwnerAndNothingElse(t *testing.T) {
	for _, word := range []string{"monolith", "shadow", "canary 50%", "service"} {
		for _, owner := range []change.Side{change.Monolith, change.Service} {
			for bits := range 32 {
				client := route.Client{Fresh: bits&1 != 0}
				if bits&2 != 0 {
					client.Bucket = 9999
				}
				state := route.Capability{Data: true, Known: bits&4 != 0, Held: bits&8 != 0, Stale: bits&16 != 0, Owner: owner, Epoch: 7}
				r := declared(t, "POST /invoices", word)
				d := route.Decide(&r, "POST", client, state)
				want := route.Decision{Side: owner, Epoch: 7, Hold: state.Held || !state.Known, Reason: d.Reason}
				if !state.Known {
					want.Side = change.Monolith
				}
				if d != want || d.Reason == "" {
					t.Errorf("%s, client %+v, state %+v: %+v; want %+v", word, client, state, d, want)
				}
			}
		}
	}
}

// TestWritesNeverFollowAReadWord puts every word that only reads can have on a
// write route.
func TestWritesNeverFollowAReadWord(t *testing.T) {
	for _, id := range []string{"POST /x", "PUT /x", "PATCH /x", "DELETE /x", "PROPFIND /x", "/x"} {
		for _, word := range []string{"shadow", "shadow 50%", "canary 100%"} {
			r := declared(t, id, word)
			method, _, _ := strings.Cut(id, " ")
			if method == "/x" {
				method = "POST"
			}
			if d := route.Decide(&r, method, inside, route.Capability{}); d.Side != change.Monolith || d.Mirror {
				t.Errorf("%s: %s: %+v; want the monolith alone", id, word, d)
			}
			state := route.Capability{Data: true, Known: true, Owner: change.Service, Epoch: 1}
			if d := route.Decide(&r, method, outside, state); d.Side != change.Service || d.Mirror {
				t.Errorf("%s: %s: %+v; want the write owner alone", id, word, d)
			}
		}
	}
}

func TestARouteWithoutAMethodReadsWithTheMethodsThatRead(t *testing.T) {
	r := declared(t, "/invoices", "service")
	state := route.Capability{Data: true, Known: true, Owner: change.Monolith, Held: true}
	for _, method := range []string{"GET", "HEAD", "OPTIONS"} {
		if d := route.Decide(&r, method, route.Client{}, state); d.Side != change.Service || d.Hold {
			t.Errorf("%s: %+v; want the service, at once", method, d)
		}
	}
	for _, method := range []string{"POST", "PUT", "DELETE", "PATCH", "get"} {
		if d := route.Decide(&r, method, route.Client{}, state); d.Side != change.Monolith || !d.Hold {
			t.Errorf("%s: %+v; want it to wait for the monolith", method, d)
		}
	}
	reader := declared(t, "GET /export", "service")
	reader.Writes = true // declared so: writes: true
	if d := route.Decide(&reader, "GET", route.Client{}, state); d.Side != change.Monolith || !d.Hold {
		t.Errorf("a GET that is declared to write: %+v; want it to wait for the monolith", d)
	}
}

func TestWithoutARouteTheMonolithAnswers(t *testing.T) {
	for _, method := range []string{"GET", "POST"} {
		d := route.Decide(nil, method, route.Client{Fresh: true}, route.Capability{Data: true, Known: true, Owner: change.Service, Held: true})
		if d.Side != change.Monolith || d.Hold || d.Mirror {
			t.Errorf("%s: %+v", method, d)
		}
	}
}

func TestEveryDecisionSaysWhy(t *testing.T) {
	state := func(owner change.Side, more string) route.Capability {
		return route.Capability{Data: true, Known: more != "unknown", Held: more == "held", Stale: more == "stale", Owner: owner, Epoch: 4}
	}
	for _, row := range []struct {
		id, word string
		client   route.Client
		state    route.Capability
		why      string
	}{
		{"GET /a", "canary 50%", route.Client{Bucket: 12}, route.Capability{}, "bucket 12 is within canary 50%"},
		{"GET /a", "canary 50%", route.Client{Bucket: 5000}, route.Capability{}, "bucket 5000 is outside canary 50%"},
		{"GET /a", "service", route.Client{Fresh: true}, state(change.Monolith, ""), "the client has just written, so the write owner answers"},
		{"GET /a", "service", route.Client{}, state(change.Monolith, "stale"), "the service's data is too far behind, so the write owner answers"},
		{"GET /a", "monolith", route.Client{}, state(change.Service, "stale"), "the monolith's data is too far behind, so the write owner answers"},
		{"POST /a", "service", route.Client{}, state(change.Service, ""), "the service owns the writes of billing at epoch 4"},
		{"POST /a", "service", route.Client{}, state(change.Service, "held"), "a switch is under way, so writes wait"},
		{"POST /a", "service", route.Client{}, state("", "unknown"), "the owner of the writes is not known yet, so they wait"},
		{"POST /a", "service", route.Client{}, route.Capability{}, `route "POST /a" is a write route owned by the service`},
	} {
		r := declared(t, row.id, row.word)
		d := route.Decide(&r, strings.Fields(row.id)[0], row.client, row.state)
		if d.Reason != row.why {
			t.Errorf("%s: %s: %q; want %q", row.id, row.word, d.Reason, row.why)
		}
	}
}

func declared(t testing.TB, id, word string) route.Route {
	t.Helper()
	r, err := route.Parse(id)
	if err != nil {
		t.Fatal(fmt.Errorf("%s: %w", id, err))
	}
	r.Capability, r.Owner = "billing", owner(t, word)
	return r
}
