package shop_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"stranglerfig/contract-tests/shop"
)

// readers ask for a path all the time and count what is not a 200.
type readers struct {
	asked, failed atomic.Int64
	stop          context.CancelFunc
	wg            sync.WaitGroup
}

func browse(t *testing.T, w *shop.World, n int, path string) *readers {
	ctx, stop := context.WithCancel(context.Background())
	r := &readers{stop: stop}
	for range n {
		r.wg.Go(func() {
			for ctx.Err() == nil {
				r.asked.Add(1)
				res, err := http.Get("http://" + w.Addr.Proxy + path)
				if err != nil {
					r.failed.Add(1)
					continue
				}
				if _, err := io.Copy(io.Discard, res.Body); err != nil || res.StatusCode != http.StatusOK {
					r.failed.Add(1)
				}
				res.Body.Close()
			}
		})
	}
	t.Cleanup(r.done)
	return r
}

func (r *readers) done() { r.stop(); r.wg.Wait() }

// more waits until a few more requests have been answered.
func (r *readers) more(t *testing.T) {
	t.Helper()
	seen := r.asked.Load()
	eventually(t, "clients go on", func() bool { return r.asked.Load() > seen+50 })
}

// TestARouteMovesUnderTrafficWithoutAFailedRequest moves one route by the
// command and by hand, there and back.
func TestARouteMovesUnderTrafficWithoutAFailedRequest(t *testing.T) {
	w := world(t, shop.Options{Edit: func(text string) string {
		return strings.Replace(text, "contract: catalog.pact.json", "waive: [{gate: shadow, reason: test, by: tests, until: 2099-01-01}]\n    contract: catalog.pact.json", 1)
	}})
	for _, verb := range []string{"prepare", "copy", "verify"} {
		run(t, w, "data", verb, "catalog")
	}
	run(t, w, "contract", "verify", "catalog")
	traffic := browse(t, w, 4, "/products/7")
	traffic.more(t)

	out := run(t, w, "own", "GET /products/{id}", "service")
	if !strings.Contains(out, "GET /products/{id} is service") {
		t.Error(out)
	}
	if out := run(t, w, "explain", "GET", "/products/7", "-H", "Cookie: shop_session=x"); !strings.Contains(out, "→ the service") || !strings.Contains(out, `route "GET /products/{id}" is owned by the service`) {
		t.Error(out)
	}
	traffic.more(t)

	path := filepath.Join(w.Dir, "strangler.yaml")
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	edited := strings.Replace(string(raw), "GET /products/{id}:        service", "GET /products/{id}:        monolith", 1)
	if edited == string(raw) {
		t.Fatalf("the word is not where it was:\n%s", raw)
	}
	if err := os.WriteFile(path, []byte(edited), 0o644); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the hand edit is in force", func() bool {
		return strings.Contains(run(t, w, "explain", "GET", "/products/7"), "→ the monolith")
	})
	traffic.more(t)
	traffic.done()
	if n := traffic.failed.Load(); n > 0 {
		t.Errorf("%d of %d requests failed", n, traffic.asked.Load())
	}
}

// TestABadFileIsRefusedWholeAndTheOldOneStays edits the file badly by hand.
func TestABadFileIsRefusedWholeAndTheOldOneStays(t *testing.T) {
	w := world(t, shop.Options{})
	path := filepath.Join(w.Dir, "strangler.yaml")
	good, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	bad := strings.NewReplacer("GET /invoices:                monolith", "GET /invoices:                servcie", "state:", "sate:").Replace(string(good))
	if err := os.WriteFile(path, []byte(bad), 0o644); err != nil {
		t.Fatal(err)
	}
	eventually(t, "status tells", func() bool { return strings.Contains(run(t, w, "status"), "NOT in force") })
	line := func(text string) string {
		before, _, _ := strings.Cut(bad, text)
		return fmt.Sprintf("strangler.yaml:%d:", 1+strings.Count(before, "\n"))
	}
	out := run(t, w, "status")
	for _, text := range []string{`unknown key "sate"`, `did you mean "state"?`, `"servcie" is not an owner`, line("sate:"), line("servcie")} {
		if !strings.Contains(out, text) {
			t.Errorf("status does not say %q:\n%s", text, out)
		}
	}
	refused(t, w, 1, []string{"nothing was changed", "servcie"}, "check")
	res, err := http.Get("http://" + w.Addr.Proxy + "/products/7")
	if err != nil || res.StatusCode != http.StatusOK {
		t.Errorf("the old file is not in force: %v", err)
	}
	res.Body.Close()
	if err := os.WriteFile(path, good, 0o644); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the good file is back in force", func() bool { return !strings.Contains(run(t, w, "status"), "NOT in force") })
}

