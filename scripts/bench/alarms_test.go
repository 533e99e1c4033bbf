package main

import (
	"bytes"
	"encoding/json"
	"io"
	"math"
	"testing"
)

// TestAnApplicationHeldAgainstItselfRaisesNoAlarm, and one that is wrong
// about one of twenty invoices does: otherwise the bench would show nothing.
func TestAnApplicationHeldAgainstItselfRaisesNoAlarm(t *testing.T) {
	o := alarmOptions{comparisons: 1, pairs: 300, each: 400, seed: 5}
	found, err := o.run(t.Context(), io.Discard)
	if err != nil || found.Alarms > 0 || found.Comparisons < 2000 || found.Noise < found.Comparisons/2 || found.Gates != int64(len(fidgetyRoutes)) {
		t.Errorf("%+v, %v", found, err)
	}
	o.planted = true
	found, err = o.run(t.Context(), io.Discard)
	if err != nil || found.Alarms < 5 || found.Alarmed != 1 || len(found.Examples) != 1 {
		t.Errorf("with a planted difference: %+v, %v", found, err)
	}
}

func TestTheBenchOfAlarmsPrintsOneObject(t *testing.T) {
	var out bytes.Buffer
	if err := alarms(t.Context(), []string{"--comparisons", "1", "--each", "50", "--json"}, &out, io.Discard); err != nil {
		t.Fatal(err)
	}
	var found alarmed
	if err := json.Unmarshal(out.Bytes(), &found); err != nil || found.Comparisons < 200 || found.Alpha != 0.05 || found.Rate[1] <= 0 || found.Gates != int64(len(fidgetyRoutes)) {
		t.Errorf("%v: %s", err, out.String())
	}
	if err := alarms(t.Context(), []string{"--comparisons", "0"}, io.Discard, io.Discard); err == nil {
		t.Error("none are enough")
	}
}

func TestAnIntervalIsThatOfClopperAndPearson(t *testing.T) {
	for _, c := range []struct {
		happened, cases int64
		low, high       float64
	}{{0, 1000, 0, 0.003682}, {5, 100, 0.016432, 0.112835}, {10, 10, 0.691503, 1}, {0, 1_000_000, 0, 3.6888e-06}} {
		got := interval(c.happened, c.cases)
		if math.Abs(got[0]-c.low) > 1e-4*max(c.low, 1e-6) || math.Abs(got[1]-c.high) > 1e-4*c.high {
			t.Errorf("%d of %d: %v, want %v to %v", c.happened, c.cases, got, c.low, c.high)
		}
	}
}
