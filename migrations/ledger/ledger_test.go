package ledger_test

import (
	"bufio"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"stranglerfig/migrations/change"
	"stranglerfig/migrations/ledger"
)

// writing names, in the environment of this test's own binary run again, the
// directory of the ledger that it should write to until it is killed.
const writing = "LEDGER_TEST_WRITES_TO"

func TestMain(m *testing.M) {
	if dir := os.Getenv(writing); dir != "" {
		write(dir)
		return
	}
	os.Exit(m.Run())
}

// write appends entries and moves, and prints the number of each once the
// ledger says that it is durable.
func write(dir string) {
	l, err := ledger.Open(dir, time.Now)
	if err != nil {
		fmt.Println("open:", err)
		os.Exit(1)
	}
	for n := 1; ; n++ {
		err := l.SaveMove(context.Background(), ledger.MoveRecord{Capability: "billing", State: strconv.Itoa(n), Owner: change.Monolith}, ledger.Entry{Kind: "state", Text: strconv.Itoa(n)})
		if err != nil {
			fmt.Println("save:", err)
			os.Exit(1)
		}
		fmt.Println(n)
	}
}

// noon is when everything in these tests happens.
func noon() time.Time { return time.Date(2026, 7, 1, 12, 0, 0, 123456789, time.UTC) }

func open(t *testing.T, dir string) *ledger.Ledger {
	t.Helper()
	l, err := ledger.Open(dir, noon)
	must(t, err)
	t.Cleanup(func() { l.Close() })
	return l
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func add(t *testing.T, l *ledger.Ledger, texts ...string) {
	t.Helper()
	for _, text := range texts {
		_, err := l.Append(t.Context(), ledger.Entry{Capability: "billing", Kind: "note", Actor: "ann", Text: text, Detail: json.RawMessage(`{"n":1}`)})
		must(t, err)
	}
}

// raw opens the ledger's file behind its back.
func raw(t *testing.T, dir string) *sql.DB {
	t.Helper()
	db, err := sql.Open("sqlite", filepath.Join(dir, "ledger.db"))
	must(t, err)
	t.Cleanup(func() { db.Close() })
	return db
}

// TestTheChainHoldsWhatWasAppended in order, each entry linked to the last.
func TestTheChainHoldsWhatWasAppended(t *testing.T) {
	l := open(t, t.TempDir())
	if n, err := l.VerifyChain(t.Context()); err != nil || n != 0 {
		t.Errorf("an empty ledger: %d, %v", n, err)
	}
	first, err := l.Append(t.Context(), ledger.Entry{Kind: "note", Actor: "ann", Text: "one"})
	must(t, err)
	second, err := l.Append(t.Context(), ledger.Entry{At: noon().Add(time.Hour), Capability: "billing", Kind: "note", Actor: "bob", Text: "two", Detail: json.RawMessage(`{"a": "ü"}`)})
	must(t, err)
	if first.Seq != 1 || first.Prev != "" || second.Seq != 2 || second.Prev != first.Hash || first.Hash == second.Hash {
		t.Errorf("the links are %+v and %+v", first, second)
	}
	if !first.At.Equal(noon().Truncate(time.Microsecond)) {
		t.Errorf("an entry without a time got %s", first.At)
	}
	entries, err := l.Entries(t.Context(), ledger.Filter{})
	must(t, err)
	if d := cmp.Diff([]ledger.Entry{first, second}, entries); d != "" {
		t.Error(d)
	}
	if n, err := l.VerifyChain(t.Context()); err != nil || n != 2 {
		t.Errorf("verified %d, %v", n, err)
	}
}

// TestTamperingIsFound and named by the entry where the chain breaks.
func TestTamperingIsFound(t *testing.T) {
	for name, c := range map[string]struct{ change, want string }{
		"text":           {"UPDATE entry SET text = 'other' WHERE seq = 3", "entry 3 was changed"},
		"time":           {"UPDATE entry SET at = '2020-01-01T00:00:00Z' WHERE seq = 3", "entry 3 was changed"},
		"capability":     {"UPDATE entry SET capability = 'x' WHERE seq = 3", "entry 3 was changed"},
		"kind":           {"UPDATE entry SET kind = 'x' WHERE seq = 3", "entry 3 was changed"},
		"actor":          {"UPDATE entry SET actor = 'x' WHERE seq = 3", "entry 3 was changed"},
		"detail":         {`UPDATE entry SET detail = '{"n":2}' WHERE seq = 3`, "entry 3 was changed"},
		"dropped detail": {"UPDATE entry SET detail = '' WHERE seq = 3", "entry 3 was changed"},
		"hash":           {"UPDATE entry SET hash = 'x' WHERE seq = 3", "entry 3 was changed"},
		"link":           {"UPDATE entry SET prev = 'x' WHERE seq = 3", "entry 3 does not follow entry 2"},
		"last entry":     {"UPDATE entry SET text = 'other' WHERE seq = 5", "entry 5 was changed"},
		"missing":        {"DELETE FROM entry WHERE seq = 3", "entry 3 is missing"},
		"missing first":  {"DELETE FROM entry WHERE seq = 1", "entry 1 is missing"},
		"closed gap":     {"DELETE FROM entry WHERE seq = 3; UPDATE entry SET seq = seq - 1 WHERE seq > 3", "entry 3 does not follow entry 2"},
		"exchanged":      {"UPDATE entry SET seq = 9 WHERE seq = 3; UPDATE entry SET seq = 3 WHERE seq = 4; UPDATE entry SET seq = 4 WHERE seq = 9", "entry 3 does not follow entry 2"},
		"moved boundary": {"UPDATE entry SET actor = 'an', text = 'nthree' WHERE seq = 3", "entry 3 was changed"},
		"forged":         {"INSERT INTO entry SELECT 6, at, capability, kind, actor, text, detail, hash, hash FROM entry WHERE seq = 5", "entry 6 was changed"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			l := open(t, dir)
			add(t, l, "one", "two", "three", "four", "five")
			_, err := raw(t, dir).Exec(c.change)
			must(t, err)
			if n, err := l.VerifyChain(t.Context()); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("verified %d entries: %v, want %q", n, err, c.want)
			}
		})
	}
}

