package shop_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"stranglerfig/contract-tests/harness"
	"stranglerfig/contract-tests/harness/require"
	"stranglerfig/contract-tests/history"
	"stranglerfig/contract-tests/shop"
)

// TestAMoveCanBeCancelledAndBegunAgain leaves nothing behind in between.
func TestAMoveCanBeCancelledAndBegunAgain(t *testing.T) {
	w := world(t, shop.Options{})
	ready(t, w)
	run(t, w, "data", "cancel", "billing")
	for _, file := range []string{"shop.db", "billing.db"} {
		left, err := w.Count(t.Context(), file, "SELECT name, 1 FROM sqlite_schema WHERE name LIKE 'strangler%'")
		if err != nil || len(left) > 0 {
			t.Errorf("%s still holds %v, %v", file, left, err)
		}
	}
	rows, err := w.Count(t.Context(), "billing.db", "SELECT 'rows', count(*) FROM invoices")
	if err != nil || rows["rows"] != 0 {
		t.Errorf("the service still holds %v, %v", rows, err)
	}
	ready(t, w)
}

// TestACompletedMoveStaysWithTheService ends a move for good and restarts the
// strangler: writes go on, and there is no way back.
func TestACompletedMoveStaysWithTheService(t *testing.T) {
	w := world(t, shop.Options{Edit: waived("contract", "rehearsal", "shadow")})
	ready(t, w)
	run(t, w, "cutover", "billing")
	run(t, w, "own", "billing", "service")
	out := run(t, w, "data", "complete", "billing", "--confirm", "billing")
	if !strings.Contains(out, "the move is over") {
		t.Error(out)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if err := w.Proxy.Stop(ctx); err != nil {
		t.Fatal(err)
	}
	if err := w.StartProxy(ctx); err != nil {
		t.Fatal(err)
	}
	crew := hire(t, w, 2)
	eventually(t, "clerks go on", func() bool { return crew.acked() > 20 })
	crew.dismiss()
	if crew.states[201] < 20 || len(crew.states) != 1 {
		t.Errorf("clerks saw %v", crew.states)
	}
	refused(t, w, 1, []string{"the move is over"}, "rollback", "billing")
	if out := run(t, w, "playbook", "billing"); !strings.Contains(out, "✓ the move is completed") {
		t.Error(out)
	}
}

// TestTheShopRunsOnPostgreSQL starts the monolith on a PostgreSQL database,
// seeds it and asks it for what the seed made.
func TestTheShopRunsOnPostgreSQL(t *testing.T) {
	dsn := database(t, postgres(t).DSN)
	if out, err := exec.Command(filepath.Join(bin, "monolith"), "seed", "--database", dsn, "--size", "50").CombinedOutput(); err != nil {
		t.Fatalf("seed: %v\n%s", err, out)
	}
	p, err := harness.Start(t.Context(), harness.Command{Name: "monolith", Path: filepath.Join(bin, "monolith"), Args: []string{"--addr", "127.0.0.1:0", "--database", dsn}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Stop(context.Background()); err != nil {
			t.Error(err)
		}
	})
	for path, want := range map[string]string{"/invoices/7": `"no":"INV-000007"`, "/products/7": `"sku":"SKU-0007"`, "/readyz": "ok"} {
		req, err := http.NewRequestWithContext(t.Context(), "GET", p.URL+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer "+shop.Token)
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(res.Body)
		res.Body.Close()
		if err != nil || res.StatusCode != http.StatusOK || !strings.Contains(string(body), want) {
			t.Errorf("GET %s: %d %s, %v", path, res.StatusCode, body, err)
		}
	}
}

// postgres returns a server, or skips where there is none.
func postgres(t *testing.T) *harness.Server {
	t.Helper()
	server, err := harness.Postgres(t.Context())
	if errors.Is(err, harness.ErrNoPostgres) {
		require.Missing(t, "postgres", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Stop)
	return server
}

// database creates a database of the test's own on a server.
func database(t *testing.T, dsn string) string {
	t.Helper()
	ctx := context.Background()
	conn, err := pgx.Connect(ctx, dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(ctx)
	name := fmt.Sprintf("shop_%d", time.Now().UnixNano())
	if _, err := conn.Exec(ctx, "CREATE DATABASE "+name); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		conn, err := pgx.Connect(ctx, dsn)
		if err != nil {
			t.Error(err)
			return
		}
		defer conn.Close(ctx)
		if _, err := conn.Exec(ctx, "DROP DATABASE IF EXISTS "+name+" WITH (FORCE)"); err != nil {
			t.Error(err)
		}
	})
	cfg := conn.Config()
	return fmt.Sprintf("postgres://%s:%s@%s:%d/%s?sslmode=disable", cfg.User, cfg.Password, cfg.Host, cfg.Port, name)
}

// TestBillingIsCutOverAndRolledBackWhateverTheDatabases moves billing there and
// back, twice, under clerks who write all along, with PostgreSQL on either side
// and on both.
func TestBillingIsCutOverAndRolledBackWhateverTheDatabases(t *testing.T) {
	server := postgres(t)
	for name, o := range map[string]shop.Options{
		"from PostgreSQL to SQLite":     {Database: database(t, server.DSN)},
		"from SQLite to PostgreSQL":     {BillingDatabase: database(t, server.DSN)},
		"from PostgreSQL to PostgreSQL": {Database: database(t, server.DSN), BillingDatabase: database(t, server.DSN)},
	} {
		t.Run(name, func(t *testing.T) {
			o.Edit = waived("contract", "rehearsal")
			w := world(t, o)
			ready(t, w)
			run(t, w, "data", "rehearse", "billing")
			crew := hire(t, w, 2)
			for range 2 {
				for _, verb := range []string{"cutover", "rollback"} {
					before := crew.acked()
					eventually(t, "clerks go on", func() bool { return crew.acked() > before+10 })
					t.Log(strings.TrimSpace(run(t, w, verb, "billing")))
				}
			}
			crew.dismiss()
			run(t, w, "data", "verify", "billing") // which waits for the follower
			for file, query := range notes {
				present, err := w.Count(t.Context(), file, query)
				if err != nil {
					t.Fatal(err)
				}
				if found := history.Check(crew.log.Operations(), "invoice", present); !found.Clean() || found.Acked < 40 {
					t.Errorf("%s: %+v", file, found)
				}
			}
			run(t, w, "data", "cancel", "billing")
		})
	}
}

// TestAMoveThatCannotBeOpenedHoldsOnlyItsCapability changes a mapping under way
// while the strangler is down: the rest of the business is served.
func TestAMoveThatCannotBeOpenedHoldsOnlyItsCapability(t *testing.T) {
	w := world(t, shop.Options{Edit: func(text string) string { return text + "hold: {wait: 100ms}\n" }})
	ready(t, w)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if err := w.Proxy.Stop(ctx); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(w.Dir, "strangler.yaml")
	good, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	bad := strings.Replace(string(good), "reference: ref", "reference: {from: ref, cast: text}", 1)
	if err := os.WriteFile(path, []byte(bad), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := w.StartProxy(ctx); err != nil {
		t.Fatal(err)
	}
	if d := billing(t, w).Data; !strings.Contains(d.Problem, "the mapping was changed") {
		t.Errorf("status: %+v", d)
	}
	for path, want := range map[string]int{"/products/7": http.StatusOK, "/invoices/7": http.StatusServiceUnavailable} {
		res, err := http.Get("http://" + w.Addr.Proxy + path)
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		if res.StatusCode != want {
			t.Errorf("%s: %d, want %d", path, res.StatusCode, want)
		}
	}
	if err := os.WriteFile(path, good, 0o644); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the restored mapping is taken up", func() bool { d := billing(t, w).Data; return d != nil && d.State == "ready" && d.Live })
}
