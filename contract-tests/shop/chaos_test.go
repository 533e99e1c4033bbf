package shop_test

import (
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"

	"stranglerfig/contract-tests/chaos"
	"stranglerfig/contract-tests/shop"
)

// TestEveryExperimentHolds runs each of the shop's chaos experiments, after the
// cutover, when billing's writes and reads pass the broken links: no write is
// lost or doubled, and clients see nothing that the experiment does not allow.
func TestEveryExperimentHolds(t *testing.T) {
	w := world(t, shop.Options{Edit: waived("contract", "rehearsal", "shadow")})
	ready(t, w)
	run(t, w, "cutover", "billing")
	run(t, w, "own", "billing", "service")
	files, err := filepath.Glob(filepath.Join(w.Dir, "chaos", "*.yaml"))
	if err != nil || len(files) < 5 {
		t.Fatalf("%d experiments, %v", len(files), err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".yaml"), func(t *testing.T) {
			out := run(t, w, "chaos", "run", file, "--json")
			var reports []chaos.Report
			if err := json.Unmarshal([]byte(out), &reports); err != nil {
				t.Fatal(err)
			}
			r := reports[0]
			if r.Verdict != chaos.Pass || r.Writes.Acked == 0 || !r.Writes.Clean() || r.Steps[0].Affected == 0 {
				t.Errorf("%+v", r)
			}
			t.Logf("%d writes acknowledged, %d tries felt the fault, statuses %v", r.Writes.Acked, r.Steps[0].Affected, r.Statuses)
		})
	}
}
