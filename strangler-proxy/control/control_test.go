package control

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"stranglerfig/migrations/ledger"
	"stranglerfig/strangler-proxy/config"
	"stranglerfig/strangler-proxy/control/api"
	"stranglerfig/strangler-proxy/route"
)

func TestWithoutEvidenceAGateIsClosedAndNamesTheCommand(t *testing.T) {
	s := newShop(t)
	c := s.start()
	s.wants("canary 100%")
	isWaiting(t, c.reload(), "monolith", "contract: no contract evidence is on file (run: strangler contract verify billing)")
	if by := c.by(); by != "monolith" {
		t.Errorf("the %s answers", by)
	}
	c.prove("fail")
	isWaiting(t, c.reload(), "monolith", "contract: 12 interactions")
	c.prove("pass")
	if r := c.reload().Routes[0]; r.Actual != "canary 100%" || r.Why != "" {
		t.Errorf("with evidence: %+v", r)
	}
	if by := c.by(); by != "service" {
		t.Errorf("the %s answers", by)
	}
	s.wants("service")
	isWaiting(t, c.reload(), "canary 100%", `(run: strangler own "GET /invoices" shadow)`)
}

func TestAServiceThatIsIllGetsNothingMore(t *testing.T) {
	s := newShop(t)
	c := s.start()
	s.service.Close()
	s.wants("shadow")
	isWaiting(t, c.reload(), "monolith", "health: ", "cannot be reached", "start the service at "+s.service.URL)
}

func TestStepsDownAreFree(t *testing.T) {
	s := newShop(t)
	c := s.start()
	c.prove("pass")
	for _, word := range []string{"canary 50%", "canary 5%", "shadow", "monolith"} {
		s.wants(word)
		if r := c.reload().Routes[0]; r.Actual != word {
			t.Errorf("%+v", r)
		}
		s.service.Close() // after the first step up nothing is well any more
	}
	if n := len(c.entries(ownerKind)); n != 4 {
		t.Errorf("%d owner changes were journalled", n)
	}
}

func TestEvidenceIsVoidWhenWhatItWasAboutHasChanged(t *testing.T) {
	for what, change := range map[string]func(s *shop){
		"the contract":              func(s *shop) { s.write("billing.pact.json", `{"more": 1}`) },
		"the capability's config":   func(s *shop) { s.save(func(s *shop) { s.routes += "; GET /more: monolith" }) },
		"the service's build":       func(s *shop) { s.build.Store("v2") },
		"the capability's config, ": func(s *shop) { s.save(func(s *shop) { s.more = "    canary: {by: client-ip}\n" }) },
	} {
		what = strings.TrimSuffix(what, ", ")
		t.Run(what, func(t *testing.T) {
			s := newShop(t)
			c := s.start()
			c.prove("pass")
			s.wants("canary 10%")
			if r := c.reload().Routes[0]; r.Actual != "canary 10%" {
				t.Fatalf("%+v", r)
			}
			s.routes = "GET /invoices: canary 20%"
			s.save()
			change(s)
			isWaiting(t, c.reload(), "canary 10%", "void: "+what+" changed since", "run: strangler contract verify billing")
			c.prove("pass")
			if r := c.reload().Routes[0]; r.Actual != "canary 20%" {
				t.Errorf("with new evidence: %+v", r)
			}
		})
	}
}

func waiver(until string) func(*shop) {
	return func(s *shop) {
		s.more = "    waive: [{gate: contract, reason: no clients yet, by: ana, until: " + until + "}]\n"
	}
}

func TestAWaiverOpensItsGateAndIsJournalled(t *testing.T) {
	s := newShop(t)
	c := s.start()
	s.save(waiver("2099-01-31"), func(s *shop) { s.routes = "GET /invoices: canary 10%" })
	if r := c.reload().Routes[0]; r.Actual != "canary 10%" {
		t.Fatalf("%+v", r)
	}
	c.reload()
	entries := c.entries("waiver")
	if len(entries) != 1 || entries[0].Actor != "ana" || entries[0].Capability != "billing" || !strings.Contains(entries[0].Text, "contract waived by ana until 2099-01-31: no clients yet") {
		t.Errorf("the journal has %+v", entries)
	}
}