// TestWhatCannotBeDoneIsRefusedClearly goes through what clumsy users do.
func TestWhatCannotBeDoneIsRefusedClearly(t *testing.T) {
	w := world(t, shop.Options{})
	refused(t, w, 2, []string{"cutover of billing is refused", "strangler contract verify billing", "strangler data prepare billing", "strangler data rehearse billing"}, "cutover", "billing")
	refused(t, w, 1, []string{"already"}, "rollback", "billing")
	refused(t, w, 1, []string{`no capability is called "biling"`, "billing, catalog"}, "cutover", "biling")
	refused(t, w, 1, []string{"is neither a declared route nor a capability"}, "own", "GET /nowhere", "service")
	refused(t, w, 1, []string{"accepted are monolith, shadow [N%], canary N%, service"}, "own", "GET /invoices", "servce")
	refused(t, w, 1, []string{"changes together with the data", "strangler cutover billing"}, "own", "POST /invoices", "service")
	refused(t, w, 2, []string{"stays monolith", "contract"}, "own", "GET /invoices", "canary 10%")
	run(t, w, "own", "GET /invoices", "monolith")
	refused(t, w, 1, []string{"prepare it first"}, "data", "copy", "billing")
	refused(t, w, 1, []string{"was not confirmed", "--confirm"}, "data", "complete", "billing")
	refused(t, w, 1, []string{"prepare it first"}, "data", "complete", "catalog", "--confirm", "catalog")
	refused(t, w, 1, []string{"strangler help"}, "frobnicate")
	refused(t, w, 3, []string{"pid"}, "serve")

	// The ladder says the same.
	if out := run(t, w, "playbook", "billing"); !strings.Contains(out, "next: strangler data prepare billing") {
		t.Error(out)
	}
	// A contract file that is broken.
	path := filepath.Join(w.Dir, "billing.pact.json")
	if err := os.WriteFile(path, []byte(`{"interactions": [{"request": {"path": "/x"}}]}`), 0o644); err != nil {
		t.Fatal(err)
	}
	refused(t, w, 1, []string{"nothing was sent"}, "contract", "verify", "billing")
	if err := os.WriteFile(path, []byte(`{"interactions"`), 0o644); err != nil {
		t.Fatal(err)
	}
	refused(t, w, 1, []string{"nothing was sent"}, "contract", "verify", "billing")
	// The service is down.
	w.Billing.Kill()
	w.Billing = nil
	refused(t, w, 1, []string{"health", "cannot be reached"}, "cutover", "billing")
	// A database that is missing.
	if err := os.Rename(filepath.Join(w.Dir, "catalog.db"), filepath.Join(w.Dir, "away.db")); err != nil {
		t.Fatal(err)
	}
	refused(t, w, 1, []string{"catalog.db", "no such file"}, "data", "prepare", "catalog")
	run(t, w, "ledger", "verify")
}

