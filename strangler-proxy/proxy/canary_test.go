package proxy_test

import (
	"fmt"
	"math"
	"testing"

	"stranglerfig/strangler-proxy/proxy"
)

// TestARampOnlyAddsClientsAndARollbackBringsEverybodyHomeAtOnce takes clients
// with a key and clients that were given a cookie up a ramp, home, and up again.
func TestARampOnlyAddsClientsAndARollbackBringsEverybodyHomeAtOnce(t *testing.T) {
	w := newWorld(t)
	w.change(func(p *proxy.Capability) { p.CanaryBy = "header:X-Client" })
	const clients = 500
	var bring [][]string // what each client brings
	for i := range clients {
		bring = append(bring, []string{"X-Client", fmt.Sprintf("client-%d", i)})
	}
	w.obey("GET /invoices=canary 1%")
	for i := clients / 2; i < clients; i++ {
		cookie := given(t, w.ask("GET", "/invoices", ""))
		bring[i] = []string{"Cookie", cookie.Name + "=" + cookie.Value}
	}
	// in returns who is answered by the service at an owner word.
	in := func(word string) map[int]bool {
		t.Helper()
		w.obey("GET /invoices=" + word)
		all := map[int]bool{}
		for i, header := range bring {
			for range 2 { // either arm is stable
				got := w.ask("GET", "/invoices", "", header...)
				if was, asked := all[i]; asked && was != (got.by() == "service") {
					t.Fatalf("%s: client %d changed sides between two requests", word, i)
				}
				if all[i] = got.by() == "service"; len(got.Cookies()) > 0 {
					t.Fatalf("%s: client %d, which has a key, was given %v", word, i, got.Cookies())
				}
			}
		}
		return all
	}
	var before map[int]bool
	at := map[string]map[int]bool{}
	for _, share := range []float64{1, 10, 25, 50, 100} {
		word := fmt.Sprintf("canary %v%%", share)
		now := in(word)
		const keyed = clients / 2 // the keys of the others are made up at random
		p, n := share/100, 0
		for i := range keyed {
			if now[i] {
				n++
			}
		}
		if off := math.Abs(float64(n) - keyed*p); off > 3*math.Sqrt(keyed*p*(1-p)) {
			t.Errorf("%s: %d of %d clients are in it", word, n, keyed)
		}
		for i, was := range before {
			if was && !now[i] {
				t.Errorf("client %d left when the canary was raised to %s", i, word)
			}
		}
		before, at[word] = now, now
	}
	for _, home := range []string{"monolith", "shadow"} {
		if n := count(in(home)); n > 0 {
			t.Errorf("%d clients are with the service although the route is %s", n, home)
		}
	}
	if again := in("canary 25%"); fmt.Sprint(again) != fmt.Sprint(at["canary 25%"]) {
		t.Error("the canary took other clients the second time")
	}
}

func count(in map[int]bool) (n int) {
	for _, is := range in {
		if is {
			n++
		}
	}
	return n
}
