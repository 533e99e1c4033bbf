package shop_test

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"stranglerfig/contract-tests/harness"
	"stranglerfig/contract-tests/shop"
	"stranglerfig/strangler-proxy/control/api"
)

// buildWith compiles billing with one text of its source replaced, and
// returns the command's name.
func buildWith(t *testing.T, name, file, old, new string) string {
	t.Helper()
	root, err := harness.Root()
	if err != nil {
		t.Fatal(err)
	}
	source := filepath.Join(root, file)
	text, err := os.ReadFile(source)
	if err != nil {
		t.Fatal(err)
	}
	if strings.Count(string(text), old) != 1 {
		t.Fatalf("%s has %q not once", file, old)
	}
	dir := t.TempDir()
	changed, overlay := filepath.Join(dir, "changed.go"), filepath.Join(dir, "overlay.json")
	raw, err := json.Marshal(map[string]map[string]string{"Replace": {source: changed}})
	if err != nil {
		t.Fatal(err)
	}
	for path, content := range map[string]string{changed: strings.Replace(string(text), old, new, 1), overlay: string(raw)} {
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.CommandContext(t.Context(), "go", "build", "-overlay", overlay, "-o", filepath.Join(bin, name), "./extracted/billing")
	cmd.Dir, cmd.Env = root, append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return name
}

// pairOf are the flags that name a world's scratch pair.
func pairOf(w *shop.World) []string {
	return []string{"--unsafe", "--states", "--target", w.ScratchTargets(), "-H", "Authorization: Bearer " + shop.Token}
}

// TestABugInABuildIsCaughtBeforeItsCutover, whether it shows in an answer or
// only in what is written.
func TestABugInABuildIsCaughtBeforeItsCutover(t *testing.T) {
	for name, bug := range map[string]struct{ file, old, new, says string }{
		"a wrong word in an answer":               {"extracted/billing/invoices/service.go", `"exceeds the open amount "`, `"exceeds the amount "`, "service-bug"},
		"an invoice that is paid instead of void": {"extracted/billing/invoices/service.go", "setStatus(tx, id, row.Status, row.UpdatedAt)", "setStatus(tx, id, paid, row.UpdatedAt)", "in the databases: $.rows.invoices.status: value: expected void, got paid"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			build := buildWith(t, "billing-"+strings.ReplaceAll(t.Name(), "/", "-"), bug.file, bug.old, bug.new)
			w := world(t, shop.Options{Scratch: true, Billing: build})
			ready(t, w)
			run(t, w, "data", "rehearse", "billing")
			verify := append([]string{"contract", "verify", "billing", "--effects", w.ScratchDatabases()}, pairOf(w)...)
			refused(t, w, api.ExitNo, []string{bug.says}, verify...)
			refused(t, w, api.ExitNo, []string{"billing: no", "contract  fail"}, "can-cutover", "billing")
			refused(t, w, api.ExitNo, []string{"cutover of billing is refused", "contract: "}, "cutover", "billing")
			if b := billing(t, w); b.WriteOwner != "monolith" {
				t.Errorf("the %s owns the writes", b.WriteOwner)
			}
		})
	}
}

// TestTheRightBuildPassesWithItsEffectsAndIsAdmitted, and the pack of its
// cutover shows by what.
func TestTheRightBuildPassesWithItsEffectsAndIsAdmitted(t *testing.T) {
	w := world(t, shop.Options{Scratch: true})
	refused(t, w, api.ExitNotEnough, []string{"billing: not enough", "→ strangler data prepare billing"}, "can-cutover", "billing")
	ready(t, w)
	run(t, w, "data", "rehearse", "billing")
	out := run(t, w, append([]string{"contract", "verify", "billing", "--effects", w.ScratchDatabases()}, pairOf(w)...)...)
	if !strings.Contains(out, "21 passed, 0 failed") {
		t.Errorf("verified:\n%s", out)
	}
	run(t, w, "can-cutover", "billing")
	refused(t, w, api.ExitNotEnough, []string{"no cutover was admitted yet"}, "evidence", "pack", "billing")
	run(t, w, "cutover", "billing")
	head := strings.TrimSpace(strings.SplitAfter(run(t, w, "ledger", "verify"), "head: ")[1])
	run(t, w, "ledger", "verify", "--head", head)
	run(t, w, "evidence", "pack", "billing", "--out", "pack.html")
	page, err := os.ReadFile(filepath.Join(w.Dir, "pack.html"))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"21 passed", "predicted pause", "the service owns at epoch", "the newest invoices", "both sides were equal at"} {
		if !strings.Contains(string(page), want) {
			t.Errorf("the pack does not show %q", want)
		}
	}
	if strings.Contains(string(page), shop.Token) {
		t.Error("the pack shows the token that was used")
	}
	refused(t, w, api.ExitNo, []string{"serves clients"}, append([]string{"contract", "verify", "billing", "--effects", "monolith=sqlite:scratch-shop.db,service=" + "sqlite:" + filepath.Join(w.Dir, "billing.db")}, pairOf(w)...)...)
}
