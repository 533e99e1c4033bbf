package crashes

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"stranglerfig/contract-tests/history"
	"stranglerfig/migrations/change"
	"stranglerfig/migrations/engine"
)

// TestAMoveKeepsItsPromisesWhateverIsKilled takes moves through their lives
// while clients write, and lets a fault happen at a point of each operation.
func TestAMoveKeepsItsPromisesWhateverIsKilled(t *testing.T) {
	s := onStage(t)
	t.Logf("go test ./contract-tests/crashes -seed %d%s plays this again", *seed, map[bool]string{true: " -crash.all"}[*crashAll])
	struck := 0
	for i, fates := range lives(*seed, *crashAll) {
		played := t.Run(fmt.Sprint(i+1), func(t *testing.T) {
			l := begin(t, s, *seed+uint64(i))
			for _, f := range fates {
				t.Log(f)
				l.meet(f)
				if f.fault != "" {
					struck++
				}
			}
			l.end()
		})
		if !played {
			t.Fatalf("seed %d, life %d", *seed, i+1)
		}
	}
	t.Logf("%d faults struck", struck)
}

// life is one move with everything around it.
type life struct {
	t       *testing.T
	stage   *stage
	dice    *rand.Rand
	setup   setup
	direct  map[change.Side]string
	gate    *gate
	crew    *crew
	watch   *watch
	unwatch func()
	engine  *running
}

const (
	clients  = 3
	accounts = 1500 // of each client, to begin with: enough for some chunks
)

func begin(t *testing.T, s *stage, seed uint64) *life {
	direct, linked := s.databases(t)
	l := &life{
		t: t, stage: s, dice: rand.New(rand.NewPCG(seed, 1<<33)), direct: direct, gate: newGate(),
		setup: setup{Monolith: linked[change.Monolith], Service: linked[change.Service], State: filepath.Join(t.TempDir(), "state")},
	}
	l.crew = hire(t, direct, l.gate, seed, clients, accounts)
	l.watch, l.unwatch = keepWatch(t, direct)
	t.Cleanup(l.unwatch)
	l.start(trap{})
	return l
}

// start starts an engine, with a trap if need be.
func (l *life) start(s trap) {
	l.t.Helper()
	l.setup.Trap = s
	l.engine = startEngine(l.t, l.gate, l.setup)
	l.t.Cleanup(l.engine.process.Kill)
}

// meet asks for an operation, lets its fate happen, and sees to it that the
// operation is accomplished in the end and every promise is kept.
func (l *life) meet(f fate) {
	l.t.Helper()
	ctx, stop := whileItMoves(l.t.Context(), l.direct)
	defer stop()
	if f.operation == "cancel" || f.operation == "complete" {
		l.crew.strange.busy.Store(false) // there will be no fence to stop a stranger
	}
	if f.operation == "resume" {
		l.pause(ctx)
	}
	if f.fault != "" {
		l.strike(ctx, f)
	}
	l.accomplish(ctx, f.operation)
	if f.operation == "prepare" {
		l.crew.strange.busy.Store(true)
	}
	must(l.t, l.crew.more(ctx))
	l.check(ctx, f.operation)
}

// pause takes the monolith's slot away, and with it the changes that it had not
// sent yet, so that the move has to pause.
func (l *life) pause(ctx context.Context) {
	l.t.Helper()
	config, err := pgx.ParseConfig(l.direct[change.Monolith])
	must(l.t, err)
	l.stage.dropSlots(l.t, change.Monolith, config.Database)
	l.until(ctx, "the move pauses", func() error {
		st, err := l.engine.status(ctx)
		if err == nil && st.Paused == "" {
			err = fmt.Errorf("the move is %s", st.State)
		}
		return err
	})
}

