package history_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"stranglerfig/contract-tests/history"
)

// TestCheckTellsLostDoubledAndResurrectedApart has one operation of each fate.
func TestCheckTellsLostDoubledAndResurrectedApart(t *testing.T) {
	at := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	l := history.New(func() time.Time { at = at.Add(time.Second); return at })
	for key, o := range map[string]history.Outcome{
		"kept": history.OK, "lost": history.OK, "doubled": history.OK,
		"refused": history.Failed, "resurrected": history.Failed,
		"maybe-there": history.Unknown, "maybe-not": history.Unknown, "maybe-twice": history.Unknown,
	} {
		l.Begin("payment", key)(o, "")
	}
	l.Begin("payment", "never-ended")
	l.Begin("order", "another kind")(history.OK, "")

	present := map[string]int{"kept": 1, "doubled": 2, "resurrected": 1, "maybe-there": 1, "maybe-twice": 2, "stranger": 5}
	got := history.Check(l.Operations(), "payment", present)
	want := history.Result{
		Operations: 9, Acked: 3, Failed: 2, Unknown: 4,
		Lost: []string{"lost"}, Doubled: []string{"doubled", "maybe-twice"}, Resurrected: []string{"resurrected"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	if got.Clean() {
		t.Error("a history with losses is not clean")
	}
}

// TestOnlyTheFirstOutcomeCounts: a late answer does not rewrite history.
func TestOnlyTheFirstOutcomeCounts(t *testing.T) {
	l := history.New(time.Now)
	end := l.Begin("order", "k")
	end(history.Unknown, "timeout")
	end(history.OK, "late")
	if o := l.Operations()[0].Outcome; o != history.Unknown {
		t.Errorf("outcome is %s, want unknown", o)
	}
}

// TestAnAnswerIsOnlyTrustedForWhatItSays lists statuses and what they tell.
func TestAnAnswerIsOnlyTrustedForWhatItSays(t *testing.T) {
	for status, want := range map[int]history.Outcome{
		0: history.Unknown, 200: history.OK, 201: history.OK, 303: history.OK,
		401: history.Failed, 409: history.Failed, 422: history.Failed,
		500: history.Unknown, 502: history.Unknown, 503: history.Unknown, 504: history.Unknown,
	} {
		if got := history.Classify(status); got != want {
			t.Errorf("%d: %s, want %s", status, got, want)
		}
	}
}
