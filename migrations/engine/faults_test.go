package engine_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"stranglerfig/migrations/change"
	"stranglerfig/migrations/engine"
	"stranglerfig/migrations/ledger"
	"stranglerfig/migrations/mapping"
)

func (w *world) spec() engine.Spec {
	return engine.Spec{
		Capability: "billing", Plan: w.plan,
		Monolith: "sqlite:" + filepath.Join(w.dir, "monolith.db"), Service: "sqlite:" + filepath.Join(w.dir, "service.db"),
	}
}

// restart starts another engine with options of a test's own.
func (w *world) restart(o engine.Options) {
	w.t.Helper()
	w.restartWithin(context.Background(), o)
}

// restartWithin does so and waits no longer than ctx for it to settle.
func (w *world) restartWithin(ctx context.Context, o engine.Options) {
	w.t.Helper()
	w.stop()
	w.gate = newGate()
	var err error
	w.ledger, err = ledger.Open(filepath.Join(w.dir, "state"), time.Now)
	must(w.t, err)
	o.Ledger = w.ledger
	if o.Routes == nil {
		o.Routes = w.gate
	}
	w.engine = engine.New(o)
	must(w.t, w.engine.Open(ctx, w.spec()))
}

func (w *world) rows(query string) (n int) {
	w.t.Helper()
	must(w.t, w.service.QueryRow(query).Scan(&n))
	return n
}

// TestAMoveCanBeSwitchedAgainInASecondLife cancels after a rollback, when epochs
// have risen, and begins anew.
func TestAMoveCanBeSwitchedAgainInASecondLife(t *testing.T) {
	w := newWorld(t, 50)
	ctx := context.Background()
	w.ready()
	for _, to := range []change.Side{change.Service, change.Monolith} {
		_, err := w.engine.Switch(ctx, "billing", to, "", nil)
		must(t, err)
	}
	must(t, w.engine.Cancel(ctx, "billing"))
	w.ready()
	w.stop()
	w.gate = newGate()
	w.start()
	r, err := w.engine.Switch(ctx, "billing", change.Service, "", nil)
	if err != nil || r.Epoch != 4 {
		t.Errorf("%+v, %v", r, err)
	}
}

// TestADatabaseThatWasCorrectedInTheSpecIsTheOneUsed looks at one database
// first, as a dry run does, and then declares another one.
func TestADatabaseThatWasCorrectedInTheSpecIsTheOneUsed(t *testing.T) {
	w := newWorld(t, 50)
	ctx := context.Background()
	_, err := w.engine.Preflight(ctx, "billing")
	must(t, err)
	other := w.database("other.db", serviceSchema)
	s := w.spec()
	s.Service = "sqlite:" + filepath.Join(w.dir, "other.db")
	must(t, w.engine.Open(ctx, s))
	must(t, w.engine.Prepare(ctx, "billing"))
	must(t, w.engine.Copy(ctx, "billing", nil))
	var n int
	must(t, other.QueryRow("SELECT count(*) FROM invoices").Scan(&n))
	if n != 50 || w.rows("SELECT count(*) FROM invoices") != 0 {
		t.Errorf("%d rows in the declared database", n)
	}
}

// TestAMappingThatWasCorrectedIsTheOneUsed does the same with a column.
func TestAMappingThatWasCorrectedIsTheOneUsed(t *testing.T) {
	w := newWorld(t, 5)
	ctx := context.Background()
	right := w.plan
	wrong, problems := mapping.Compile(mapping.Spec{Capability: "billing", Tables: []mapping.TableSpec{
		{To: "idempotency_keys", From: "inv_idem", Key: []string{"key"}, Columns: []mapping.ColumnSpec{{To: "key", From: "k"}, {To: "body", From: "boddy"}}},
	}})
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	w.plan = wrong
	must(t, w.engine.Open(ctx, w.spec()))
	if err := w.engine.Prepare(ctx, "billing"); err == nil {
		t.Fatal("a column that does not exist was prepared")
	}
	w.plan = right
	must(t, w.engine.Open(ctx, w.spec()))
	w.ready()
}