// TestAKeptHeadShowsWhatTheChainAloneCannot: an end that was cut off, and a
// ledger that was written anew as a whole.
func TestAKeptHeadShowsWhatTheChainAloneCannot(t *testing.T) {
	dir := t.TempDir()
	l := open(t, dir)
	add(t, l, "one", "two", "three")
	head, err := l.VerifySince(t.Context(), "")
	must(t, err)
	add(t, l, "four")
	if last, err := l.VerifySince(t.Context(), head.Hash); err != nil || last.Seq != 4 {
		t.Errorf("a head that others follow: %d, %v", last.Seq, err)
	}
	_, err = raw(t, dir).Exec("DELETE FROM entry WHERE seq >= 3")
	must(t, err)
	if n, err := l.VerifyChain(t.Context()); err != nil || n != 2 {
		t.Errorf("the chain alone: %d, %v", n, err)
	}
	if last, err := l.VerifySince(t.Context(), head.Hash); err == nil || last.Seq != 2 || !strings.Contains(err.Error(), "no entry has the hash "+head.Hash) {
		t.Errorf("cut off: %d, %v", last.Seq, err)
	}
	add(t, l, "three, but not the same", "four")
	if _, err := l.VerifySince(t.Context(), head.Hash); err == nil {
		t.Error("an end that was written anew is not seen")
	}
}

// TestEntriesAreFiltered by capability, kind and number, the first ones first.
func TestEntriesAreFiltered(t *testing.T) {
	l := open(t, t.TempDir())
	for _, e := range []ledger.Entry{{Capability: "a", Kind: "x"}, {Capability: "b", Kind: "x"}, {Capability: "a", Kind: "y"}, {Capability: "a", Kind: "x"}} {
		_, err := l.Append(t.Context(), e)
		must(t, err)
	}
	for _, c := range []struct {
		f    ledger.Filter
		want []int64
	}{
		{ledger.Filter{}, []int64{1, 2, 3, 4}}, {ledger.Filter{Capability: "a"}, []int64{1, 3, 4}}, {ledger.Filter{Kind: "x"}, []int64{1, 2, 4}},
		{ledger.Filter{Capability: "a", Kind: "x", After: 1}, []int64{4}}, {ledger.Filter{Limit: 2}, []int64{1, 2}}, {ledger.Filter{After: 1, Limit: 2}, []int64{2, 3}}, {ledger.Filter{After: 4}, nil},
	} {
		entries, err := l.Entries(t.Context(), c.f)
		must(t, err)
		var got []int64
		for _, e := range entries {
			got = append(got, e.Seq)
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%+v: %v, want %v", c.f, got, c.want)
		}
	}
}

// TestALedgerInUseIsRefusedWithItsProcess, and free again once it is closed.
func TestALedgerInUseIsRefusedWithItsProcess(t *testing.T) {
	dir := t.TempDir()
	l := open(t, dir)
	_, err := ledger.Open(dir, noon)
	var locked *ledger.LockedError
	if !errors.As(err, &locked) || locked.PID != os.Getpid() || locked.Dir != dir || !strings.Contains(err.Error(), fmt.Sprintf("pid %d", os.Getpid())) {
		t.Errorf("opened twice: %v", err)
	}
	must(t, l.Close())
	add(t, open(t, dir), "again")
}

