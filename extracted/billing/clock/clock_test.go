package clock_test

import (
	"testing"

	"stranglerfig/extracted/billing/clock"
)

func TestBerlinTimesSurviveTheDatabase(t *testing.T) {
	for shown, stored := range map[string]string{
		"2026-03-01 10:00:00": "2026-03-01T09:00:00Z",
		"2026-07-01 00:30:00": "2026-06-30T22:30:00Z",
		"2026-03-29 03:00:00": "2026-03-29T01:00:00Z",
	} {
		got, err := clock.Stored(shown)
		if err != nil || got != stored {
			t.Errorf("Stored(%s) = %s, %v; want %s", shown, got, err, stored)
		}
		back, err := clock.Shown(stored)
		if err != nil || back != shown {
			t.Errorf("Shown(%s) = %s, %v; want %s", stored, back, err, shown)
		}
	}
}

func TestWhatIsNoTimeIsAnError(t *testing.T) {
	if _, err := clock.Shown("yesterday"); err == nil {
		t.Error("Shown accepted yesterday")
	}
	if _, err := clock.Stored("2026-03-01T10:00:00Z"); err == nil {
		t.Error("Stored accepted another layout")
	}
}