func TestAnExpiredWaiverOpensNothing(t *testing.T) {
	s := newShop(t)
	c := s.start()
	s.save(waiver("2020-01-31"), func(s *shop) { s.routes = "GET /invoices: canary 10%" })
	isWaiting(t, c.reload(), "monolith", "no contract evidence is on file")
	if n := len(c.entries("waiver")); n != 0 {
		t.Errorf("%d waivers were journalled", n)
	}
}

func TestASavedFileComesIntoForceByItself(t *testing.T) {
	s := newShop(t)
	c := s.start()
	c.prove("pass")
	s.wants("canary 100%")
	for c.by() != "service" {
	}
	s.wants("monolith")
	for c.by() != "monolith" {
	}
}

func TestABadFileIsRefusedWholeAndTheOldOneStaysInForce(t *testing.T) {
	s := newShop(t)
	c := s.start()
	c.prove("pass")
	s.wants("canary 100%")
	c.reload()
	bad := func(s *shop) { s.routes = "GET /invoices: monolith; GET /more: serivce" }
	s.save(bad)
	var refused *api.Error
	if err := c.api.Post(t.Context(), "/v1/reload", nil, nil); !errors.As(err, &refused) || !strings.Contains(refused.Text, `:11: route "GET /more": "serivce" is not an owner`) || refused.Code != api.ExitNo {
		t.Errorf("%v", err)
	}
	if by := c.by(); by != "service" {
		t.Errorf("the %s answers", by)
	}
	if status := c.Status(t.Context()); !strings.Contains(status.Problem, "serivce") || len(status.Capabilities[0].Routes) != 1 || status.Capabilities[0].Routes[0].Wanted != "canary 100%" {
		t.Errorf("%+v", status)
	}
	if err := os.Remove(s.path); err != nil {
		t.Fatal(err)
	}
	if err := c.Reload(t.Context()); err == nil || !strings.Contains(c.Status(t.Context()).Problem, "the last good one stays in force") {
		t.Errorf("without a file: %v, %q", err, c.Status(t.Context()).Problem)
	}
	s.wants("monolith")
	c.reload()
	if status := c.Status(t.Context()); status.Problem != "" || c.by() != "monolith" {
		t.Errorf("a good file again: %q", status.Problem)
	}
}

func TestWhatOnlyARestartCanChangeIsRefused(t *testing.T) {
	s := newShop(t)
	c := s.start()
	s.save(func(s *shop) { s.listen, s.routes = "127.0.0.1:1", "GET /invoices: shadow" })
	if err := c.Reload(t.Context()); err == nil || !strings.Contains(err.Error(), "listen cannot change while serving; restart") {
		t.Errorf("%v", err)
	}
	if r := c.Status(t.Context()).Capabilities[0].Routes[0]; r.Wanted != "monolith" {
		t.Errorf("a part of the file came into force: %+v", r)
	}
}

func TestASecondServerOnTheSameStateIsRefusedWithThePid(t *testing.T) {
	s := newShop(t)
	s.start()
	var locked *ledger.LockedError
	_, err := Start(t.Context(), Options{Config: s.path, Log: slog.New(slog.DiscardHandler)})
	if !errors.As(err, &locked) || !strings.Contains(err.Error(), "pid "+strconv.Itoa(os.Getpid())) {
		t.Errorf("%v", err)
	}
}

