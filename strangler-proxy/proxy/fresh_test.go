package proxy_test

import (
	"io"
	"net/http"
	"testing"
	"time"

	"stranglerfig/migrations/change"
	"stranglerfig/strangler-proxy/proxy"
	"stranglerfig/strangler-proxy/route"
)

func TestAClientReadsWhatItHasWrittenUntilTheFollowerHasIt(t *testing.T) {
	w := newWorld(t)
	w.change(func(c *proxy.Capability) { c.CanaryBy = "header:X-Client" })
	w.moving(change.Monolith, "GET /invoices=service", "POST /invoices=monolith")
	writer, other := []string{"X-Client", "ana"}, []string{"X-Client", "ben"}
	w.sync(time.Now())
	if got := w.ask("GET", "/invoices", "", writer...); got.by() != "service" {
		t.Errorf("before its write, the client reads from the %s", got.by())
	}
	w.ask("POST", "/invoices", "body", writer...)
	for range 2 {
		if got := w.ask("GET", "/invoices", "", writer...); got.by() != "monolith" {
			t.Errorf("after its write, the client reads from the %s", got.by())
		}
	}
	if got := w.ask("GET", "/invoices", "", other...); got.by() != "service" {
		t.Errorf("another client reads from the %s", got.by())
	}
	w.sync(time.Now())
	if got := w.ask("GET", "/invoices", "", writer...); got.by() != "service" {
		t.Errorf("when the follower has it, the client reads from the %s", got.by())
	}
}

func TestAWriteCountsBeforeItsAnswerHasEnded(t *testing.T) {
	w := newWorld(t)
	w.change(func(c *proxy.Capability) { c.CanaryBy = "header:X-Client" })
	w.moving(change.Monolith, "GET /invoices=service", "POST /invoices=monolith")
	w.sync(time.Now())
	finish := make(chan struct{})
	w.monolith.answers(func(out http.ResponseWriter, r *http.Request) {
		if r.Method == "POST" {
			io.WriteString(out, "made, and ")
			http.NewResponseController(out).Flush()
			<-finish
		}
	})
	res, err := w.client.Do(w.request("POST", "/invoices", "", "X-Client", "ana"))
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	// The client knows that its write was made, and asks on another connection.
	if got := w.ask("GET", "/invoices", "", "X-Client", "ana"); got.by() != "monolith" {
		t.Errorf("it reads from the %s", got.by())
	}
	close(finish)
	if _, err := io.Copy(io.Discard, res.Body); err != nil {
		t.Error(err)
	}
}

func TestAClientKeepsItsPlaceWhenItIsGivenAKey(t *testing.T) {
	w := newWorld(t)
	w.moving(change.Monolith, "GET /invoices=canary 100%", "POST /invoices=monolith")
	w.sync(time.Now())
	w.ask("POST", "/invoices", "body") // without a key
	got := w.ask("GET", "/invoices", "")
	cookie := given(t, got)
	if got.by() != "monolith" {
		t.Errorf("it reads from the %s", got.by())
	}
	if got := w.ask("GET", "/invoices", "", "Cookie", cookie.Name+"="+cookie.Value); got.by() != "monolith" {
		t.Errorf("with its key it reads from the %s", got.by())
	}
}

func TestNobodyReadsFromAFollowerThatIsFarBehind(t *testing.T) {
	w := newWorld(t, func(o *proxy.Options) { o.StaleAfter = time.Hour })
	w.moving(change.Monolith, "GET /invoices=service", "GET /list=shadow")
	for _, row := range []struct {
		synced time.Time
		by     string
	}{
		{time.Now(), "service"},
		{time.Now().Add(-59 * time.Minute), "service"},
		{time.Now().Add(-61 * time.Minute), "monolith"},
		{time.Unix(0, 0), "monolith"},
	} {
		w.sync(row.synced)
		if got := w.ask("GET", "/invoices", ""); got.by() != row.by {
			t.Errorf("in step up to %s: the %s answers, want the %s", row.synced, got.by(), row.by)
		}
	}
}

// TestACookieFromAnotherCapabilityDoesNotHideAWrite writes before it has one.
func TestACookieFromAnotherCapabilityDoesNotHideAWrite(t *testing.T) {
	w := newWorld(t)
	svc := w.snapshot.Capabilities["billing"].Service
	s := w.snapshot
	s.Capabilities = map[string]proxy.Capability{"billing": {Service: svc, Data: true}, "catalog": {Service: svc, Data: true}}
	var routes []route.Route
	for _, x := range [][3]string{{"GET /invoices", "canary 100%", "billing"}, {"GET /products", "service", "catalog"}, {"POST /products", "monolith", "catalog"}} {
		r, err := route.Parse(x[0])
		if err == nil {
			r.Owner, err = route.ParseOwner(x[1])
		}
		if err != nil {
			t.Fatal(err)
		}
		r.Capability = x[2]
		routes = append(routes, r)
	}
	s.Table, _ = route.Compile(routes, route.Profile{})
	w.proxy.Obey(&s)
	for name := range s.Capabilities {
		if err := w.proxy.Flip(name, change.Monolith, 1); err != nil {
			t.Fatal(err)
		}
	}
	w.sync(time.Now())
	w.ask("POST", "/products", "body")
	if got := w.ask("GET", "/products", ""); got.by() != "monolith" {
		t.Fatalf("reads from the %s", got.by())
	}
	cookie := given(t, w.ask("GET", "/invoices", ""))
	if got := w.ask("GET", "/products", "", "Cookie", cookie.Name+"="+cookie.Value); got.by() != "monolith" {
		t.Errorf("after a cookie from another capability's canary, it reads from the %s, which lacks its write", got.by())
	}
}

// TestACookieGivenWhileAWriteIsUnderWayDoesNotHideIt gets one in between.
func TestACookieGivenWhileAWriteIsUnderWayDoesNotHideIt(t *testing.T) {
	w := newWorld(t)
	w.moving(change.Monolith, "GET /invoices=canary 100%", "POST /invoices=monolith")
	w.sync(time.Now())
	begun, finish := make(chan struct{}), make(chan struct{})
	w.monolith.answers(func(out http.ResponseWriter, r *http.Request) {
		if r.Method == "POST" {
			close(begun)
			<-finish
		}
	})
	post := w.later(t.Context(), "POST", "/invoices", "body")
	<-begun
	cookie := given(t, w.ask("GET", "/invoices", ""))
	close(finish)
	<-post
	if got := w.ask("GET", "/invoices", "", "Cookie", cookie.Name+"="+cookie.Value); got.by() != "monolith" {
		t.Errorf("it reads from the %s, which lacks its write", got.by())
	}
}