// TestALedgerThatCannotBeOpenedIsLeftFree: the lock goes with the failure.
func TestALedgerThatCannotBeOpenedIsLeftFree(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "ledger.db")
	must(t, os.WriteFile(path, []byte(strings.Repeat("this is no database", 100)), 0o600))
	if _, err := ledger.Open(dir, noon); err == nil || !strings.Contains(err.Error(), path) {
		t.Errorf("opened: %v", err)
	}
	must(t, os.Remove(path))
	add(t, open(t, dir), "one")
}

// TestAKilledProcessLosesNothingItWasPromised: another one cannot open its
// ledger while it lives; once it is killed, everything it was told is durable
// is there, the chain holds, and the move's record is that of the last entry.
func TestAKilledProcessLosesNothingItWasPromised(t *testing.T) {
	dir := t.TempDir()
	child := exec.Command(os.Args[0])
	child.Env = append(os.Environ(), writing+"="+dir)
	out, err := child.StdoutPipe()
	must(t, err)
	must(t, child.Start())
	lines := bufio.NewScanner(out)
	promised := 0
	for lines.Scan() {
		if promised, err = strconv.Atoi(lines.Text()); err != nil {
			t.Errorf("the writer says %q", lines.Text())
			break
		}
		if promised == 20 {
			_, err := ledger.Open(dir, noon)
			var locked *ledger.LockedError
			if !errors.As(err, &locked) || locked.PID != child.Process.Pid {
				t.Errorf("opened beside process %d: %v", child.Process.Pid, err)
			}
			must(t, child.Process.Kill())
		}
	}
	if err := child.Wait(); err == nil {
		t.Error("the writer ended by itself")
	}
	l := open(t, dir)
	n, err := l.VerifyChain(t.Context())
	must(t, err)
	if promised < 20 || n < int64(promised) || n > int64(promised)+1 {
		t.Errorf("%d entries were promised, %d are there", promised, n)
	}
	entries, err := l.Entries(t.Context(), ledger.Filter{})
	must(t, err)
	for i, e := range entries {
		if e.Text != strconv.Itoa(i+1) {
			t.Fatalf("entry %d is %q", i+1, e.Text)
		}
	}
	m, ok, err := l.Move(t.Context(), "billing")
	if err != nil || !ok || m.State != strconv.FormatInt(n, 10) {
		t.Errorf("the move stands at %+v (%t, %v), the last entry is %d", m, ok, err, n)
	}
}

// TestReadOnlyWorksBesideAWriter sees what it commits, and writes nothing.
func TestReadOnlyWorksBesideAWriter(t *testing.T) {
	dir := t.TempDir()
	if _, err := ledger.OpenReadOnly(dir); err == nil {
		t.Error("a ledger that is not there was opened")
	}
	if left, _ := os.ReadDir(dir); len(left) > 0 {
		t.Errorf("looking for a ledger left %v", left)
	}
	l := open(t, dir)
	add(t, l, "one")
	r, err := ledger.OpenReadOnly(dir)
	must(t, err)
	defer r.Close()
	for want := int64(1); want < 4; want++ {
		if n, err := r.VerifyChain(t.Context()); err != nil || n != want {
			t.Errorf("it sees %d entries, want %d (%v)", n, want, err)
		}
		add(t, l, "more")
	}
	if _, err := r.Append(t.Context(), ledger.Entry{Kind: "note"}); err == nil {
		t.Error("it wrote")
	}
	must(t, l.Close())
	if n, err := r.VerifyChain(t.Context()); err != nil || n != 4 {
		t.Errorf("after the writer has gone: %d, %v", n, err)
	}
}

