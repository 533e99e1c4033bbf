package shop_test

import (
	"context"
	"errors"
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"

	"stranglerfig/contract-tests/shop"
)

var update = flag.Bool("update", false, "write the golden files anew")

// differing is what differs from run to run in a transcript of a dry run, and
// from version to version of the server.
var differing = []struct {
	text *regexp.Regexp
	by   string
}{
	{regexp.MustCompile(`(strangler_[a-z_]+_)[0-9a-f]{10}`), "${1}NAME"},
	{regexp.MustCompile(`[0-9.]+ [KMGT]?i?B\b`), "SIZE"},
	{regexp.MustCompile(`how much is free cannot be asked|SIZE are free`), "FREE"},
	{regexp.MustCompile(`of process [0-9]+ \([^)]*\) has been open for [^:]+`), "of a process has been open for long"},
}

// TestADryRunPrintsEveryProblemAndStatement of billing's move from PostgreSQL to
// PostgreSQL, and changes nothing: first in a world that has some problems, then
// without those that forbid it.
func TestADryRunPrintsEveryProblemAndStatement(t *testing.T) {
	server := postgres(t)
	o := shop.Options{Database: database(t, server.DSN), BillingDatabase: database(t, server.DSN)}
	w := world(t, o)
	alter := func(dsn, query string) {
		t.Helper()
		conn, err := pgx.Connect(t.Context(), dsn)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close(context.Background())
		if _, err := conn.Exec(t.Context(), query); err != nil {
			t.Fatalf("%s: %v", query, err)
		}
	}
	alter(o.Database, "ANALYZE; ALTER TABLE inv_pay ALTER ref TYPE varchar(300); CREATE TABLE audit (inv bigint REFERENCES inv)")
	alter(o.BillingDatabase, `ALTER TABLE payments ALTER amount_cents TYPE int, ALTER reference TYPE varchar(40);
		CREATE INDEX payments_reference ON payments (reference); CREATE INDEX payments_described ON payments (amount_cents); COMMENT ON INDEX payments_described IS 'for the month';
		ALTER TABLE invoices ADD dunned text NOT NULL`)
	got := "# with problems\n" + dryRun(t, w, 1)
	alter(o.BillingDatabase, "ALTER TABLE invoices DROP dunned")
	got += "\n# without those that forbid it\n" + dryRun(t, w, 0)
	if again := dryRun(t, w, 0); !strings.HasSuffix(got, again) {
		t.Errorf("the dry run has changed something:\n%s", again)
	}
	file := filepath.Join("testdata", "dry-run.golden")
	if *update {
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(string(want), got); d != "" {
		t.Errorf("go test -update writes it anew (-golden +got):\n%s", d)
	}
}

// dryRun returns what a dry run prints, made comparable.
func dryRun(t *testing.T, w *shop.World, code int) string {
	t.Helper()
	out, err := w.Strangler(t.Context(), "data", "prepare", "billing", "--dry-run")
	var exit *exec.ExitError
	if errors.As(err, &exit) && exit.ExitCode() != code || (err == nil) != (code == 0) {
		t.Errorf("%v, want exit code %d\n%s", err, code, out)
	}
	for _, d := range differing {
		out = d.text.ReplaceAllString(out, d.by)
	}
	return out
}

// TestAForgottenWriterIsSeenAndARehearsalWarnsOfIt: a job that writes past the
// proxy, which nobody has thought of.
func TestAForgottenWriterIsSeenAndARehearsalWarnsOfIt(t *testing.T) {
	server := postgres(t)
	o := shop.Options{Database: database(t, server.DSN), BillingDatabase: database(t, server.DSN)}
	o.Edit = func(text string) string {
		return strings.Replace(waived("contract")(text), "contract: billing.pact.json", "contract: billing.pact.json\n    writers: [day job]", 1)
	}
	w := world(t, o)
	run(t, w, "data", "prepare", "billing", "--observe")
	for _, job := range []string{"day job", "night job"} {
		config, err := pgx.ParseConfig(o.Database)
		if err != nil {
			t.Fatal(err)
		}
		config.RuntimeParams["application_name"] = job
		conn, err := pgx.ConnectConfig(t.Context(), config)
		if err != nil {
			t.Fatal(err)
		}
		_, err = conn.Exec(t.Context(), "UPDATE inv SET note = note WHERE id = 1")
		if err := errors.Join(err, conn.Close(t.Context())); err != nil {
			t.Fatal(err)
		}
	}
	out := run(t, w, "data", "writers", "billing")
	if !strings.Contains(out, `unknown: monolith's inv: update by role`) || !strings.Contains(out, `application "night job"`) || strings.Count(out, "unknown: ") != strings.Count(out, `application "night job"`) {
		t.Errorf("data writers prints\n%s", out)
	}
	ready(t, w)
	out = run(t, w, "data", "rehearse", "billing")
	if !strings.Contains(out, `does not name: "night job" (role `) || strings.Contains(out, "day job") {
		t.Errorf("the rehearsal does not warn of the night job, or of others:\n%s", out)
	}
	run(t, w, "data", "cancel", "billing")
}