// TestAFailedCopyCanBeCancelledAfterARestart has a row that the mapping refuses.
func TestAFailedCopyCanBeCancelledAfterARestart(t *testing.T) {
	w := newWorld(t, 50)
	ctx := context.Background()
	exec(t, w.monolith, "INSERT INTO inv (no, amount, st, created) VALUES ('bad', 1, 9, '2026-03-01 10:00:00')")
	must(t, w.engine.Prepare(ctx, "billing"))
	if err := w.engine.Copy(ctx, "billing", nil); err == nil {
		t.Fatal("a row that the mapping refuses was copied")
	}
	w.restart(engine.Options{})
	must(t, w.engine.Cancel(ctx, "billing"))
}

// TestALostLedgerLearnsFromTheDatabasesAndEmptiesNothing loses the state while
// the service owns.
func TestALostLedgerLearnsFromTheDatabasesAndEmptiesNothing(t *testing.T) {
	w := newWorld(t, 50)
	ctx := context.Background()
	w.ready()
	_, err := w.engine.Switch(ctx, "billing", change.Service, "", nil)
	must(t, err)
	exec(t, w.service, "INSERT INTO invoices (number, amount_cents, status, issued_at, currency) VALUES ('svc', 1, 'issued', '2026-07-01T08:00:00Z', 'EUR')")
	w.stop()
	must(t, os.RemoveAll(filepath.Join(w.dir, "state")))
	w.gate = newGate()
	w.start()
	st, err := w.engine.Status(ctx, "billing")
	must(t, err)
	if st.Owner != change.Service || st.Epoch != 2 {
		t.Errorf("after the loss the %s owns at epoch %d", st.Owner, st.Epoch)
	}
	if err := w.engine.Cancel(ctx, "billing"); err == nil || w.rows("SELECT count(*) FROM invoices") != 51 {
		t.Errorf("cancel: %v, and %d rows are left", err, w.rows("SELECT count(*) FROM invoices"))
	}
	report, err := w.engine.Verify(ctx, "billing", engine.VerifyRequest{}, nil)
	must(t, err)
	if !report.Clean {
		t.Errorf("%+v", report)
	}
	_, err = w.engine.Switch(ctx, "billing", change.Monolith, "", nil)
	must(t, err)
}

// touching calls back between the listing of touched keys and what follows.
type touching struct {
	change.Database
	after func()
}

func (d *touching) Touched(ctx context.Context, since change.Position, limit int) ([]change.Change, bool, error) {
	a, b, c := d.Database.Touched(ctx, since, limit)
	if d.after != nil {
		f := d.after
		d.after = nil
		f()
	}
	return a, b, c
}

// TestAKeyTouchedWhileTouchedKeysAreListedIsVerifiedLater lets a client write in
// that moment, and its copy be wrong on the follower.
func TestAKeyTouchedWhileTouchedKeysAreListedIsVerifiedLater(t *testing.T) {
	w := newWorld(t, 50)
	ctx := context.Background()
	var monolith *touching
	w.restart(engine.Options{Audit: time.Hour, Open: func(ctx context.Context, dsn, move string, side change.Side, tables []change.Table) (change.Database, error) {
		db, err := engine.OpenDatabase(ctx, dsn, move, side, tables)
		if side == change.Monolith && err == nil {
			monolith = &touching{Database: db}
			return monolith, nil
		}
		return db, err
	}})
	w.ready()
	monolith.after = func() {
		exec(t, w.monolith, "UPDATE inv SET amount = 77.77 WHERE id = 7")
		for w.rows("SELECT amount_cents FROM invoices WHERE id = 7") != 7777 {
			runtime.Gosched()
		}
		exec(t, w.service, "UPDATE strangler_context SET applier = 1")
		exec(t, w.service, "UPDATE invoices SET amount_cents = 1 WHERE id = 7")
		exec(t, w.service, "UPDATE strangler_context SET applier = 0")
	}
	if _, err := w.engine.Rehearse(ctx, "billing", nil); err != nil {
		return // it was found at once
	}
	if r, err := w.engine.Switch(ctx, "billing", change.Service, "", nil); err == nil {
		t.Errorf("switched although key 7 differs; %d touched keys were verified", r.Touched)
	}
}

// flaky fails to flip a few times.
type flaky struct {
	*gate
	fail int
}

func (f *flaky) Flip(capability string, owner change.Side, epoch uint64) error {
	if epoch > 1 && f.fail > 0 {
		f.fail--
		return errors.New("replica 2 did not acknowledge")
	}
	return f.gate.Flip(capability, owner, epoch)
}