// strike asks for the operation with a trap at the point, and lets the fault
// happen there.
func (l *life) strike(ctx context.Context, f fate) {
	l.t.Helper()
	s := trap{Point: f.point, Kill: f.fault == killEngine}
	if strings.HasSuffix(f.point, "after-chunk") {
		s.Pass = 1 + l.dice.IntN(3) // each of three tables passes it at least once
	}
	l.ready(ctx)
	must(l.t, l.engine.arm(ctx, s))
	answer := make(chan error, 1)
	asked := l.engine
	ask := func() { answer <- asked.do(ctx, f.operation) }
	go ask()
	for struck := false; !struck; {
		struck = true
		select {
		case goOn := <-asked.trapped:
			must(l.t, l.stage.strike(ctx, f.fault, l.manner(), func() { close(goOn) }, l.while))
		case <-asked.process.Done():
			l.succeed(ctx, f.operation)
		case err := <-answer: // an engine that settles what was before is busy
			struck = false
			if err == nil || pace(ctx) != nil {
				l.t.Fatalf("%s was not passed (%v)\n%s", f.point, err, asked.autopsy(l.t))
			}
			go ask()
		}
	}
	l.t.Logf("%s was answered: %v", f.operation, <-answer)
}

// succeed starts the engine after one that was killed. Sometimes it is killed as
// well while it settles what was left, and sometimes it finds one of the servers
// out of reach, and is asked for the operation all the same.
func (l *life) succeed(ctx context.Context, operation string) {
	l.t.Helper()
	switch l.dice.IntN(3) {
	case 0:
		points := append(engine.Points(operation), operation+".after-ask", operation+".after-unfence")
		s := trap{Point: points[l.dice.IntN(len(points))], Kill: true}
		l.t.Logf("the next engine is to be killed at %s, if it passes that", s.Point)
		l.start(s)
	case 1:
		f := []fault{cutMonolith, cutService}[l.dice.IntN(2)]
		l.t.Logf("the next engine begins while %s", f)
		answer := make(chan error, 1)
		must(l.t, l.stage.strike(ctx, f, l.manner(), func() {
			l.start(trap{})
			asked := l.engine
			go func() { answer <- asked.do(ctx, operation) }()
		}, l.while))
		<-answer
	default:
		l.start(trap{})
	}
}

// manner draws how a link is cut: nobody answers there, or whoever does says
// nothing.
func (l *life) manner() string { return []string{"refuse", "hang"}[l.dice.IntN(2)] }

// while lets some time pass.
func (l *life) while() { l.watch.pass(l.t.Context(), 1+l.dice.Int64N(30)) }

// ready waits until an engine answers for the move.
func (l *life) ready(ctx context.Context) {
	l.t.Helper()
	l.until(ctx, "an engine answers", func() error {
		if l.engine.ended() {
			l.start(trap{})
		}
		_, err := l.engine.status(ctx)
		return err
	})
}

// accomplish asks for an operation until it is done. Whoever asks an engine that
// has just lost a database may be told no, but not for ever.
func (l *life) accomplish(ctx context.Context, operation string) {
	l.t.Helper()
	l.until(ctx, operation+" is accomplished", func() error {
		if l.engine.ended() {
			l.start(trap{})
		}
		st, err := l.engine.status(ctx)
		switch {
		case err != nil:
			return err
		case st.Paused != "" && operation != "resume":
			l.t.Fatalf("the move paused: %s", st.Paused)
		case done(operation, st):
			return nil
		case st.Switching:
			return errors.New("a switch is under way")
		}
		return errors.Join(fmt.Errorf("the move is %s, owned by the %s; %s; forward %+v; reverse %+v", st.State, st.Owner, st.Problem, st.Forward, st.Reverse), l.engine.do(ctx, operation))
	})
}

// done reports whether an operation has been accomplished.
func done(operation string, st engine.Status) bool {
	following := !st.Switching && st.Live()
	switch operation {
	case "prepare":
		return st.State == "prepared"
	case "copy", "resume":
		return following
	case "verify", "repair":
		return following && st.Rest()
	case "rehearsal":
		return following && st.Last != nil && st.Last.Kind == "rehearsal" && st.Last.OK
	case "cutover":
		return following && st.State == "moved"
	case "rollback":
		return following && st.State == "ready"
	case "cancel":
		return st.State == "cancelled"
	default:
		return st.State == "complete"
	}
}

// until repeats something until it succeeds.
func (l *life) until(ctx context.Context, what string, try func() error) {
	l.t.Helper()
	var last error
	for {
		err := try()
		if err == nil {
			return
		}
		if ctx.Err() == nil { // what ends with the time says nothing
			last = err
		}
		if pace(ctx) != nil {
			l.t.Fatalf("waited in vain until %s: %v\n%v\n%s", what, context.Cause(ctx), last, l.engine.autopsy(l.t))
		}
	}
}

