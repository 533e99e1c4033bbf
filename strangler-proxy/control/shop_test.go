package control

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"stranglerfig/migrations/ledger"
	"stranglerfig/strangler-proxy/control/api"
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
	nameless          atomic.Bool  // the monolith does not say its build
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
		} else if s.nameless.Load() {
			w.WriteHeader(http.StatusNotFound)
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