func TestAPortThatIsTakenIsNamedAndTheStateLetGo(t *testing.T) {
	s := newShop(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	s.save(func(s *shop) { s.listen = l.Addr().String() })
	_, err = Start(t.Context(), Options{Config: s.path, Log: slog.New(slog.DiscardHandler)})
	var taken *api.Error
	if !errors.As(err, &taken) || !strings.Contains(taken.Text, "listen: the address "+l.Addr().String()+" is taken") || !strings.Contains(taken.Hint, "change listen in strangler.yaml") {
		t.Errorf("%v", err)
	}
	s.save(func(s *shop) { s.listen = "127.0.0.1:0" })
	s.start()
}

func TestTheAdminAPIAsksForTheToken(t *testing.T) {
	c := newShop(t).start()
	for _, token := range []string{"", "secre", "secret2", "Secret"} {
		client := &api.Client{Base: c.Admin, Token: token}
		var refused *api.Error
		for path, ask := range map[string]func() error{
			"/v1/status": func() error { return client.Get(t.Context(), "/v1/status", new(api.Status)) },
			"/v1/reload": func() error { return client.Post(t.Context(), "/v1/reload", nil, nil) },
			"/v1/chaos":  func() error { return client.Delete(t.Context(), "/v1/chaos/faults/billing") },
		} {
			if err := ask(); !errors.As(err, &refused) || !strings.Contains(refused.Text, "the admin token is missing or wrong") || refused.Hint == "" {
				t.Errorf("%s with %q: %v", path, token, err)
			}
		}
	}
	for _, path := range []string{"/healthz", "/metrics"} {
		res, err := http.Get(c.Admin + path)
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		if res.StatusCode != http.StatusOK {
			t.Errorf("%s is answered with %d", path, res.StatusCode)
		}
	}
	if err := c.api.Get(t.Context(), "/v1/status", new(api.Status)); err != nil {
		t.Error(err)
	}
}

func TestATokenIsMadeUpOnceAndKept(t *testing.T) {
	s := newShop(t)
	text, err := os.ReadFile(s.path)
	if err != nil {
		t.Fatal(err)
	}
	s.write("strangler.yaml", strings.Replace(string(text), ", token: secret", "", 1))
	var tokens []string
	for range 2 {
		c := s.start()
		token, err := Token(c.config())
		if err != nil || len(token) < 20 {
			t.Fatalf("%q, %v", token, err)
		}
		if err := (&api.Client{Base: c.Admin, Token: token}).Get(t.Context(), "/v1/status", new(api.Status)); err != nil {
			t.Error(err)
		}
		tokens = append(tokens, token)
		c.stop()
	}
	if tokens[0] != tokens[1] {
		t.Error("the token changed")
	}
	info, err := os.Stat(filepath.Join(filepath.Dir(s.path), "strangler-state", tokenFile))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
}

func TestTheOwnersInForceSurviveARestart(t *testing.T) {
	s := newShop(t)
	c := s.start()
	c.prove("pass")
	s.wants("canary 100%")
	c.reload()
	c.stop()
	s.build.Store("v2") // so that the step would not be taken now
	c = s.start()
	if r := c.reload().Routes[0]; r.Actual != "canary 100%" || c.by() != "service" {
		t.Errorf("after a restart: %+v", r)
	}
	s.wants("service")
	isWaiting(t, c.reload(), "canary 100%")
	c.stop()
	s.wants("monolith") // saved while nobody serves
	c = s.start()
	if r := c.reload().Routes[0]; r.Actual != "monolith" {
		t.Errorf("after another one: %+v", r)
	}
}

func TestOldEvidenceDoesNotCount(t *testing.T) {
	s := newShop(t)
	s.more = "evidence: {max_age: 1ns}\n"
	s.save()
	c := s.start()
	c.prove("pass")
	s.wants("canary 10%")
	isWaiting(t, c.reload(), "monolith", "old; 1ns is the limit")
}

func TestEvidenceFromTheFutureDoesNotCount(t *testing.T) {
	s := newShop(t)
	c := s.start()
	filed := ledger.Evidence{At: time.Now().Add(2 * time.Hour), Capability: "billing", Kind: "contract", Verdict: "pass", Summary: "filed before the clock was set back", By: "test", Subject: c.contracted()}
	if _, err := c.ledger.AddEvidence(t.Context(), filed); err != nil {
		t.Fatal(err)
	}
	s.wants("canary 10%")
	isWaiting(t, c.reload(), "monolith", "in the future: a clock was set back")
	c.prove("pass") // which is the latest, although it is dated earlier
	if r := c.reload().Routes[0]; r.Actual != "canary 10%" {
		t.Errorf("%+v", r)
	}
}

func TestReloadsAtOnceLeaveTheLastFileInForce(t *testing.T) {
	s := newShop(t)
	c := s.start()
	c.prove("pass")
	for i := range 30 {
		word := []string{"canary 100%", "monolith"}[i%2]
		reloading := make(chan error)
		go func() { reloading <- c.Reload(t.Context()) }()
		s.replace(word)
		for range 2 {
			go func() { reloading <- c.Reload(t.Context()) }()
		}
		for range 3 {
			if err := <-reloading; err != nil {
				t.Fatal(err)
			}
		}
		if r := c.Status(t.Context()).Capabilities[0].Routes[0]; r.Wanted != word || r.Actual != word {
			t.Fatalf("file %d says %q, in force is %+v", i, word, r)
		}
	}
}

// replace saves a word as editors do: whole.
func (s *shop) replace(word string) {
	s.t.Helper()
	owner, err := route.ParseOwner(word)
	if err != nil {
		s.t.Fatal(err)
	}
	p, err := config.SaveOwners(s.path, map[string]route.Owner{"GET /invoices": owner})
	if err != nil || len(p) != 1 {
		s.t.Fatal(p, err)
	}
}

func TestTheReasonOfARefusalIsTheFirstThingThatIsWrong(t *testing.T) {
	closed := []api.Finding{
		{Gate: "health", Verdict: api.Missing, Text: "a", Command: "do a"}, {Gate: "contract", Verdict: api.Missing, Text: "b"},
	}
	var e *api.Error
	if err := closedError("cutover of billing", closed); !errors.As(err, &e) || e.Code != api.ExitNotEnough || e.Text != "cutover of billing is refused\n  health: a\n  contract: b" || e.Hint != "do a" {
		t.Errorf("%+v", e)
	}
	closed[1].Verdict = api.Fail
	if err := closedError("cutover of billing", closed); !errors.As(err, &e) || e.Code != api.ExitNo {
		t.Errorf("%+v", e)
	}
}

func TestCloseLetsRequestsUnderWayEnd(t *testing.T) {
	s := newShop(t)
	inside, finish := make(chan struct{}), make(chan struct{})
	s.monolith.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/slow" {
			close(inside)
			<-finish
			io.WriteString(w, "to the end")
		}
	})
	c := s.start()
	got := make(chan string, 1)
	go func() {
		res, err := http.Get(c.URL + "/slow")
		if err != nil {
			got <- err.Error()
			return
		}
		defer res.Body.Close()
		body, err := io.ReadAll(res.Body)
		if err != nil {
			got <- err.Error()
			return
		}
		got <- string(body)
	}()
	<-inside
	closed := make(chan error, 1)
	go func() { closed <- c.Close(context.Background()) }()
	<-c.ctx.Done() // it is closing
	close(finish)
	if text := <-got; text != "to the end" {
		t.Error(text)
	}
	if err := <-closed; err != nil {
		t.Error(err)
	}
	c.Control = nil
}

func TestAWaiverIsShown(t *testing.T) {
	s := newShop(t)
	s.save(waiver("2099-01-31"))
	c := s.start()
	for _, f := range c.reload().Gates {
		if f.Gate == "contract" && (f.Verdict != api.Waived || !strings.Contains(f.Text, "no clients yet (it was: no contract evidence is on file)")) {
			t.Errorf("%+v", f)
		}
	}
}

func readAll(t testing.TB, res *http.Response) string {
	t.Helper()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(body)
}
