package verify_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"stranglerfig/migrations/backfill"
	"stranglerfig/migrations/change"
	"stranglerfig/migrations/mapping"
	"stranglerfig/migrations/sqlite"
	"stranglerfig/migrations/verify"
)

// The monolith keeps its amounts as texts and its flags as 0 and 1, so that
// what is equal is often not stored alike.
const (
	monolithSchema = `CREATE TABLE inv (id INTEGER PRIMARY KEY, amount TEXT, st INTEGER NOT NULL, open INTEGER, ref TEXT, note TEXT NOT NULL DEFAULT 'kept');
		CREATE TABLE codes (kind INTEGER NOT NULL, no INTEGER NOT NULL, txt TEXT, PRIMARY KEY (kind, no));`
	serviceSchema = `CREATE TABLE invoices (id INTEGER PRIMARY KEY, cents INTEGER, status TEXT NOT NULL, is_open BOOLEAN, reference INTEGER, version INTEGER NOT NULL, comment TEXT);
		CREATE TABLE labels (kind TEXT NOT NULL, number INTEGER NOT NULL, text TEXT, PRIMARY KEY (kind, number));`
)

// world is two prepared and copied sides and a stream each way, which moves
// only when somebody settles it.
type world struct {
	*testing.T
	plan     *mapping.Plan
	paths    map[change.Side]string
	app      map[change.Side]*sql.DB
	db       map[change.Side]change.Database
	mu       sync.Mutex // settling
	streamed map[change.Side]change.Position
}

func newWorld(t *testing.T, rows int) *world {
	t.Helper()
	two, version := 2, "1"
	plan, problems := mapping.Compile(mapping.Spec{Capability: "billing", Tables: []mapping.TableSpec{
		{To: "invoices", From: "inv", Key: []string{"id"}, Columns: []mapping.ColumnSpec{
			{To: "id", From: "id"}, {To: "cents", From: "amount", Scale: &two}, {To: "status", From: "st", Enum: []mapping.EnumPair{{From: "0", To: "draft"}, {From: "1", To: "issued"}}},
			{To: "is_open", From: "open", Cast: "bool"}, {To: "reference", From: "ref", Cast: "int"}, {To: "version", Constant: &version},
		}},
		{To: "labels", From: "codes", Key: []string{"kind", "number"}, Columns: []mapping.ColumnSpec{
			{To: "kind", From: "kind", Enum: []mapping.EnumPair{{From: "1", To: "one"}, {From: "2", To: "two"}}}, {To: "number", From: "no"}, {To: "text", From: "txt"},
		}},
	}})
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	w := &world{T: t, plan: plan, paths: map[change.Side]string{}, app: map[change.Side]*sql.DB{}, db: map[change.Side]change.Database{}, streamed: map[change.Side]change.Position{}}
	w.side(change.Monolith, monolithSchema)
	w.side(change.Service, serviceSchema)
	for i := 1; i <= rows; i++ {
		w.exec(change.Monolith, "INSERT INTO inv (id, amount, st, open, ref) VALUES (?, ?, ?, ?, ?)", i, fmt.Sprintf("%d.5", i), i%2, i%2, fmt.Sprint(1000+i))
		w.exec(change.Monolith, "INSERT INTO codes VALUES (?, ?, ?)", 1+i%2, i, fmt.Sprint("t", i))
	}
	w.must(w.db[change.Monolith].Prepare(t.Context(), change.Leading))
	w.must(w.db[change.Service].Prepare(t.Context(), change.Following))
	w.must(backfill.Run(t.Context(), backfill.Options{Plan: plan, Source: w.db[change.Monolith], Target: w.db[change.Service]}))
	for side := range w.db {
		w.must(w.begin(side))
	}
	return w
}