// TestATakenPortIsNamed starts a second strangler with a state of its own on
// the same port.
func TestATakenPortIsNamed(t *testing.T) {
	w := world(t, shop.Options{})
	raw, err := os.ReadFile(filepath.Join(w.Dir, "strangler.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	other := strings.Replace(string(raw), "state:  ./strangler-state", "state:  ./other-state", 1)
	if err := os.WriteFile(filepath.Join(w.Dir, "other.yaml"), []byte(other), 0o644); err != nil {
		t.Fatal(err)
	}
	refused(t, w, 3, []string{w.Addr.Proxy, "taken by another process", "hint:"}, "serve", "-c", "other.yaml")
}

// TestAHandEditOfTheWriteWordsCutsOverThroughTheGates saves other write words,
// first without evidence, then with it.
func TestAHandEditOfTheWriteWordsCutsOverThroughTheGates(t *testing.T) {
	w := world(t, shop.Options{Edit: waived("contract", "rehearsal")})
	path := filepath.Join(w.Dir, "strangler.yaml")
	save := func(word string) {
		t.Helper()
		raw, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		lines := strings.Split(string(raw), "\n")
		for i, line := range lines {
			if strings.HasPrefix(strings.TrimSpace(line), "POST /invoices") {
				lines[i] = line[:strings.LastIndex(line, " ")+1] + word
			}
		}
		if err := os.WriteFile(path, []byte(strings.Join(lines, "\n")), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	save("service")
	eventually(t, "status says why not", func() bool {
		return strings.Contains(run(t, w, "status", "billing"), "wanted service: cutover of billing is refused")
	})
	save("monolith")
	ready(t, w)
	crew := hire(t, w, 2)
	save("service")
	eventually(t, "billing has moved", func() bool { return billing(t, w).Data.State == "moved" })
	save("monolith")
	eventually(t, "billing has come home", func() bool { return billing(t, w).Data.State == "ready" })
	crew.settle(t)
}

// TestStreamsPassAndATerminatedStranglerFinishesWhatWasBegun reads an event
// stream through the proxy and ends the proxy during a held request.
func TestStreamsPassAndATerminatedStranglerFinishesWhatWasBegun(t *testing.T) {
	w := world(t, shop.Options{})
	req, err := http.NewRequestWithContext(t.Context(), "GET", "http://"+w.Addr.Proxy+"/orders/1/events", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+shop.Token)
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	first := make([]byte, 64)
	if n, err := res.Body.Read(first); err != nil || !strings.Contains(string(first[:n]), "event: status") {
		t.Errorf("the stream begins with %q, %v", first[:n], err)
	}
	res.Body.Close()

	// Half a request is on its way when the strangler is asked to end.
	conn, err := net.Dial("tcp", w.Addr.Proxy)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	body := `{"customer_id":1,"amount":3,"note":"half"}`
	fmt.Fprintf(conn, "POST /invoices HTTP/1.1\r\nHost: shop\r\nAuthorization: Bearer %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", shop.Token, len(body), body[:10])
	eventually(t, "the request has reached the strangler", func() bool {
		out, err := os.ReadFile(filepath.Join(w.Dir, "access.log"))
		return err == nil && len(out) > 0
	})
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	ended := make(chan error, 1)
	go func() { ended <- w.Proxy.Stop(ctx) }()
	eventually(t, "no new connection is taken", func() bool {
		probe, err := net.Dial("tcp", w.Addr.Proxy)
		if err == nil {
			probe.Close()
		}
		return err != nil
	})
	fmt.Fprint(conn, body[10:])
	answer := make([]byte, 12)
	if _, err := io.ReadFull(conn, answer); err != nil || string(answer) != "HTTP/1.1 201" {
		t.Errorf("the request that had begun was answered %q, %v", answer, err)
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// TestAFileThatForgetsAMoveUnderWayIsRefused takes the data out of the file
// while the databases still hold fences, and changes the mapping under it.
func TestAFileThatForgetsAMoveUnderWayIsRefused(t *testing.T) {
	w := world(t, shop.Options{})
	ready(t, w)
	path := filepath.Join(w.Dir, "strangler.yaml")
	good, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	head, rest, _ := strings.Cut(string(good), "    data:\n")
	_, rest, _ = strings.Cut(rest, "    contract: billing.pact.json")
	for text, says := range map[string]string{
		head + "    contract: billing.pact.json" + rest:                                          "capabilities.billing.data cannot be taken out of the file",
		strings.Replace(string(good), "reference: ref", "reference: {from: ref, cast: text}", 1): "cannot change while its move is ready",
		strings.Replace(string(good), `"sqlite:billing.db"`, `"sqlite:elsewhere.db"`, 1):         "cannot change while its move is ready",
	} {
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		eventually(t, "status says "+says, func() bool { return strings.Contains(run(t, w, "status"), says) })
	}
	if err := os.WriteFile(path, good, 0o644); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the good file is back in force", func() bool { return !strings.Contains(run(t, w, "status"), "NOT in force") })
	run(t, w, "data", "rehearse", "billing")
}