// TestWritersOfOneLedgerTakeTurns: the chain has no fork.
func TestWritersOfOneLedgerTakeTurns(t *testing.T) {
	l := open(t, t.TempDir())
	var all sync.WaitGroup
	for w := range 4 {
		all.Go(func() {
			for n := range 10 {
				if _, err := l.Append(t.Context(), ledger.Entry{Kind: "note", Text: fmt.Sprint(w, n)}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	if n, err := l.VerifyChain(t.Context()); err != nil || n != 40 {
		t.Errorf("verified %d, %v", n, err)
	}
}

// TestAMoveIsItsLastRecord with the entry that explains it, after reopening.
func TestAMoveIsItsLastRecord(t *testing.T) {
	dir := t.TempDir()
	l := open(t, dir)
	if _, ok, err := l.Move(t.Context(), "billing"); ok || err != nil {
		t.Errorf("before the first: %t, %v", ok, err)
	}
	want := ledger.MoveRecord{Capability: "billing", State: "copying", Owner: change.Monolith, Epoch: 1, PlanDigest: "d", UpdatedAt: noon(), Detail: json.RawMessage(`{"a":1}`)}
	must(t, l.SaveMove(t.Context(), want, ledger.Entry{Capability: "billing", Kind: "copy", Text: "the copy begins"}))
	want.State, want.Owner, want.Epoch, want.Detail = "ready", change.Service, 1<<40, nil
	must(t, l.SaveMove(t.Context(), want, ledger.Entry{Capability: "billing", Kind: "ready", Text: "ready"}))
	must(t, l.SaveMove(t.Context(), ledger.MoveRecord{Capability: "catalog", State: "idle"}, ledger.Entry{Capability: "catalog", Kind: "idle"}))
	must(t, l.Close())
	l = open(t, dir)
	got, ok, err := l.Move(t.Context(), "billing")
	if err != nil || !ok {
		t.Fatalf("%t, %v", ok, err)
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	if n, err := l.VerifyChain(t.Context()); err != nil || n != 3 {
		t.Errorf("verified %d, %v", n, err)
	}
	add(t, l, "the chain goes on")
	if n, err := l.VerifyChain(t.Context()); err != nil || n != 4 {
		t.Errorf("verified %d, %v", n, err)
	}
}

// TestAMoveAndItsEntryAreStoredTogether or neither is.
func TestAMoveAndItsEntryAreStoredTogether(t *testing.T) {
	dir := t.TempDir()
	l := open(t, dir)
	_, err := raw(t, dir).Exec("CREATE TRIGGER refuse BEFORE INSERT ON move WHEN NEW.state = 'bad' BEGIN SELECT RAISE(ABORT, 'refused'); END")
	must(t, err)
	if err := l.SaveMove(t.Context(), ledger.MoveRecord{Capability: "billing", State: "bad"}, ledger.Entry{Kind: "bad"}); err == nil {
		t.Fatal("stored")
	}
	if n, err := l.VerifyChain(t.Context()); err != nil || n != 0 {
		t.Errorf("the entry of a record that was not stored is there: %d, %v", n, err)
	}
	must(t, l.SaveMove(t.Context(), ledger.MoveRecord{Capability: "billing", State: "good"}, ledger.Entry{Kind: "good"}))
}

func TestNothingRestsOnEvidenceThatWasChanged(t *testing.T) {
	dir := t.TempDir()
	l := open(t, dir)
	_, err := l.AddEvidence(t.Context(), ledger.Evidence{Capability: "billing", Kind: "contract", Verdict: "fail", Summary: "s", By: "ann"})
	must(t, err)
	_, err = raw(t, dir).Exec(`UPDATE entry SET detail = replace(detail, '"fail"', '"pass"')`)
	must(t, err)
	if found, err := l.Evidence(t.Context(), "billing", "contract"); err == nil || !strings.Contains(err.Error(), "entry 1 was changed") {
		t.Errorf("%+v, %v", found, err)
	}
}

// TestTheLatestEvidenceIsFirst among that of its capability and kind only, and
// it is in the chain.
func TestTheLatestEvidenceIsFirst(t *testing.T) {
	dir := t.TempDir()
	l := open(t, dir)
	ctx := t.Context()
	if none, err := l.Evidence(ctx, "billing", "verify"); len(none) > 0 || err != nil {
		t.Errorf("before the first: %+v, %v", none, err)
	}
	evidence := func(capability, kind, verdict string) ledger.Evidence {
		e, err := l.AddEvidence(ctx, ledger.Evidence{Capability: capability, Kind: kind, Verdict: verdict, Summary: "s", By: "ann",
			Details: json.RawMessage(`{"rows":3}`), Subject: ledger.Subject{Contract: "c", Config: "f", MonolithBuild: "m", ServiceBuild: "b"}})
		must(t, err)
		return e
	}
	evidence("billing", "verify", "pass")
	want := evidence("billing", "verify", "fail")
	evidence("catalog", "verify", "pass")
	evidence("billing", "shadow", "pass")
	must(t, l.Close())
	l = open(t, dir)
	all, err := l.Evidence(ctx, "billing", "verify")
	if err != nil || len(all) != 2 {
		t.Fatalf("%+v, %v", all, err)
	}
	got := all[0]
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	if got.Seq != 2 || got.Hash == "" || !got.At.Equal(noon().Truncate(time.Microsecond)) {
		t.Errorf("it is not bound to its entry: %+v", got)
	}
	entries, err := l.Entries(ctx, ledger.Filter{Capability: "billing", Kind: "evidence:verify"})
	must(t, err)
	if len(entries) != 2 || entries[1].Text != "verify fail: s" || entries[1].Actor != "ann" || entries[1].Hash != got.Hash {
		t.Errorf("its entries are %+v", entries)
	}
	if _, err := raw(t, dir).Exec(`UPDATE entry SET detail = replace(detail, 'fail', 'pass') WHERE seq = 2`); err != nil {
		t.Fatal(err)
	}
	if _, err := l.VerifyChain(ctx); err == nil {
		t.Error("forged evidence was not found")
	}
}
