package control

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"stranglerfig/migrations/ledger"
	"stranglerfig/strangler-proxy/config"
	"stranglerfig/strangler-proxy/control/api"
	"stranglerfig/strangler-proxy/route"
)

// shop is a monolith, a billing service and a config file for them.
type shop struct {
	t                 testing.TB
	monolith, service *httptest.Server
	build             atomic.Value // of the service
	breaks            atomic.Bool  // the service hangs up on requests
	alike             atomic.Bool  // the service answers as the monolith does
	noise             atomic.Int64 // each answer has another number, once this is not 0
	old               atomic.Value // build of the monolith, "" at first
	own               atomic.Bool  // each side has ids of its own
	path              string       // of the file
	routes, more      string       // of billing, in the file
	listen            string
}

func newShop(t testing.TB) *shop {
	t.Helper()
	s := &shop{t: t, path: filepath.Join(t.TempDir(), "strangler.yaml"), routes: "GET /invoices: monolith", listen: "127.0.0.1:0"}
	s.build.Store("v1")
	s.monolith = s.application("monolith")
	s.service = s.application("service")
	s.write("billing.pact.json", "{}")
	s.save()
	return s
}

func (s *shop) application(name string) *httptest.Server {
	mux := http.NewServeMux()
	mux.HandleFunc("/readyz", func(http.ResponseWriter, *http.Request) {})
	mux.HandleFunc("/buildz", func(w http.ResponseWriter, _ *http.Request) {
		if name == "service" {
			name := s.build.Load().(string)
			io.WriteString(w, name+"\n")
		} else if build, ok := s.old.Load().(string); ok {
			io.WriteString(w, build)
		}
	})
	mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) {
		if name == "service" && s.breaks.Load() {
			panic(http.ErrAbortHandler)
		}
		said := name
		if s.alike.Load() {
			said = "monolith"
		}
		if s.noise.Load() != 0 {
			w.Header().Set("Content-Type", "application/json")
			said = fmt.Sprintf(`{"said": %q, "n": %d}`, said, s.noise.Add(1))
		}
		if s.own.Load() {
			w.Header().Set("Content-Type", "application/json")
			said = fmt.Sprintf(`{"id": %d}`, len(name)) // 8 and 7
		}
		io.WriteString(w, said)
	})
	server := httptest.NewServer(mux)
	s.t.Cleanup(server.Close)
	return server
}

func (s *shop) write(name, text string) {
	s.t.Helper()
	if err := os.WriteFile(filepath.Join(filepath.Dir(s.path), name), []byte(text), 0o644); err != nil {
		s.t.Fatal(err)
	}
}

// save writes the file; set alters routes and more of billing before.
func (s *shop) save(set ...func(*shop)) {
	s.t.Helper()
	for _, f := range set {
		f(s)
	}
	text := "listen: " + s.listen + "\nadmin: {listen: 127.0.0.1:0, token: secret}\naccess_log: off\n" +
		"monolith: {url: " + s.monolith.URL + "}\ncapabilities:\n  billing:\n    service: {url: " + s.service.URL + "}\n    contract: billing.pact.json\n    routes:\n"
	for _, r := range strings.Split(s.routes, "; ") {
		text += "      " + r + "\n"
	}
	s.write(filepath.Base(s.path), text+s.more)
}

// wants saves a word for GET /invoices.
func (s *shop) wants(word string) {
	s.save(func(s *shop) { s.routes = "GET /invoices: " + word })
}

// server is a control with a client for its admin API.
type server struct {
	*Control
	t   testing.TB
	api *api.Client
}

func (s *shop) start() *server { return s.startLogging(slog.New(slog.DiscardHandler)) }

func (s *shop) startLogging(log *slog.Logger) *server {
	s.t.Helper()
	c, err := Start(s.t.Context(), Options{Config: s.path, Log: log})
	if err != nil {
		s.t.Fatal(err)
	}
	running := &server{c, s.t, &api.Client{Base: c.Admin, Token: "secret"}}
	s.t.Cleanup(func() {
		if running.Control != nil {
			running.stop()
		}
	})
	return running
}

func (s *server) stop() {
	s.t.Helper()
	http.DefaultClient.CloseIdleConnections() // a drain would let them ask once more
	if err := s.Close(context.Background()); err != nil {
		s.t.Error(err)
	}
	s.Control = nil
}

// reload brings the file into force and returns where billing stands.
func (s *server) reload() api.Capability {
	s.t.Helper()
	s.probes.mu.Lock()
	clear(s.probes.known) // what was asked a moment ago is asked again
	s.probes.mu.Unlock()
	var status api.Status
	if err := s.api.Post(s.t.Context(), "/v1/reload", nil, &status); err != nil {
		s.t.Fatal(err)
	}
	return status.Capabilities[0]
}

// by is who answers GET /invoices.
func (s *server) by() string {
	s.t.Helper()
	res, err := http.Get(s.URL + "/invoices")
	if err != nil {
		s.t.Fatal(err)
	}
	defer res.Body.Close()
	return readAll(s.t, res)
}

// prove files that both sides fulfil the contract as everything is now.
func (s *server) prove(verdict string) {
	s.t.Helper()
	subject := s.contracted()
	if err := s.api.Post(s.t.Context(), "/v1/evidence", api.EvidenceRequest{Details: []byte(`{"verdicts":{"evidence":3}}`), Capability: "billing", Kind: "contract", Verdict: verdict, Summary: "12 interactions", By: "test",
		Contract: subject.Contract, Config: subject.Config, MonolithBuild: subject.MonolithBuild, ServiceBuild: subject.ServiceBuild,
	}, nil); err != nil {
		s.t.Fatal(err)
	}
}

// contracted is what evidence of billing's contract is about.
func (s *server) contracted() ledger.Subject {
	s.t.Helper()
	p, _ := s.config().Capability("billing")
	subject, err := s.subject(s.t.Context(), p)
	if err != nil {
		s.t.Fatal(err)
	}
	if subject.Contract, err = ContractDigest(p.Contract); err != nil {
		s.t.Fatal(err)
	}
	return subject
}

// entries are the journal's entries of a kind.
func (s *server) entries(kind string) []ledger.Entry {
	s.t.Helper()
	all, err := s.ledger.Entries(s.t.Context(), ledger.Filter{Kind: kind})
	if err != nil {
		s.t.Fatal(err)
	}
	return all
}

// isWaiting checks that a step up is not taken, and that what would settle it
// is named.
func isWaiting(t *testing.T, p api.Capability, actual string, why ...string) {
	t.Helper()
	r := p.Routes[0]
	if r.Actual != actual || r.Wanted == actual {
		t.Errorf("wanted is %q, actual %q; want it to stay %q", r.Wanted, r.Actual, actual)
	}
	for _, part := range why {
		if !strings.Contains(r.Why, part) {
			t.Errorf("the reason is %q; want it to say %q", r.Why, part)
		}
	}
}

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
