package control

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"stranglerfig/strangler-proxy/upstream"
)

func TestWhatIsSaidAboutClientsNeedsARestart(t *testing.T) {
	s := newShop(t)
	c := s.start()
	for key, text := range map[string]string{
		"tls":             "tls: {certificate: cert.pem, key: key.pem}",
		"trusted_proxies": "trusted_proxies: 10.0.0.0/8",
		"forwarded":       "forwarded: both",
		"request_id":      "request_id: off",
		"tracing":         "tracing: {endpoint: \"http://127.0.0.1:4318\"}",
		"limits":          "limits: {idle: 1m}",
		"io_uring":        "io_uring: off",
	} {
		s.save(func(s *shop) { s.more = text + "\n" })
		if err := c.Reload(t.Context()); err == nil || !strings.Contains(err.Error(), key+" cannot change while serving; restart") {
			t.Errorf("%s: %v", key, err)
		}
	}
}

// sayOfBilling adds to what the file says about billing's service.
func (s *shop) sayOfBilling(more string) {
	s.t.Helper()
	text, err := os.ReadFile(s.path)
	if err != nil {
		s.t.Fatal(err)
	}
	s.write(filepath.Base(s.path), strings.Replace(string(text), s.service.URL+"}", s.service.URL+more+"}", 1))
}

// connected lists the backends that billing and another capability of the same
// service have, when each says something about it.
func connected(t *testing.T, billing, other string) (first, second *upstream.Backend) {
	t.Helper()
	s := newShop(t)
	s.more = "  other:\n    service: {url: " + s.service.URL + other + "}\n"
	s.save()
	c := s.start()
	s.sayOfBilling(billing)
	c.reload()
	_, first = c.sides("billing")
	_, second = c.sides("other")
	if first == nil || second == nil {
		t.Fatal("a capability has no backend")
	}
	return first, second
}

func TestCapabilitiesOfOneServiceShareItsConnections(t *testing.T) {
	if first, second := connected(t, "", ""); first != second {
		t.Error("they do not")
	}
}

func TestWhatIsSaidAboutAServiceIsForOneCapabilityAlone(t *testing.T) {
	if first, second := connected(t, "", ", limits: {requests: 1}"); first == second {
		t.Error("the limit of one capability is the other's as well")
	}
	if first, second := connected(t, ", timeouts: {answer: 1s}", ""); first == second {
		t.Error("after a reload, the timeout of one capability is the other's as well")
	}
}

func TestABackendThatIsNotNamedAnyMoreIsLetGo(t *testing.T) {
	s := newShop(t)
	c := s.start()
	_, before := c.sides("billing")
	s.sayOfBilling(", breaker: {failures: 9}")
	c.reload()
	_, after := c.sides("billing")
	c.mu.Lock()
	defer c.mu.Unlock()
	if after == before || len(c.backends) != 2 {
		t.Errorf("there are %d backends", len(c.backends))
	}
}