// TestRoutesThatDoNotFollowAtOnceAreAskedAgain must end with everyone released.
func TestRoutesThatDoNotFollowAtOnceAreAskedAgain(t *testing.T) {
	w := newWorld(t, 50)
	ctx := context.Background()
	gate := newGate()
	w.restart(engine.Options{Routes: &flaky{gate, 2}})
	w.ready()
	if r, err := w.engine.Switch(ctx, "billing", change.Service, "", nil); err != nil || !r.OK {
		t.Fatalf("%+v, %v", r, err)
	}
	gate.mu.Lock()
	defer gate.mu.Unlock()
	if gate.held || gate.owner != change.Service {
		t.Errorf("held %v, owner %s", gate.held, gate.owner)
	}
}

// TestAVerificationEndsWhenNobodyWaitsForIt has a row that stops
// the forward stream.
func TestAVerificationEndsWhenNobodyWaitsForIt(t *testing.T) {
	w := newWorld(t, 50)
	ctx := context.Background()
	must(t, w.engine.Prepare(ctx, "billing"))
	must(t, w.engine.Copy(ctx, "billing", nil))
	exec(t, w.monolith, "INSERT INTO inv (no, amount, st, created) VALUES ('bad', 1, 9, '2026-03-01 10:00:00')")
	asked, leave := context.WithCancel(ctx)
	time.AfterFunc(50*time.Millisecond, leave)
	if _, err := w.engine.Verify(asked, "billing", engine.VerifyRequest{}, nil); err == nil {
		t.Error("verified although a stream is down")
	}
	must(t, w.engine.Cancel(ctx, "billing"))
}

// noReverse cannot take the reverse stream.
type noReverse struct{ change.Database }

func (d noReverse) TakeStream(ctx context.Context, stream, runner string, start change.Position) (change.Checkpoint, error) {
	if stream == "reverse" {
		return change.Checkpoint{}, errors.New("the disk is full")
	}
	return d.Database.TakeStream(ctx, stream, runner, start)
}

// TestWithoutALiveWayBackNothingIsReady: such a move cannot even be made ready.
func TestWithoutALiveWayBackNothingIsReady(t *testing.T) {
	w := newWorld(t, 50)
	ctx := context.Background()
	w.restart(engine.Options{Open: func(ctx context.Context, dsn, move string, side change.Side, tables []change.Table) (change.Database, error) {
		db, err := engine.OpenDatabase(ctx, dsn, move, side, tables)
		if side == change.Monolith && err == nil {
			return noReverse{db}, nil
		}
		return db, err
	}})
	must(t, w.engine.Prepare(ctx, "billing"))
	if err := w.engine.Copy(ctx, "billing", nil); err == nil {
		t.Error("the copy ended although the reverse stream cannot be taken")
	}
	if _, err := w.engine.Switch(ctx, "billing", change.Service, "", nil); err == nil {
		t.Error("cut over without a way back")
	}
}

// TestCloseWaitsForASwitchUnderWay closes the engine in the middle of one.
func TestCloseWaitsForASwitchUnderWay(t *testing.T) {
	w := newWorld(t, 50)
	var e *engine.Engine
	closed := make(chan struct{})
	w.restart(engine.Options{At: func(point string) {
		if point == "cutover.after-hold" {
			go func() {
				defer close(closed)
				if err := e.Close(); err != nil {
					t.Error(err)
				}
			}()
		}
	}})
	e = w.engine
	w.ready()
	if _, err := e.Switch(context.Background(), "billing", change.Service, "", nil); err == nil {
		t.Log("the switch was faster than the close")
	}
	<-closed
}

// unfollowed refuses to be followed into, once.
type unfollowed struct {
	change.Database
	refused bool
}

func (d *unfollowed) TakeStream(ctx context.Context, stream, runner string, start change.Position) (change.Checkpoint, error) {
	if !d.refused {
		d.refused = true
		return change.Checkpoint{}, errors.New("the connection is gone")
	}
	return d.Database.TakeStream(ctx, stream, runner, start)
}

// TestACopyThatCouldNotBeFollowedIsAskedForAgain loses a database between the
// last chunk and the streams.
func TestACopyThatCouldNotBeFollowedIsAskedForAgain(t *testing.T) {
	w := newWorld(t, 50)
	ctx := context.Background()
	w.restart(engine.Options{Open: func(ctx context.Context, dsn, move string, side change.Side, tables []change.Table) (change.Database, error) {
		db, err := engine.OpenDatabase(ctx, dsn, move, side, tables)
		if err == nil && side == change.Service {
			db = &unfollowed{Database: db}
		}
		return db, err
	}})
	must(t, w.engine.Prepare(ctx, "billing"))
	if err := w.engine.Copy(ctx, "billing", nil); err == nil {
		t.Fatal("a copy that is not followed was done")
	}
	must(t, w.engine.Copy(ctx, "billing", nil))
	report, err := w.engine.Verify(ctx, "billing", engine.VerifyRequest{}, nil)
	must(t, err)
	if !report.Clean {
		t.Errorf("%+v", report)
	}
}

