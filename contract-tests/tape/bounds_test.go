package tape_test

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"stranglerfig/contract-tests/tape"
)

// onTape records exchanges within bounds and returns what came of it.
func onTape(t *testing.T, o tape.RecorderOptions, exchanges []tape.Exchange) ([]tape.Exchange, tape.Stats, int64) {
	t.Helper()
	o.Queue = len(exchanges)
	path := filepath.Join(t.TempDir(), "tape.ndjson")
	r, err := tape.NewRecorder(path, redactor(), o)
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Start(); err != nil {
		t.Fatal(err)
	}
	for _, e := range exchanges {
		r.Offer(e)
	}
	if err := r.Stop(); err != nil {
		t.Fatal(err)
	}
	kept, damaged, err := tape.Load(path)
	if err != nil || damaged > 0 {
		t.Fatal(damaged, err)
	}
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	return kept, r.Stats(), info.Size()
}

// crowd makes the visits of clients, each of several requests within a second.
func crowd(clients int) []tape.Exchange {
	var all []tape.Exchange
	at := time.Date(2026, 7, 1, 12, 0, 0, 0, time.UTC)
	for n := range clients {
		for k := range 4 {
			all = append(all, tape.Exchange{At: at.Add(time.Duration(k) * time.Second), Request: tape.Request{
				Method: "GET", Path: fmt.Sprintf("/%d/%d", n, k), Header: map[string][]string{"Authorization": {fmt.Sprintf("Bearer client-%06d", n)}},
			}, Response: tape.Response{Status: 204}})
		}
	}
	return all
}

func TestASampleIsDrawnByClientSoThatWhatBelongsTogetherStays(t *testing.T) {
	all := crowd(500)
	kept, stats, _ := onTape(t, tape.RecorderOptions{Sample: 0.1}, all)
	visits := map[string]int{}
	for _, e := range kept {
		visits[e.Request.Header["Authorization"][0]]++
	}
	if len(visits) < 20 || len(visits) > 100 { // 50 are expected, with a deviation of 7
		t.Errorf("%d of 500 clients were drawn for a sample of 10 %%", len(visits))
	}
	for who, n := range visits {
		if n != 4 {
			t.Errorf("of %s's visit %d of 4 requests were kept", who, n)
		}
	}
	if stats.Written+stats.Unsampled != uint64(len(all)) || stats.Written != uint64(len(kept)) {
		t.Errorf("%+v of %d", stats, len(all))
	}
	again, _, _ := onTape(t, tape.RecorderOptions{Sample: 0.1}, all)
	if len(again) != len(kept) {
		t.Errorf("drawn again, there are %d instead of %d", len(again), len(kept))
	}
}

func TestATapeEndsAtItsBoundsAndCountsWhatCameAfter(t *testing.T) {
	all := crowd(10)
	if kept, stats, _ := onTape(t, tape.RecorderOptions{Count: 7}, all); len(kept) != 7 || stats.Beyond != 33 {
		t.Errorf("bound to 7 exchanges: %d, %+v", len(kept), stats)
	}
	kept, stats, size := onTape(t, tape.RecorderOptions{Bytes: 1000}, all)
	if size > 1000 || size != stats.Bytes || len(kept) == 0 || stats.Written+stats.Beyond != 40 || stats.Failed != 0 {
		t.Errorf("bound to 1000 bytes: %d bytes, %+v", size, stats)
	}
	if _, err := tape.NewRecorder("x", redactor(), tape.RecorderOptions{Sample: 1.5}); err == nil {
		t.Error("a sample of 150 % is accepted")
	}
}
