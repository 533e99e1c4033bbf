package backfill_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"stranglerfig/migrations/backfill"
	"stranglerfig/migrations/change"
	"stranglerfig/migrations/mapping"
)

// TestACopyHoldsEveryRowAsTheMappingSays, and tells how far it has come.
func TestACopyHoldsEveryRowAsTheMappingSays(t *testing.T) {
	onBothRoads(t, 3000, func(w *world) {
		told := map[string][]change.Progress{}
		var order []string
		o := w.options()
		o.Progress = func(p change.Progress) {
			if len(told[p.Table]) == 0 {
				order = append(order, p.Table)
			}
			told[p.Table] = append(told[p.Table], p)
		}
		w.must(backfill.Run(w.Context(), o))
		w.expectCopied()
		if !slices.Equal(order, []string{"inv", "lines"}) {
			w.Errorf("tables were copied in the order %v", order)
		}
		for table, all := range told {
			for i, p := range all {
				last := i == len(all)-1
				if p.Finished != last || (last && (p.Done != p.Total || p.ETA != 0)) || (i > 0 && p.Done < all[i-1].Done) || p.Done > p.Total {
					w.Errorf("%s: progress %d of %d is %+v", table, i+1, len(all), p)
				}
			}
		}
		if n := told["inv"][len(told["inv"])-1].Done; n != 3000 {
			w.Errorf("%d rows are told to be copied", n)
		}
		for i := range w.plan.Tables {
			if l := w.loaded(i); !l.Done {
				w.Errorf("table %d is recorded as %+v", i, l)
			}
		}
	})
}

// TestEmptyTablesAreCopiedToo: they are done.
func TestEmptyTablesAreCopiedToo(t *testing.T) {
	onBothRoads(t, 0, func(w *world) {
		w.must(backfill.Run(w.Context(), w.options()))
		w.expectCopied()
		for i := range w.plan.Tables {
			if l := w.loaded(i); !l.Done || l.Last != nil || l.Rows != 0 {
				w.Errorf("table %d is recorded as %+v", i, l)
			}
		}
	})
}

// TestAnInterruptedCopyGoesOnWhereItWas, wherever it was interrupted: no chunk
// is copied a second time, and none is left out.
func TestAnInterruptedCopyGoesOnWhereItWas(t *testing.T) {
	onBothRoads(t, 3000, func(w *world) {
		source := w.source
		whole := w.record(0)
		for failAt := 2; ; failAt++ {
			w.source = source
			r := w.record(failAt - len(whole.asked))
			err := backfill.Run(w.Context(), w.options())
			done := r.asked
			if err != nil {
				done = done[:len(done)-1]
			}
			whole.asked = append(whole.asked, done...)
			if err == nil {
				break
			}
			if !errors.Is(err, errInterrupted) || !strings.Contains(err.Error(), "copy ") {
				w.Fatalf("interrupted: %v", err)
			}
			w.target = w.open("service.db", change.Service)
		}
		if len(whole.asked) < 4 || whole.asked[0] != "0 " {
			w.Errorf("chunks asked for: %q", whole.asked)
		}
		seen := map[string]bool{}
		for _, asked := range whole.asked {
			if seen[asked] {
				w.Errorf("chunk %q was copied twice", asked)
			}
			seen[asked] = true
		}
		w.source = source
		w.expectCopied()
		if l := w.loaded(0); l.Rows != 3000 {
			w.Errorf("%d rows are recorded, 3000 were copied", l.Rows)
		}
	})
}

// TestACanceledCopyEndsAfterItsChunk and goes on with another Run.
func TestACanceledCopyEndsAfterItsChunk(t *testing.T) {
	onBothRoads(t, 3000, func(w *world) {
		ctx, cancel := context.WithCancel(w.Context())
		o := w.options()
		o.Progress = func(change.Progress) { cancel() }
		if err := backfill.Run(ctx, o); !errors.Is(err, context.Canceled) {
			w.Fatalf("canceled: %v", err)
		}
		first := w.loaded(0)
		if first.Rows == 0 || first.Rows >= 3000 || first.Done {
			w.Fatalf("after the first chunk: %+v", first)
		}
		source := w.source
		r := w.record(0)
		w.must(backfill.Run(w.Context(), w.options()))
		if want := "0 " + change.KeyString(first.Last); r.asked[0] != want {
			w.Errorf("it went on after %q, want %q", r.asked[0], want)
		}
		w.source = source
		w.expectCopied()
	})
}

