package main

import (
	"bytes"
	"encoding/json"
	"io"
	"os"
	"strings"
	"testing"
)

// TestMain performs a step, or serves, where the bench under test starts this
// program again.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && (os.Args[1] == stepWord || os.Args[1] == serveWord) {
		main()
	}
	os.Exit(m.Run())
}

// TestBothCompetitorsCopyEveryInvoice the bench makes up: the mapping refuses
// none of them, not even around the hour that Berlin's clocks skip.
func TestBothCompetitorsCopyEveryInvoice(t *testing.T) {
	root, err := repository()
	if err != nil {
		t.Fatal(err)
	}
	b := dataBench{ctx: t.Context(), log: io.Discard, root: root, dir: t.TempDir(), rows: 12_000, rounds: 1}
	monolith, err := b.fill(b.rows)
	if err != nil {
		t.Fatal(err)
	}
	measures, peak, err := b.copyRounds(monolith)
	if err != nil {
		t.Fatal(err)
	}
	if len(measures) != 2 || measures[0].Name != ours || measures[1].Name != plain || peak == 0 {
		t.Errorf("measures %+v, peak %d", measures, peak)
	}
	if r := measures[0].RatioTo[plain]; r <= 0 || r != measures[0].Value/measures[1].Value {
		t.Errorf("ratio %v of %v and %v", r, measures[0].Value, measures[1].Value)
	}
}

// TestAMoveThatIsOpenedAgainStillHasEveryRow and the comparison says so.
func TestAMoveThatIsOpenedAgainStillHasEveryRow(t *testing.T) {
	root, err := repository()
	if err != nil {
		t.Fatal(err)
	}
	b := dataBench{ctx: t.Context(), log: io.Discard, root: root, dir: t.TempDir(), rows: 3_000}
	monolith, err := b.fill(b.rows)
	if err != nil {
		t.Fatal(err)
	}
	s, _, err := b.world("copy", monolith)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := runStep(t.Context(), s); err != nil {
		t.Fatal(err)
	}
	s.Do = "resume"
	r, _, err := runStep(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	if r.Before != 3_000 || r.Recorded != 3_000 || r.Rows != 3_000 || r.Verified != 3_000 || r.Differ != 0 {
		t.Errorf("%+v", r)
	}
}

func TestACopyThatStartedOverOrLostRowsIsRefused(t *testing.T) {
	b := dataBench{rows: 10}
	good := result{Before: 6, Recorded: 10, Rows: 10, Verified: 10}
	if err := b.resumedWell(good); err != nil {
		t.Error(err)
	}
	for name, spoil := range map[string]func(*result){
		"killed too early": func(r *result) { r.Before = 0 },
		"killed too late":  func(r *result) { r.Before = 10 },
		"started over":     func(r *result) { r.Recorded = 16 },
		"lost a row":       func(r *result) { r.Rows = 9 },
		"a row differs":    func(r *result) { r.Differ = 1 },
		"not all compared": func(r *result) { r.Verified = 9 },
	} {
		r := good
		spoil(&r)
		if b.resumedWell(r) == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

func TestMeasuresArePrintedForMachinesAndForPeople(t *testing.T) {
	m := spread("copy", ours, "rows/s", 100, []float64{30, 10, 20, 40})
	m.RatioTo = map[string]float64{plain: 0.5}
	m.Ratios = ratios([]float64{30, 10}, []float64{40, 40})
	var machine, people bytes.Buffer
	if err := printJSON(&machine, []measure{m, single("peak memory", ours, "bytes", 100, 3<<20)}); err != nil {
		t.Fatal(err)
	}
	var got measure
	if err := json.Unmarshal(bytes.Split(machine.Bytes(), []byte("\n"))[0], &got); err != nil {
		t.Fatal(err)
	}
	if got.Value != 25 || got.Rounds[0] != 10 || got.Ratios[0] != 0.25 || got.RatioTo[plain] != 0.5 {
		t.Errorf("%+v", got)
	}
	if err := printTable(&people, []measure{m, single("peak memory", ours, "bytes", 100, 3<<20)}); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"25 rows/s", "10 rows/s to 40 rows/s", "0.50 of attach-insert-select (0.25 to 0.75 by round)", "3.0 MiB"} {
		if !strings.Contains(people.String(), want) {
			t.Errorf("no %q in\n%s", want, people.String())
		}
	}
}
