package shop_test

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"stranglerfig/contract-tests/shop"
	"stranglerfig/strangler-proxy/control/api"
)

// TestARehearsalComparesWhatBothSidesOfThePairWrite, as often as one likes: the
// pair's service is filled anew each time.
func TestARehearsalComparesWhatBothSidesOfThePairWrite(t *testing.T) {
	w := world(t, shop.Options{Scratch: true, ScratchSize: 300, Pair: true})
	ready(t, w)
	for range 2 {
		var result struct {
			Proven  int64       `json:"proven"`
			Effects api.Effects `json:"effects"`
		}
		out := run(t, w, "data", "rehearse", "billing", "--json")
		if err := json.Unmarshal([]byte(out[strings.Index(out, "{"):]), &result); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		if e := result.Effects; result.Proven == 0 || e.Verdict != "pass" || e.Rows["invoices"] == 0 || e.Rows["payments"] == 0 || e.Rows["idempotency_keys"] == 0 {
			t.Errorf("%+v", result)
		}
	}
	bare(t, w, false, false)
	run(t, w, "contract", "verify", "billing", "--pair")
	said := run(t, w, "can-cutover", "billing")
	if !strings.Contains(said, "both sides of the pair wrote the same ") || !strings.Contains(said, "21 of 21 interactions hold on both sides") {
		t.Errorf("the gates say:\n%s", said)
	}
	run(t, w, "cutover", "billing")
	run(t, w, "evidence", "pack", "billing", "--out", "pack.html")
	page, err := os.ReadFile(filepath.Join(w.Dir, "pack.html"))
	if err != nil || !strings.Contains(string(page), "rows that both sides of the pair wrote") {
		t.Errorf("the pack does not show what the pair wrote: %v", err)
	}
	run(t, w, "rollback", "billing")
	path := filepath.Join(w.Dir, "billing.pact.json")
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(os.Chmod(path, 0o644), os.WriteFile(path, append(text, '\n'), 0o644)); err != nil {
		t.Fatal(err)
	}
	refused(t, w, api.ExitNotEnough, []string{"by another contract"}, "can-cutover", "billing")
}

// TestARehearsalHoldsNobodyWhereThePairWritesDifferently, although it answers the
// same.
func TestARehearsalHoldsNobodyWhereThePairWritesDifferently(t *testing.T) {
	build := buildWith(t, "billing-rehearsed", "extracted/billing/invoices/service.go", "setStatus(tx, id, row.Status, row.UpdatedAt)", "setStatus(tx, id, paid, row.UpdatedAt)")
	w := world(t, shop.Options{Scratch: true, Pair: true, Billing: build})
	ready(t, w)
	refused(t, w, api.ExitNo, []string{
		"in the databases: $.rows.invoices.status: value: expected void, got paid",
		"nothing was rehearsed: on the pair 1 of 12 interactions do not hold, and 1 left different rows", "strangler contract report billing",
	}, "data", "rehearse", "billing")
	refused(t, w, api.ExitNo, []string{"rehearsal fail     on the pair 1 of "}, "can-cutover", "billing")
	if kinds := strings.Fields(run(t, w, "ledger", "billing")); slices.Contains(kinds, "rehearsal-intent") {
		t.Error("writes were held")
	}
	refused(t, w, api.ExitNo, []string{"in the databases: "}, "contract", "verify", "billing", "--pair")
}

// TestARehearsalWithoutThePairsRowsIsNotEnough where a pair is declared.
func TestARehearsalWithoutThePairsRowsIsNotEnough(t *testing.T) {
	w := world(t, shop.Options{Scratch: true, Edit: waived("contract")})
	ready(t, w)
	run(t, w, "data", "rehearse", "billing")
	run(t, w, "can-cutover", "billing")
	reword(t, w, "contract: billing.pact.json", "contract: billing.pact.json\n    pair:\n      monolith: {url: \"http://"+w.Addr.ScratchMonolith+"\", database: sqlite:scratch-shop.db}\n      service: {url: \"http://"+w.Addr.ScratchBilling+"\", database: sqlite:scratch-billing.db}")
	eventually(t, "the rehearsal is not enough any more", func() bool {
		out, err := w.Strangler(t.Context(), "can-cutover", "billing")
		return err != nil && strings.Contains(out, "the rehearsal did not compare what both sides of the pair write") && strings.Contains(out, "→ strangler data rehearse billing")
	})
	// Nobody is let in without the header that the file no longer names.
	refused(t, w, api.ExitNotEnough, []string{"what the pair writes could not be compared: 12 of 12 interactions were not let in"}, "data", "rehearse", "billing")
	run(t, w, "data", "rehearse", "billing", "-H", "Authorization: Bearer ${SHOP_TOKEN}")
	run(t, w, "can-cutover", "billing")
}

// reword changes a text of strangler.yaml, as a person would.
func reword(t *testing.T, w *shop.World, old, new string) {
	t.Helper()
	path := filepath.Join(w.Dir, "strangler.yaml")
	text, err := os.ReadFile(path)
	if err == nil && strings.Count(string(text), old) != 1 {
		err = errors.New("it has that not once: " + old)
	}
	if err = errors.Join(err, os.WriteFile(path, []byte(strings.Replace(string(text), old, new, 1)), 0o644)); err != nil {
		t.Fatal(err)
	}
}
