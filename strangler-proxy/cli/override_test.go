package cli

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"stranglerfig/contract-tests/harness"
	"stranglerfig/strangler-proxy/control"
)

// TestATokenThatIsMadeIsObeyed makes tokens as a person would, brings them with
// requests and has them explained.
func TestATokenThatIsMadeIsObeyed(t *testing.T) {
	t.Chdir(t.TempDir())
	side := func(name string) string {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("X-Answered-By", name) }))
		t.Cleanup(s.Close)
		return s.URL
	}
	admin, err := harness.FreePort()
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("STRANGLER_OVERRIDE_KEY", strings.Repeat("k", 32))
	text := "listen: 127.0.0.1:0\nadmin: {listen: " + admin + ", token: secret}\naccess_log: off\noverride: {key: \"${STRANGLER_OVERRIDE_KEY}\"}\nmonolith: {url: " + side("monolith") + "}\n" +
		"capabilities:\n  billing:\n    service: {url: " + side("service") + "}\n    routes:\n      GET /invoices: monolith\n      POST /invoices: monolith\n"
	if err := os.WriteFile("strangler.yaml", []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := control.Start(t.Context(), control.Options{Config: "strangler.yaml", Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(t.Context()); err != nil {
			t.Error(err)
		}
	})
	for _, scope := range []string{"billing", "GET /invoices"} {
		var out, errOut bytes.Buffer
		if code := Main([]string{"override", scope, "service", "--for", "2h", "--json"}, &out, &errOut); code != 0 {
			t.Fatalf("exit code %d: %s", code, &errOut)
		}
		var made struct {
			Token, Header, Cookie, Scope, Side string
			Until                              time.Time
		}
		if err := json.Unmarshal(out.Bytes(), &made); err != nil {
			t.Fatal(err)
		}
		if left := time.Until(made.Until); made.Scope != scope || made.Side != "service" || left > 2*time.Hour || left < time.Hour {
			t.Errorf("made %+v", made)
		}
		for _, header := range [][2]string{{made.Header, made.Token}, {"Cookie", made.Cookie + "=" + made.Token}} {
			r, err := http.NewRequest("GET", c.URL+"/invoices", nil)
			if err != nil {
				t.Fatal(err)
			}
			r.Header.Set(header[0], header[1])
			res, err := http.DefaultClient.Do(r)
			if err != nil {
				t.Fatal(err)
			}
			res.Body.Close()
			if by := res.Header.Get("X-Answered-By"); by != "service" {
				t.Errorf("%s with %s was answered by the %s: %s", scope, header[0], by, res.Header.Get(made.Header))
			}
		}
		said := strangler(t, "explain", "GET", "/invoices", "-H", made.Header+": "+made.Token)
		if !strings.Contains(said, "→ the service") || !strings.Contains(said, "reason: a tester's override asks for the service") || !strings.Contains(said, "override: service") {
			t.Error(said)
		}
		if said := strangler(t, "explain", "POST", "/invoices", "--cookie", made.Cookie+"="+made.Token); !strings.Contains(said, "→ the monolith") || !strings.Contains(said, "override: ignored: "+map[string]string{"billing": "a write goes to its owner"}[scope]) {
			t.Error(said)
		}
	}
}

func TestNoTokenIsMadeForWhatCannotBeOverridden(t *testing.T) {
	t.Chdir(t.TempDir())
	const routes = "monolith: {url: http://127.0.0.1:1}\ncapabilities:\n  billing:\n    service: {url: http://127.0.0.1:2}\n    routes: {GET /invoices: monolith, POST /invoices: monolith}\n"
	write := func(text string) {
		if err := os.WriteFile("strangler.yaml", []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(routes)
	if said := strangler(t, "override", "billing", "service"); !strings.Contains(said, "has no override.key") || !strings.HasSuffix(said, "exit code 1\n") {
		t.Error(said)
	}
	write("override: {key: " + strings.Repeat("k", 32) + "}\n" + routes)
	for want, args := range map[string][]string{
		"writes, and writes are not overridden":        {"POST /invoices", "service"},
		"is neither a declared route nor a capability": {"GET /orders", "service"},
		"is no side":                       {"billing", "both"},
		"accepted are 1s to 720h0m0s":      {"billing", "service", "--for", "721h"},
		"--for 0s: accepted are 1s to 720": {"billing", "service", "--for", "0s"},
	} {
		if said := strangler(t, append([]string{"override"}, args...)...); !strings.Contains(said, want) || !strings.HasSuffix(said, "exit code 1\n") {
			t.Errorf("%s; want %q", said, want)
		}
	}
	if said := strangler(t, "override", "GET /invoices", "monolith"); !strings.Contains(said, "reads of GET /invoices go to the monolith until ") || !strings.Contains(said, "X-Strangler-Override: monolith.") {
		t.Error(said)
	}
}