// TestACopyThatIsDoneIsNotDoneAgain but says that it is.
func TestACopyThatIsDoneIsNotDoneAgain(t *testing.T) {
	onBothRoads(t, 100, func(w *world) {
		w.must(backfill.Run(w.Context(), w.options()))
		r := w.record(0)
		o := w.options()
		var finished []string
		o.Progress = func(p change.Progress) {
			if p.Finished && p.Done == p.Total {
				finished = append(finished, p.Table)
			}
		}
		w.must(backfill.Run(w.Context(), o))
		if len(r.asked) > 0 {
			w.Errorf("it read %q again", r.asked)
		}
		if !slices.Equal(finished, []string{"inv", "lines"}) {
			w.Errorf("it says that %v are finished", finished)
		}
	})
}

// TestARowThatTheMappingRefusesIsNamed, and what came before it is kept.
func TestARowThatTheMappingRefusesIsNamed(t *testing.T) {
	onBothRoads(t, 3000, func(w *world) {
		w.exec("UPDATE inv SET amount = 0.125 WHERE id = 5000")
		err := backfill.Run(w.Context(), w.options())
		var refused *mapping.ValueError
		if !errors.As(err, &refused) || refused.Table != "inv" || refused.Column != "amount" || mapping.EncodeKey(refused.Key) != "[5000]" {
			w.Fatalf("refused: %v", err)
		}
		if l := w.loaded(0); l.Rows == 0 || l.Done {
			w.Errorf("what came before is recorded as %+v", l)
		}
		w.exec("UPDATE inv SET amount = 0.12 WHERE id = 5000")
		w.must(backfill.Run(w.Context(), w.options()))
		w.expectCopied()
	})
}

// TestACopyBesideWritersAndTheLogAfterItAreTheSource: nothing that is written
// during the copy is lost, whichever chunk it falls into.
func TestACopyBesideWritersAndTheLogAfterItAreTheSource(t *testing.T) {
	onBothRoads(t, 3000, func(w *world) {
		quit := make(chan struct{})
		var writers sync.WaitGroup
		for c := range 2 {
			writers.Go(func() {
				for n := 0; ; n++ {
					select {
					case <-quit:
						return
					default:
					}
					id := 2*(n*797%3000) + c
					for _, q := range []string{
						fmt.Sprintf("INSERT OR REPLACE INTO inv (id, amount) VALUES (%d, %d)", id+1, n),
						fmt.Sprintf("UPDATE inv SET amount = round(amount + 1, 2) WHERE id = %d", id),
						fmt.Sprintf("DELETE FROM lines WHERE inv = %d", id),
						fmt.Sprintf("UPDATE OR REPLACE lines SET inv = inv + 1 WHERE inv = %d", id+2),
					} {
						if _, err := w.monolith.Exec(q); err != nil {
							w.Errorf("%s: %v", q, err)
							return
						}
					}
				}
			})
		}
		err := backfill.Run(w.Context(), w.options())
		close(quit)
		writers.Wait()
		w.must(err)
		w.follow()
		w.expectCopied()
	})
}