func (w *world) side(side change.Side, schema string) {
	w.Helper()
	path := filepath.Join(w.TempDir(), string(side)+".db")
	app, err := sql.Open("sqlite", path+"?_pragma=busy_timeout(20000)&_pragma=journal_mode(WAL)&_pragma=synchronous(NORMAL)")
	w.must(err)
	w.Cleanup(func() { app.Close() })
	_, err = app.Exec(schema)
	w.must(err)
	var tables []change.Table
	for _, t := range w.plan.Tables {
		if side == change.Monolith {
			tables = append(tables, change.Table{Name: t.From, Columns: t.SourceColumns(), Key: t.SourceKey()})
		} else {
			tables = append(tables, change.Table{Name: t.To, Columns: t.TargetColumns(), Key: t.TargetKey()})
		}
	}
	db, err := sqlite.Open(w.Context(), path, "billing", side, tables)
	w.must(err)
	w.Cleanup(func() { db.Close() })
	w.app[side], w.db[side] = app, db
}

func (w *world) must(err error) {
	w.Helper()
	if err != nil {
		w.Fatal(err)
	}
}

func (w *world) exec(side change.Side, query string, args ...any) {
	w.Helper()
	if _, err := w.app[side].Exec(query, args...); err != nil {
		w.Fatalf("%s: %v", query, err)
	}
}

// behind changes a side behind the toolkit's back: neither captured nor
// refused.
func (w *world) behind(side change.Side, query string, args ...any) {
	w.Helper()
	w.exec(side, "UPDATE strangler_context SET applier = 1")
	w.exec(side, query, args...)
	w.exec(side, "UPDATE strangler_context SET applier = 0")
}

func (w *world) begin(from change.Side) error {
	_, err := w.db[from.Other()].TakeStream(w.Context(), string(from), "test", 0)
	return err
}

// settle applies one side's changes to the other up to a position.
func (w *world) settle(ctx context.Context, from change.Side, p change.Position) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	for w.streamed[from] < p {
		b, err := w.db[from].Read(ctx, w.streamed[from], 1000)
		if err != nil {
			return err
		}
		for i := range b.Changes {
			if b.Changes[i], err = w.mapped(from, b.Changes[i]); err != nil {
				return err
			}
		}
		if err := w.db[from.Other()].Apply(ctx, string(from), "test", b); err != nil {
			return err
		}
		w.streamed[from] = b.To
	}
	return nil
}

func (w *world) mapped(from change.Side, c change.Change) (change.Change, error) {
	t := w.plan.Tables[c.Table]
	mapKey, mapRow := t.ForwardKey, t.Forward
	if from == change.Service {
		mapKey, mapRow = t.InverseKey, t.Inverse
	}
	key, err := mapKey(c.Key)
	if c.Key = key; err == nil && c.Kind == change.Put {
		c.Row, err = mapRow(c.Row)
	}
	return c, err
}

func (w *world) options(owner change.Side) verify.Options {
	return verify.Options{
		Plan: w.plan, Owner: w.db[owner], Follower: w.db[owner.Other()], OwnerSide: owner, Chunk: 7,
		Settle: func(ctx context.Context, p change.Position) error { return w.settle(ctx, owner, p) },
	}
}

func (w *world) run(o verify.Options) verify.Report {
	w.Helper()
	report, err := verify.Run(w.Context(), o)
	w.must(err)
	return report
}

// own hands the writers over to a side, as a switch would.
func (w *world) own(side change.Side) {
	w.Helper()
	for s, fenced := range map[change.Side]int{side: 0, side.Other(): 1} {
		w.exec(s, "UPDATE strangler_move SET fenced = ?", fenced)
	}
}

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

func (w *world) count(table string) (n int) {
	w.Helper()
	w.must(w.app[change.Monolith].QueryRow("SELECT count(*) FROM " + table).Scan(&n))
	return n
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

func (w *world) head(side change.Side) change.Position {
	w.Helper()
	p, err := w.db[side].Head(w.Context())
	w.must(err)
	return p
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