// check looks at everything that must hold after an operation, while the
// clients rest: the owner holds what they know, and a side that is followed
// into holds the same.
func (l *life) check(ctx context.Context, operation string) {
	l.t.Helper()
	defer l.crew.rest()()
	owner, both := change.Monolith, true
	switch operation {
	case "cutover":
		owner = change.Service
	case "complete":
		owner, both = change.Service, false
	case "prepare", "cancel", "resume": // what a pause has missed is not there yet
		both = false
	}
	if led := l.gate.leads(); led != owner {
		l.t.Errorf("after the %s the gate leads to the %s", operation, led)
	}
	l.holds(ctx, owner)
	if both {
		l.until(ctx, "the follower holds what the owner holds", func() error {
			have, _, err := l.stored(ctx, owner.Other())
			if d := difference(have, l.crew.expected(have)); err == nil && d != "" {
				st, problem := l.engine.status(ctx)
				err = fmt.Errorf("%s\nthe engine says %+v, %v", d, st, problem)
			}
			return err
		})
		l.holds(ctx, owner.Other())
	}
	if operation == "cancel" || operation == "complete" {
		l.leftBehind(ctx, operation)
	}
}

// holds reports what a side holds otherwise than the clients know.
func (l *life) holds(ctx context.Context, side change.Side) {
	l.t.Helper()
	have, journal, err := l.stored(ctx, side)
	must(l.t, err)
	if d := difference(have, l.crew.expected(have)); d != "" {
		l.t.Errorf("the %s's side:\n%s", side, d)
	}
	if found := history.Check(l.crew.log.Operations(), "operation", journal); !found.Clean() || found.Acked == 0 {
		l.t.Errorf("the %s's side: %+v", side, found)
	}
}

func (l *life) stored(ctx context.Context, side change.Side) (have map[int64]string, journal map[string]int, err error) {
	conn, err := pgx.Connect(ctx, l.direct[side])
	if err != nil {
		return nil, nil, err
	}
	defer conn.Close(ctx)
	if have, err = listed[int64, string](ctx, conn, dialects[side].accounts, "%"); err != nil {
		return nil, nil, err
	}
	journal, err = listed[string, int](ctx, conn, dialects[side].journal, "%")
	return have, journal, err
}

// leftBehind makes sure that nothing of the move is left in either database,
// and that a cancelled one has emptied the service's tables.
func (l *life) leftBehind(ctx context.Context, operation string) {
	l.t.Helper()
	for side, dsn := range l.direct {
		conn, err := pgx.Connect(ctx, dsn)
		must(l.t, err)
		defer conn.Close(ctx)
		var left int
		must(l.t, conn.QueryRow(ctx, `SELECT (SELECT count(*) FROM pg_namespace WHERE nspname = 'strangler') + (SELECT count(*) FROM pg_publication)
			+ (SELECT count(*) FROM pg_replication_slots WHERE database = current_database()) + (SELECT count(*) FROM pg_trigger WHERE tgname LIKE 'strangler%')`).Scan(&left))
		if left > 0 {
			l.t.Errorf("after the %s, %d things are left in the %s's database", operation, left, side)
		}
		if side == change.Service && operation == "cancel" {
			var rows int
			must(l.t, conn.QueryRow(ctx, "SELECT (SELECT count(*) FROM accounts) + (SELECT count(*) FROM lines) + (SELECT count(*) FROM journal)").Scan(&rows))
			if rows > 0 {
				l.t.Errorf("after the cancel, %d rows are left in the service's tables", rows)
			}
		}
	}
}

// end ends the life: every operation has been answered, and the engine ends by
// itself when it is asked to.
func (l *life) end() {
	l.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := l.engine.process.Stop(ctx); err != nil {
		l.t.Errorf("the engine ended with %v:\n%s", err, l.engine.process.Output())
	}
	l.crew.dismiss()
	l.unwatch()
	answered := 0
	for _, op := range l.crew.log.Operations() {
		if op.Outcome == history.Pending {
			l.t.Errorf("%s was never answered", op.Key)
		}
		answered++
	}
	l.t.Logf("%d operations, %d acknowledged to clients, %d refused by a fence", answered, l.crew.acked.Load(), l.crew.refused.Load())
}
