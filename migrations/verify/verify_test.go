package verify_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"stranglerfig/migrations/change"
	"stranglerfig/migrations/mapping"
	"stranglerfig/migrations/verify"
)

// TestSidesThatAgreeAreClean whoever owns, though they store it differently,
// and also after each has written what the other follows.
func TestSidesThatAgreeAreClean(t *testing.T) {
	w := newWorld(t, 40)
	for round, owner := range []change.Side{change.Monolith, change.Service, change.Monolith} {
		w.own(owner)
		if owner == change.Service {
			w.exec(owner, "UPDATE invoices SET cents = cents + 1, is_open = NOT is_open, reference = 70 + id WHERE id < 20")
			w.exec(owner, "INSERT INTO invoices (id, cents, status, is_open, reference, version) VALUES (100, NULL, 'issued', NULL, NULL, 1)")
			w.exec(owner, "INSERT INTO labels VALUES ('two', 100, NULL)")
		} else {
			w.exec(owner, "UPDATE inv SET amount = '0.5', st = 1 - st WHERE id < 10")
			w.exec(owner, "DELETE FROM codes WHERE no = 3 + ?", round)
		}
		head, err := w.db[owner].Head(t.Context())
		w.must(err)
		w.must(w.settle(t.Context(), owner, head))
		report := w.run(w.options(owner))
		if !report.Clean || report.Rechecked != 0 || len(report.Differences) > 0 || report.OwnerAt != head {
			t.Errorf("round %d, the %s owns: %+v", round, owner, report)
		}
		if rows := int64(w.count("inv") + w.count("codes")); report.Rows != rows {
			t.Errorf("%d rows were compared, there are %d", report.Rows, rows)
		}
	}
}

// damage is every kind of difference there is, while the monolith owns.
func (w *world) damage() []verify.Difference {
	w.behind(change.Service, "UPDATE invoices SET cents = 1, status = 'void' WHERE id = 7")
	w.behind(change.Service, "UPDATE invoices SET reference = NULL WHERE id = 8")
	w.behind(change.Service, "DELETE FROM invoices WHERE id = 40")
	w.behind(change.Service, "INSERT INTO invoices VALUES (99, 5, 'draft', 0, 5, 1, NULL)")
	w.behind(change.Service, "UPDATE labels SET text = 'T4' WHERE number = 4")
	w.behind(change.Service, "DELETE FROM labels WHERE number = 1")
	return []verify.Difference{
		{Table: "invoices", Key: "7", Kind: "different", Column: "cents", Owner: "750", Follower: "1"},
		{Table: "invoices", Key: "7", Kind: "different", Column: "status", Owner: "issued", Follower: "void"},
		{Table: "invoices", Key: "8", Kind: "different", Column: "reference", Owner: "1008", Follower: "NULL"},
		{Table: "invoices", Key: "40", Kind: "missing"},
		{Table: "invoices", Key: "99", Kind: "extra"},
		{Table: "labels", Key: "1,4", Kind: "different", Column: "text", Owner: "t4", Follower: "T4"},
		{Table: "labels", Key: "2,1", Kind: "missing"},
	}
}

// TestDifferencesAreNamedByKeyAndColumn as the follower sees them.
func TestDifferencesAreNamedByKeyAndColumn(t *testing.T) {
	w := newWorld(t, 40)
	want := w.damage()
	for _, chunk := range []int{1, 7, 8, 1000} {
		o := w.options(change.Monolith)
		o.Chunk = chunk
		report := w.run(o)
		if d := cmp.Diff(want, report.Differences); d != "" || report.Clean || report.Repaired != 0 || report.Rechecked != 6 {
			t.Errorf("chunks of %d: %+v\n%s", chunk, report, d)
		}
	}
}