// TestChunksGrowWhileTheyAreQuickAndShrinkWhileTheyAreSlow within their bounds.
func TestChunksGrowWhileTheyAreQuickAndShrinkWhileTheyAreSlow(t *testing.T) {
	for name, c := range map[string]struct {
		tick time.Duration
		want []int
	}{
		"quick": {time.Millisecond, []int{2000, 4000}},
		"right": {250 * time.Millisecond, []int{2000, 2000}},
		"slow":  {time.Second, []int{2000, 1000, 500, 500}},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, 3700)
			r := w.record(0)
			o := w.options()
			clock := time.Unix(0, 0)
			o.Now = func() time.Time { clock = clock.Add(c.tick); return clock }
			w.must(backfill.Run(t.Context(), o))
			if got := r.limits[:len(c.want)]; !slices.Equal(got, c.want) {
				t.Errorf("chunks of %v, want %v", got, c.want)
			}
		})
	}
}

// endless is a source that always has another fifty thousand rows to push.
type endless struct {
	change.Database
	chunks *int
}

func (e endless) PushChunk(context.Context, change.Database, *mapping.Table, int, change.Key, int) (change.Chunk, int64, bool, error) {
	*e.chunks++
	return change.Chunk{Last: change.Key{mapping.Int(int64(*e.chunks))}}, 50_000, true, nil
}

// TestARateSlowsTheCopyDown: what is beyond the burst does not fit into an
// hour, which the copy knows without waiting for it.
func TestARateSlowsTheCopyDown(t *testing.T) {
	w := newWorld(t, 1)
	ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
	defer cancel()
	o, chunks := w.options(), 0
	o.Source, o.RowsPerSecond = endless{o.Source, &chunks}, 1e-6
	if err := backfill.Run(ctx, o); err == nil || chunks != 2 {
		t.Errorf("%d chunks were copied before it waited: %v", chunks, err)
	}
}

// TestAMeterTellsRateAndTimeLeft over the recent past.
func TestAMeterTellsRateAndTimeLeft(t *testing.T) {
	now := time.Unix(0, 0)
	m := backfill.NewMeter("inv", 100, 1100, now)
	p := m.Advance(200, false, now.Add(2*time.Second))
	if p.Done != 300 || p.Total != 1100 || p.Rate != 100 || p.ETA != 8*time.Second || p.Finished || p.Table != "inv" {
		t.Errorf("first: %+v", p)
	}
	p = m.Advance(0, false, now.Add(3*time.Second))
	if p.Rate >= 100 || p.Rate <= 0 || p.ETA <= 8*time.Second {
		t.Errorf("after a second without rows: %+v", p)
	}
	if p = m.Advance(50, false, now.Add(3*time.Second)); p.Done != 350 {
		t.Errorf("no time passed: %+v", p)
	}
	if p = m.Advance(2000, true, now.Add(20*time.Second)); p.Done != 2350 || p.Total != 2350 || p.ETA != 0 || !p.Finished {
		t.Errorf("more rows than were expected: %+v", p)
	}
	none := backfill.NewMeter("inv", 0, 10, now)
	if p := none.Advance(0, false, now.Add(time.Second)); p.ETA != 0 || p.Rate != 0 {
		t.Errorf("nothing done yet: %+v", p)
	}
}

// lagging is a source with a standby that is behind for a while.
type lagging struct {
	change.Database
	behind []time.Duration
}

func (l *lagging) Lag(context.Context) (time.Duration, error) {
	if len(l.behind) == 0 {
		return 0, nil
	}
	d := l.behind[0]
	l.behind = l.behind[1:]
	return d, nil
}

// TestACopyWaitsForAStandbyThatIsTooFarBehind, says so, and goes on.
func TestACopyWaitsForAStandbyThatIsTooFarBehind(t *testing.T) {
	w := newWorld(t, 50)
	source := &lagging{w.source, []time.Duration{20 * time.Second, 3 * time.Second}}
	var waited []string
	err := backfill.Run(t.Context(), backfill.Options{Plan: w.plan, Source: source, Target: w.target, MaxLag: 10 * time.Second,
		Progress: func(p change.Progress) {
			if p.Waiting != "" {
				waited = append(waited, p.Waiting)
			}
		}})
	if err != nil || len(source.behind) > 0 || len(waited) != 1 || waited[0] != "a standby is 20s behind" {
		t.Errorf("%v, it waited for %q", err, waited)
	}
}
