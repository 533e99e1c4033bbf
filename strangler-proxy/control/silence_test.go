package control

import (
	"io"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"stranglerfig/contract-tests/sequential"
	"stranglerfig/strangler-proxy/control/api"
	"stranglerfig/strangler-proxy/shadow"
)

func TestAServiceThatHangsUpDoesNotAgree(t *testing.T) {
	s, c := shadowing(t, true)
	c.compare(8)
	c.says(api.Pass, "8 of 8 mirrored answers agree, which is enough")
	s.breaks.Store(true)
	c.by()
	for c.count().Incomparable != 1 {
		runtime.Gosched()
	}
	c.says(api.Missing, "8 of 8 mirrored answers agree, but 1 of 9 mirrored requests got no answer, or far too long a one strangler shadow status billing")
	s.breaks.Store(false)
	c.compare(92)
	c.says(api.Pass, "100 of 100 mirrored answers agree, which is enough; 1 of 101 mirrored requests got no answer")
}

func TestAServiceWhoseAnswersHaveNoEndDoesNotAgree(t *testing.T) {
	c := newShop(t).start()
	p, _ := c.config().Capability("billing")
	n := shadow.Count{Compared: 98, Rule: sequential.Rule{P0: 0.5, P1: 0.25, Alpha: 0.05, PerClient: 1, PerShape: 1}, Test: sequential.Test{Weight: 98, Matches: 98}}
	for longer, verdict := range map[int64]api.Verdict{0: api.Pass, 2: api.Missing} {
		n.Reasons = map[shadow.Reason]int64{shadow.Longer: longer, shadow.TooLong: 50}
		if f := c.judgeShadow("billing", api.Finding{Verdict: api.Missing}, n, p.Mirroring(shadowed)); f.Verdict != verdict {
			t.Errorf("of %d: %+v", longer, f)
		}
	}
}

func TestWritesThatAnIsolatedStoreEndsOtherwiseAreANoToMovingThem(t *testing.T) {
	const writes = "POST /invoices"
	s := newShop(t)
	var refuses atomic.Bool
	store := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if refuses.Load() {
			w.WriteHeader(http.StatusUnprocessableEntity)
		}
		io.WriteString(w, "store")
	}))
	t.Cleanup(store.Close)
	s.save(func(s *shop) {
		s.routes = writes + ": monolith; GET /invoices: monolith"
		s.more = "    shadow: {isolated: " + store.URL + "}\n"
	})
	c := s.start()
	post := func(differ int64) {
		t.Helper()
		before, _ := c.shadow.Count(writes, shadow.Isolated)
		res, err := http.Post(c.URL+"/invoices", "application/json", strings.NewReader("{}"))
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		for deadline := time.Now().Add(30 * time.Second); ; runtime.Gosched() {
			now, _ := c.shadow.Count(writes, shadow.Isolated)
			if now.Compared > before.Compared {
				if now.Mismatched != differ {
					t.Fatalf("%+v", now)
				}
				return
			}
			if time.Now().After(deadline) {
				t.Fatalf("%+v", now)
			}
		}
	}
	told := func(route string) (all []api.Finding) {
		for _, f := range c.canCutOver(route).Findings {
			if f.Gate == "shadow" && f.Route == writes {
				all = append(all, f)
			}
		}
		return all
	}
	post(0)
	if all := told(writes); len(all) != 0 {
		t.Errorf("what agrees is held against it: %+v", all)
	}
	refuses.Store(true)
	post(1)
	all := told(writes)
	if len(all) != 1 || all[0].Verdict != api.Fail || all[0].Text != "1 of 2 writes agree on the isolated store; the others differ in 1 ways that nobody allows" || all[0].Command != "strangler shadow differences billing" {
		t.Errorf("%+v", all)
	}
	if all := told("GET /invoices"); len(all) != 0 {
		t.Errorf("of a read: %+v", all)
	}
	n, _ := c.shadow.Count(writes, shadow.Isolated)
	if _, err := c.Allow(t.Context(), api.AllowRequest{ID: n.Differences[0].ID, Reason: "SHOP-12", By: "ada", Until: time.Now().Add(time.Hour)}); err != nil {
		t.Fatal(err)
	}
	if all := told(writes); len(all) != 0 {
		t.Errorf("what a person allows is held against it: %+v", all)
	}
}