// TestDifferencesAreFoundWhileTheServiceOwns, in the monolith's words.
func TestDifferencesAreFoundWhileTheServiceOwns(t *testing.T) {
	w := newWorld(t, 10)
	w.own(change.Service)
	w.behind(change.Monolith, "UPDATE inv SET amount = '3.51', open = NULL WHERE id = 3")
	w.behind(change.Monolith, "DELETE FROM codes WHERE no = 4")
	w.behind(change.Monolith, "INSERT INTO codes VALUES (2, 77, 'stray')")
	w.behind(change.Service, "INSERT INTO labels VALUES ('one', 78, 'new')")
	want := []verify.Difference{
		{Table: "inv", Key: "3", Kind: "different", Column: "amount", Owner: "3.50", Follower: "3.51"},
		{Table: "inv", Key: "3", Kind: "different", Column: "open", Owner: "1", Follower: "NULL"},
		{Table: "codes", Key: "one,4", Kind: "missing"},
		{Table: "codes", Key: "one,78", Kind: "missing"},
		{Table: "codes", Key: "two,77", Kind: "extra"},
	}
	if d := cmp.Diff(want, w.run(w.options(change.Service)).Differences); d != "" {
		t.Error(d)
	}
	o := w.options(change.Service)
	o.Repair = true
	if report := w.run(o); !report.Clean || report.Repaired != 4 {
		t.Errorf("repaired: %+v", report)
	}
	var note string
	w.must(w.app[change.Monolith].QueryRow("SELECT note FROM inv WHERE id = 3").Scan(&note))
	if note != "kept" {
		t.Errorf("the repair left %q in a column that does not move", note)
	}
}

// TestRepairMendsTheFollowerAndLeavesTheOwnerAlone.
func TestRepairMendsTheFollowerAndLeavesTheOwnerAlone(t *testing.T) {
	w := newWorld(t, 40)
	w.exec(change.Monolith, "UPDATE inv SET note = 'mine'")
	w.must(w.settle(t.Context(), change.Monolith, w.head(change.Monolith)))
	w.behind(change.Service, "UPDATE invoices SET comment = 'mine'")
	w.damage()
	before := w.head(change.Monolith)
	o := w.options(change.Monolith)
	o.Repair = true
	report := w.run(o)
	if !report.Clean || report.Repaired != 6 || report.Rechecked != 6 || len(report.Differences) > 0 {
		t.Errorf("repaired: %+v", report)
	}
	if report := w.run(w.options(change.Monolith)); !report.Clean || report.Rechecked != 0 {
		t.Errorf("afterwards: %+v", report)
	}
	if w.head(change.Monolith) != before || w.head(change.Service) != 0 {
		t.Error("the repair was captured as if it were a writer's change")
	}
	var comments int
	w.must(w.app[change.Service].QueryRow("SELECT count(*) FROM invoices WHERE comment = 'mine' AND id IN (7, 8)").Scan(&comments))
	if comments != 2 {
		t.Error("the repair overwrote a column that does not move")
	}
}

// TestWhatCannotBeMappedIsListed with the reason, repaired or not, and ends
// nothing.
func TestWhatCannotBeMappedIsListed(t *testing.T) {
	w := newWorld(t, 10)
	w.behind(change.Monolith, "UPDATE inv SET amount = '0.125' WHERE id = 2")
	w.behind(change.Monolith, "INSERT INTO codes VALUES (9, 1, 'a kind that is not listed')")
	w.behind(change.Service, "INSERT INTO labels VALUES ('nine', 1, 'a name that is not listed')")
	w.behind(change.Service, "DELETE FROM labels WHERE number = 10")
	for _, repair := range []bool{false, true} {
		o := w.options(change.Monolith)
		o.Repair = repair
		report := w.run(o)
		var got []string
		for _, d := range report.Differences {
			got = append(got, d.Table+" "+d.Key+" "+d.Kind)
			if reason := d.Owner + d.Follower; d.Kind == "unmappable" && !strings.Contains(reason, "column") {
				t.Errorf("no reason is given for %+v", d)
			}
		}
		want := []string{"invoices 2 unmappable", "labels 1,10 missing", "labels 9,1 unmappable", "labels nine,1 unmappable"}
		if repair {
			want = []string{"invoices 2 unmappable", "labels 9,1 unmappable", "labels nine,1 unmappable"}
		}
		if d := cmp.Diff(want, got); d != "" || report.Clean {
			t.Errorf("repair %t: clean %t\n%s", repair, report.Clean, d)
		}
	}
}

// TestNoMoreThanSoManyDifferencesAreListed but all are counted.
func TestNoMoreThanSoManyDifferencesAreListed(t *testing.T) {
	w := newWorld(t, 30)
	w.behind(change.Service, "UPDATE invoices SET cents = -1")
	for listed, dropped := range map[int]int64{5: 25, 29: 1, 30: 0, 31: 0} {
		o := w.options(change.Monolith)
		o.Listed = listed
		report := w.run(o)
		if len(report.Differences) != min(listed, 30) || report.Dropped != dropped || report.Clean {
			t.Errorf("of 30 differences, %d are listed of at most %d, %d dropped, clean %t", len(report.Differences), listed, report.Dropped, report.Clean)
		}
	}
}

