package proxy_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"stranglerfig/migrations/change"
	"stranglerfig/strangler-proxy/proxy"
	"stranglerfig/strangler-proxy/route"
)

// arm is who should answer a client's key in a canary of 30%.
func arm(key string) string {
	if (route.Owner{Stage: route.Canary, Share: 30}).Takes(route.Bucket("billing", key)) {
		return "service"
	}
	return "monolith"
}

func TestACanaryIsStickyByItsDeclaredKeyInBothArms(t *testing.T) {
	for by, header := range map[string]func(key string) []string{
		"cookie:sid":      func(key string) []string { return []string{"Cookie", "other=x; sid=" + key} },
		"header:X-Client": func(key string) []string { return []string{"X-Client", key} },
	} {
		t.Run(by, func(t *testing.T) {
			w := newWorld(t)
			w.change(func(c *proxy.Capability) { c.CanaryBy = by })
			w.obey("GET /invoices=canary 30%", "GET /invoices/{id}=canary 30%")
			arms := map[string]int{}
			for i := range 60 {
				key := fmt.Sprintf("client-%d", i)
				for _, path := range []string{"/invoices", "/invoices/7", "/invoices"} {
					got := w.ask("GET", path, "", header(key)...)
					if got.by() != arm(key) {
						t.Errorf("%s is answered by the %s, want the %s", key, got.by(), arm(key))
					}
					if len(got.Cookies()) > 0 {
						t.Errorf("%s, which has a key, was given %v", key, got.Cookies())
					}
				}
				arms[arm(key)]++
			}
			if len(arms) != 2 {
				t.Errorf("only one arm was tested: %v", arms)
			}
		})
	}
}

func TestACanaryByAddressSendsAClientToOneArm(t *testing.T) {
	w := newWorld(t)
	w.change(func(c *proxy.Capability) { c.CanaryBy = "client-ip" })
	w.obey("GET /invoices=canary 30%")
	for range 3 {
		if got := w.ask("GET", "/invoices", ""); got.by() != arm("127.0.0.1") || len(got.Cookies()) > 0 {
			t.Errorf("answered by the %s with %v", got.by(), got.Cookies())
		}
	}
}

// given returns the cookie that a client was given to make it sticky.
func given(t *testing.T, got reply) *http.Cookie {
	t.Helper()
	if len(got.Cookies()) != 1 || got.Cookies()[0].Name != "strangler_id" {
		t.Fatalf("the client was given %v", got.Cookies())
	}
	return got.Cookies()[0]
}

func TestAClientWithoutAKeyIsGivenASignedOneInBothArms(t *testing.T) {
	w := newWorld(t)
	w.change(func(c *proxy.Capability) { c.CanaryBy = "cookie:sid" })
	w.obey("GET /invoices=canary 30%")
	arms := map[string]int{}
	for range 60 {
		first := w.ask("GET", "/invoices", "")
		cookie := given(t, first)
		id, _, _ := strings.Cut(cookie.Value, ".")
		if first.by() != arm(id) || !cookie.HttpOnly || cookie.Path != "/" || cookie.SameSite != http.SameSiteLaxMode || cookie.MaxAge <= 0 {
			t.Fatalf("answered by the %s, given %v", first.by(), cookie)
		}
		again := w.ask("GET", "/invoices", "", "Cookie", cookie.Name+"="+cookie.Value)
		if again.by() != first.by() || len(again.Cookies()) > 0 {
			t.Fatalf("first the %s, then the %s, given %v", first.by(), again.by(), again.Cookies())
		}
		arms[first.by()]++
	}
	if len(arms) != 2 {
		t.Errorf("only one arm was tested: %v", arms)
	}
}

func TestAForgedCookieIsIgnored(t *testing.T) {
	w := newWorld(t)
	w.obey("GET /invoices=canary 30%")
	genuine := given(t, w.ask("GET", "/invoices", "")).Value
	id, mac, _ := strings.Cut(genuine, ".")
	chosen := "x" // an id that would be in the canary
	for arm(chosen) != "service" {
		chosen += "x"
	}
	for _, forged := range []string{chosen, chosen + ".", chosen + "." + mac, chosen + "." + strings.Repeat("0", len(mac)), id, id + "." + mac[1:], "." + mac, ""} {
		got := w.ask("GET", "/invoices", "", "Cookie", "strangler_id="+forged)
		fresh, _, _ := strings.Cut(given(t, got).Value, ".")
		if fresh == id || fresh == chosen || got.by() != arm(fresh) {
			t.Errorf("the forged cookie %q was taken: answered by the %s, given %q", forged, got.by(), fresh)
		}
	}
}

func TestRoutesWithoutACanaryGiveNoCookies(t *testing.T) {
	w := newWorld(t)
	w.obey("GET /a=monolith", "GET /b=service", "GET /c=shadow 50%", "POST /d=monolith")
	for _, sent := range []string{"GET /a", "GET /b", "GET /c", "POST /d", "GET /e"} {
		method, path, _ := strings.Cut(sent, " ")
		if got := w.ask(method, path, ""); len(got.Cookies()) > 0 {
			t.Errorf("%s gave %v", sent, got.Cookies())
		}
	}
}

func TestExplainingSaysWhatWouldHappenAndDoesNothing(t *testing.T) {
	w := newWorld(t)
	w.change(func(c *proxy.Capability) { c.CanaryBy = "header:X-Client" })
	w.obey("GET /invoices/{id}=canary 30%", "POST /invoices=service")
	for i := range 20 {
		key := fmt.Sprintf("client-%d", i)
		r := w.request("GET", "/%69nvoices/7", "", "X-Client", key)
		e := w.proxy.Explain(r)
		if string(e.Decision.Side) != arm(key) || e.Path != "/invoices/7" || e.Route != "GET /invoices/{id}" || e.Capability != "billing" || e.Owner != "canary 30%" {
			t.Errorf("%s: %+v", key, e)
		}
		if want := map[string]string{"service": w.service.server.URL, "monolith": w.monolith.server.URL}[arm(key)]; e.URL != want {
			t.Errorf("%s goes to %s, want %s", key, e.URL, want)
		}
	}
	if e := w.proxy.Explain(w.request("GET", "/invoices/7", "")); !strings.Contains(e.Decision.Reason, "would get one") {
		t.Errorf("%+v", e)
	}
	if e := w.proxy.Explain(w.request("GET", "/invoices%2F7", "")); e.Refused == "" {
		t.Errorf("%+v", e)
	}
	if e := w.proxy.Explain(w.request("GET", "/other", "")); e.Route != "" || e.Decision.Side != change.Monolith || e.URL != w.monolith.server.URL {
		t.Errorf("%+v", e)
	}
	if n := w.monolith.calls.Load() + w.service.calls.Load(); n != 0 {
		t.Errorf("%d requests were sent", n)
	}
}
