package cli

import (
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"stranglerfig/contract-tests/harness"
	"stranglerfig/strangler-proxy/control"
)

// TestRoutesThatAskForSomethingAreOwnedListedAndExplained runs the verbs beside
// a strangler that serves.
func TestRoutesThatAskForSomethingAreOwnedListedAndExplained(t *testing.T) {
	transcripts, err := filepath.Abs("testdata/predicates.golden")
	if err != nil {
		t.Fatal(err)
	}
	t.Chdir(t.TempDir())
	application := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	t.Cleanup(application.Close)
	admin, err := harness.FreePort()
	if err != nil {
		t.Fatal(err)
	}
	text := "listen: 127.0.0.1:0\nadmin: {listen: " + admin + ", token: secret}\naccess_log: off\nmonolith: {url: " + application.URL + "}\n" +
		"capabilities:\n  billing:\n    service: {url: " + application.URL + "}\n    routes:\n" +
		"      GET /invoices: monolith\n      GET /invoices header:X-Version=2: monolith\n      GET /invoices header:X-Version=2 cookie:beta query:kind=a: monolith\n"
	if err := os.WriteFile("strangler.yaml", []byte(text), 0o644); err != nil {
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
	said := strangler(t, "own", "GET /invoices  header:X-Version=2 cookie:beta query:kind=a", "shadow") +
		strangler(t, "own", "GET /invoices header:X-Version=3", "shadow") +
		strangler(t, "routes") +
		strangler(t, "explain", "GET", "/invoices", "-H", "X-Version: 1") +
		strangler(t, "explain", "GET", "/invoices", "-H", "X-Version: 2", "--cookie", "session=1") +
		strangler(t, "explain", "GET", "/invoices?page=2", "-H", "X-Version: 2", "--cookie", "session=1", "--cookie", "beta=on", "--query", "kind=a") +
		strangler(t, "explain", "GET", "/invoices", "-H", "X-Version: 2", "-H", "X-Version: 3") +
		strangler(t, "explain", "GET", "/invoices", "--cookie", "beta")
	golden(t, transcripts, strings.ReplaceAll(said, application.URL, "http://127.0.0.1:9000"))
}