// watched is an owner whose writers get to write before each lookup.
type watched struct {
	change.Database
	before func()
}

func (w watched) Lookup(ctx context.Context, table int, keys []change.Key) ([]change.Row, error) {
	w.before()
	return w.Database.Lookup(ctx, table, keys)
}

// TestLiveRowsRaiseNoFalseAlarm: writers are at work between and during all
// that the verification does, and their changes reach the follower late.
func TestLiveRowsRaiseNoFalseAlarm(t *testing.T) {
	for _, repair := range []bool{false, true} {
		t.Run(fmt.Sprintf("repair %t", repair), func(t *testing.T) {
			w := newWorld(t, 40)
			turns := make(chan struct{})
			var writers sync.WaitGroup
			for c := range 3 {
				writers.Go(func() {
					n := 0
					for range turns {
						n++
						w.write(n, 1+(n*17+c*29)%40)
					}
				})
			}
			var rechecked int64
			for range 4 {
				o := w.options(change.Monolith)
				o.Repair = repair
				o.Owner = watched{o.Owner, func() { turns <- struct{}{} }}
				o.Settle = func(ctx context.Context, p change.Position) error {
					turns <- struct{}{}
					return w.settle(ctx, change.Monolith, p)
				}
				report, err := verify.Run(t.Context(), o)
				if err != nil || !report.Clean || report.Repaired > 0 {
					t.Errorf("%+v, %v", report, err)
				}
				rechecked += report.Rechecked
			}
			close(turns)
			writers.Wait()
			if rechecked == 0 {
				t.Error("no row ever differed at first, which proves little")
			}
			if report := w.run(w.options(change.Monolith)); !report.Clean {
				t.Errorf("once the writers have ended: %+v", report)
			}
		})
	}
}

// TestARowThatChangesBetweenTheLooksAtItsTwoSidesIsNoDifference although one side's
// is what it was when it was looked at before. Looks are counted from 1 on, two for
// each comparison.
func TestARowThatChangesBetweenTheLooksAtItsTwoSidesIsNoDifference(t *testing.T) {
	for name, happens := range map[string]func(w *world, look int, owner func(amount string), arrives func()){
		"once more": func(w *world, look int, owner func(string), arrives func()) {
			switch look {
			case 3:
				owner("1.5")
			case 6:
				owner("2.5")
				arrives()
			}
		},
		"and back": func(w *world, look int, owner func(string), arrives func()) {
			switch look {
			case 3:
				owner("1.5")
			case 5:
				owner("2.5")
				arrives()
			case 6:
				owner("1.5")
			}
		},
		"each time": func(w *world, look int, owner func(string), arrives func()) {
			owner(fmt.Sprint(look, ".5"))
			if look%2 == 0 {
				arrives()
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, 10)
			arrives := func() { w.must(w.settle(t.Context(), change.Monolith, w.head(change.Monolith))) }
			owner := func(amount string) { w.exec(change.Monolith, "UPDATE inv SET amount = ? WHERE id = 4", amount) }
			looks := 0
			before := func() {
				looks++
				happens(w, looks, owner, arrives)
			}
			o := w.options(change.Monolith)
			o.Owner, o.Follower = watched{o.Owner, before}, watched{o.Follower, before}
			owner("0.5") // which is still on its way
			report, err := verify.Keys(t.Context(), o, []change.Change{{Key: change.Key{mapping.Int(4)}}})
			if err != nil || !report.Clean || report.Rechecked != 1 || looks < 6 {
				t.Errorf("after %d looks: %+v, %v", looks, report, err)
			}
			if report := w.run(w.options(change.Monolith)); !report.Clean {
				t.Errorf("afterwards: %+v", report)
			}
		})
	}
}

// write changes, adds and removes rows around an id.
func (w *world) write(n, id int) {
	for _, q := range []string{
		fmt.Sprintf("UPDATE inv SET amount = '%d.25', st = %d WHERE id = %d", n, n%2, id),
		fmt.Sprintf("INSERT OR REPLACE INTO codes VALUES (1, %d, 'n%d')", id, n),
		fmt.Sprintf("DELETE FROM codes WHERE kind = 2 AND no = %d", id),
		fmt.Sprintf("UPDATE OR IGNORE codes SET kind = 3 - kind WHERE no = %d", id),
	} {
		if _, err := w.app[change.Monolith].Exec(q); err != nil {
			w.Errorf("%s: %v", q, err)
		}
	}
}