// TestWhileADatabaseIsAwayEveryOperationSaysSo starts an engine that can open
// only one of the databases of a move that was ready.
func TestWhileADatabaseIsAwayEveryOperationSaysSo(t *testing.T) {
	w := newWorld(t, 50)
	ctx := context.Background()
	w.ready()
	away := errors.New("the database is away")
	opening, tried := context.WithCancel(ctx)
	w.restartWithin(opening, engine.Options{Open: func(ctx context.Context, dsn, move string, side change.Side, tables []change.Table) (change.Database, error) {
		if side == change.Service {
			tried()
			return nil, away
		}
		return engine.OpenDatabase(ctx, dsn, move, side, tables)
	}})
	for name, ask := range map[string]func() error{
		"verify":   func() error { _, err := w.engine.Verify(ctx, "billing", engine.VerifyRequest{}, nil); return err },
		"rehearse": func() error { _, err := w.engine.Rehearse(ctx, "billing", nil); return err },
		"switch":   func() error { _, err := w.engine.Switch(ctx, "billing", change.Service, "", nil); return err },
		"cancel":   func() error { return w.engine.Cancel(ctx, "billing") },
	} {
		err := ask()
		for errors.Is(err, engine.ErrBusy) { // meanwhile it tries to resume by itself
			err = ask()
		}
		if !errors.Is(err, away) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestADatabaseThatCannotTellItsWritersApartSaysSo, and nothing is changed.
func TestADatabaseThatCannotTellItsWritersApartSaysSo(t *testing.T) {
	w := newWorld(t, 5)
	ctx := context.Background()
	if err := w.engine.Observe(ctx, "billing", true); err == nil || !strings.Contains(err.Error(), "cannot tell its writers apart") {
		t.Error(err)
	}
	if _, err := w.engine.Writers(ctx, "billing"); !errors.Is(err, change.ErrNotObserved) || !strings.Contains(err.Error(), "writes of billing: strangler data prepare billing --observe") {
		t.Error(err)
	}
}

// TestAClockThatJumpsDecidesNothing: dates are for people; what is waited for is
// measured otherwise, and what comes first is numbered.
func TestAClockThatJumpsDecidesNothing(t *testing.T) {
	w := newWorld(t, 50)
	ctx := context.Background()
	var jumps atomic.Int64
	clock := func() time.Time { // a week on, a day back, a century back, …
		return time.Now().Add([]time.Duration{7 * 24 * time.Hour, -24 * time.Hour, -876_000 * time.Hour, time.Second}[jumps.Add(1)%4])
	}
	w.stop()
	var err error
	w.ledger, err = ledger.Open(filepath.Join(w.dir, "state"), clock)
	must(t, err)
	w.engine = engine.New(engine.Options{Ledger: w.ledger, Routes: w.gate, Now: clock, Audit: 10 * time.Millisecond, Bounds: patient})
	must(t, w.engine.Open(ctx, w.spec()))
	w.ready()
	stop := w.traffic(2)
	for _, to := range []change.Side{change.Service, change.Monolith, change.Service} {
		r, err := w.engine.Switch(ctx, "billing", to, "", nil)
		must(t, err)
		if r.PauseMS < 0 || r.PauseMS > float64(patient.Wait.Milliseconds()) {
			t.Errorf("the pause is said to have taken %f ms", r.PauseMS)
		}
	}
	if acked := stop(); len(acked) == 0 {
		t.Error("nobody was served")
	}
	report, err := w.engine.Verify(ctx, "billing", engine.VerifyRequest{}, nil)
	must(t, err)
	if !report.Clean {
		t.Errorf("%+v", report)
	}
	_, err = w.ledger.VerifyChain(ctx)
	must(t, err)
	rec, _, err := w.ledger.Move(ctx, "billing")
	must(t, err)
	if rec.Owner != change.Service || rec.Epoch != 4 {
		t.Errorf("the latest record is not the last one: %+v", rec)
	}
}