// meddler is a follower whose owner changes a row whenever it is repaired.
type meddler struct {
	change.Database
	meddle func()
}

func (m meddler) Repair(ctx context.Context, changes ...change.Change) error {
	err := m.Database.Repair(ctx, changes...)
	m.meddle()
	return err
}

// TestARowThatChangesWhileItIsMendedIsNoDifference: its change is on its way.
func TestARowThatChangesWhileItIsMendedIsNoDifference(t *testing.T) {
	w := newWorld(t, 10)
	w.behind(change.Service, "UPDATE invoices SET cents = -1 WHERE id = 4")
	o := w.options(change.Monolith)
	o.Repair = true
	o.Follower = meddler{o.Follower, func() { w.exec(change.Monolith, "UPDATE inv SET amount = '77.5' WHERE id = 4") }}
	if report := w.run(o); !report.Clean || report.Repaired != 1 {
		t.Errorf("%+v", report)
	}
	if report := w.run(w.options(change.Monolith)); !report.Clean {
		t.Errorf("afterwards: %+v", report)
	}
}

// stubborn is a follower on which no repair helps.
type stubborn struct{ change.Database }

func (stubborn) Repair(context.Context, ...change.Change) error { return nil }

// TestADifferenceThatCannotBeMendedIsListed all the same.
func TestADifferenceThatCannotBeMendedIsListed(t *testing.T) {
	w := newWorld(t, 40)
	want := w.damage()
	o := w.options(change.Monolith)
	o.Repair, o.Follower = true, stubborn{o.Follower}
	report := w.run(o)
	if d := cmp.Diff(want, report.Differences); d != "" || report.Clean {
		t.Errorf("clean %t\n%s", report.Clean, d)
	}
}

// TestKeysComparesOnlyTheKeysItIsGiven of whichever tables.
func TestKeysComparesOnlyTheKeysItIsGiven(t *testing.T) {
	w := newWorld(t, 40)
	want := w.damage()
	inv := func(id int64) change.Change { return change.Change{Key: change.Key{mapping.Int(id)}} }
	code := func(kind, no int64) change.Change {
		return change.Change{Table: 1, Key: change.Key{mapping.Int(kind), mapping.Int(no)}}
	}
	report, err := verify.Keys(t.Context(), w.options(change.Monolith), []change.Change{code(2, 1), inv(40), inv(1), inv(99), inv(1234), inv(8)})
	w.must(err)
	if d := cmp.Diff([]verify.Difference{want[3], want[4], want[2], want[6]}, report.Differences); d != "" || report.Rows != 6 {
		t.Errorf("%d rows\n%s", report.Rows, d)
	}
	for _, keys := range [][]change.Change{nil, {inv(1), inv(2), code(1, 2), inv(1234)}} {
		if report, err := verify.Keys(t.Context(), w.options(change.Monolith), keys); err != nil || !report.Clean || report.Rows != int64(len(keys)) {
			t.Errorf("%d keys without a difference: %+v, %v", len(keys), report, err)
		}
	}
}

// TestProgressTellsOfEveryTable to its end.
func TestProgressTellsOfEveryTable(t *testing.T) {
	w := newWorld(t, 20)
	var last = map[string]change.Progress{}
	o := w.options(change.Monolith)
	o.Progress = func(p change.Progress) { last[p.Table] = p }
	w.run(o)
	for _, table := range []string{"inv", "codes"} {
		if p := last[table]; !p.Finished || p.Done != 20 || p.Total != 20 {
			t.Errorf("%s ends at %+v", table, p)
		}
	}
}

// TestAStreamThatDoesNotSettleEndsTheVerification: nothing can be said then.
func TestAStreamThatDoesNotSettleEndsTheVerification(t *testing.T) {
	w := newWorld(t, 10)
	w.damage()
	broken := errors.New("the stream is broken")
	o := w.options(change.Monolith)
	o.Settle = func(context.Context, change.Position) error { return broken }
	if report, err := verify.Run(t.Context(), o); !errors.Is(err, broken) || report.Clean {
		t.Errorf("%+v, %v", report, err)
	}
}
