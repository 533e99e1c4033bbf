package cutover_test

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"stranglerfig/migrations/change"
	"stranglerfig/migrations/cutover"
)

// TestTranscripts replays each file of testdata: a line "> event [why]" is
// fed to the machine, the line after it is what it answers.
func TestTranscripts(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no transcripts found (%v)", err)
	}
	for _, name := range files {
		t.Run(filepath.Base(name), func(t *testing.T) {
			want, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), replay(string(want))); diff != "" {
				t.Errorf("(-file +machine)\n%s", diff)
			}
		})
	}
}

// replay returns the transcript with the machine's own answers.
func replay(text string) string {
	var out strings.Builder
	m := cutover.New()
	lines := bufio.NewScanner(strings.NewReader(text))
	for lines.Scan() {
		line := lines.Text()
		if strings.HasPrefix(line, "#") {
			fmt.Fprintln(&out, line)
		}
		if !strings.HasPrefix(line, "> ") {
			continue
		}
		fmt.Fprintln(&out, line)
		event, why, _ := strings.Cut(line[2:], " ")
		next, do, err := m.Step(cutover.Event(event), why)
		m = next
		fmt.Fprintln(&out, answer(m, do, err))
	}
	return out.String()
}

func answer(m cutover.Move, do []cutover.Action, err error) string {
	var refused *cutover.Refused
	if errors.As(err, &refused) {
		return fmt.Sprintf("refused: %v (%s)", refused, refused.Hint)
	}
	s := fmt.Sprintf("%s, %s owns at %d", m.Settled(), m.Owner, m.Epoch)
	if m.Rehearsal {
		s += ", rehearsing"
	}
	if m.To != "" {
		s += ", to " + string(m.To)
	}
	if m.Why != "" {
		s += " (" + m.Why + ")"
	}
	if len(do) > 0 {
		names := make([]string, len(do))
		for i, a := range do {
			names[i] = string(a)
		}
		s += ": " + strings.Join(names, "; ")
	}
	return s
}

// world is a model of what the actions act upon: two databases, the routes,
// and a claim that an earlier coordinator sent and that may still arrive.
type world struct {
	fenced  [2]bool
	epoch   [2]uint64
	attempt [2]uint64
	mine    uint64 // the attempt this coordinator got from its bump
	owner   int    // where the routes send writes
	held    bool
	late    claim
}

type claim struct {
	side           int
	attempt, epoch uint64
}

func side(s change.Side) int {
	if s == change.Service {
		return 1
	}
	return 0
}

// claimAt is the databases' rule: the attempt must be current, the epoch new.
func (w *world) claimAt(c claim) bool {
	if w.attempt[c.side] != c.attempt || w.epoch[c.side] >= c.epoch {
		return false
	}
	w.epoch[c.side], w.fenced[c.side] = c.epoch, false
	return true
}

func (w *world) perform(a cutover.Action, m cutover.Move) (claimed bool) {
	loser, gainer := side(m.Owner), side(m.To)
	switch a {
	case cutover.BumpGainer:
		w.attempt[gainer]++
		w.mine = w.attempt[gainer]
	case cutover.Hold:
		w.held = true
	case cutover.FenceLoser:
		w.fenced[loser] = true
	case cutover.UnfenceLoser:
		w.fenced[loser] = false
	case cutover.ClaimGainer:
		return w.claimAt(claim{gainer, w.mine, m.Epoch + 1})
	case cutover.Flip:
		w.owner = gainer
	case cutover.Release:
		w.held = false
	case cutover.AskGainer:
		return w.epoch[gainer] == m.Epoch+1
	}
	return true
}

// TestNoInterleavingOfFaultsLeavesBothSidesOpen explores every order of
// success, failure, lost answer, crash and late claim over a switch, and
// checks at every step that at most one side takes writes (I1), and at every
// end that exactly the owner does, nobody is held, and the routes agree.
func TestNoInterleavingOfFaultsLeavesBothSidesOpen(t *testing.T) {
	x := explorer{t: t}
	start := world{epoch: [2]uint64{1, 0}, fenced: [2]bool{false, true}}
	m := cutover.Move{Phase: cutover.Ready, Owner: change.Monolith, Epoch: 1}
	x.event(m, start, cutover.Switch, 3, 2)
	if x.ends < 100 {
		t.Fatalf("explored only %d ends", x.ends)
	}
	t.Logf("%d steps, %d ends", x.steps, x.ends)
}

type explorer struct {
	t           *testing.T
	steps, ends int
}

// event steps the machine and then performs its actions in every way.
func (x *explorer) event(m cutover.Move, w world, e cutover.Event, faults, switches int) {
	next, do, err := m.Step(e, string(e))
	if err != nil {
		x.t.Fatalf("%+v: %v", m, err)
	}
	if next.Phase == cutover.Ready {
		x.atRest(next, w)
		if switches > 1 {
			x.event(next, w, cutover.Switch, faults, switches-1)
		}
		return
	}
	x.act(next, w, do, faults, switches)
}

// act performs the first of do, with a fault before, instead of, or after it.
func (x *explorer) act(m cutover.Move, w world, do []cutover.Action, faults, switches int) {
	x.steps++
	if !w.fenced[0] && !w.fenced[1] {
		x.t.Fatalf("both sides take writes at %+v: %+v", m, w)
	}
	if w.late != (claim{}) {
		// The zombie's claim may arrive at any moment.
		arrived := w
		arrived.claimAt(w.late)
		arrived.late = claim{}
		x.act(m, arrived, do, faults, switches)
	}
	if faults > 0 && m.Phase != cutover.Ready {
		x.event(m, crash(w, m, do), cutover.Crashed, faults-1, switches)
	}
	if len(do) == 0 {
		x.event(m, w, cutover.Done, faults, switches)
		return
	}
	a, rest := do[0], do[1:]
	if faults > 0 && (m.Phase == cutover.Holding || m.Phase == cutover.Fencing || m.Phase == cutover.Draining) {
		x.event(m, w, cutover.Failed, faults-1, switches)
		done := w
		done.perform(a, m)
		x.event(m, done, cutover.Failed, faults-1, switches)
	}
	if faults > 0 && a == cutover.ClaimGainer {
		lost := w
		lost.late = claim{side(m.To), w.mine, m.Epoch + 1}
		x.event(m, lost, cutover.Unknown, faults-1, switches)
		done := w
		done.perform(a, m)
		x.event(m, done, cutover.Unknown, faults-1, switches)
	}
	ok := w.perform(a, m)
	switch {
	case a == cutover.AskGainer && ok:
		x.event(m, w, cutover.Claimed, faults, switches)
	case a == cutover.AskGainer:
		x.event(m, w, cutover.Unclaimed, faults, switches)
	case a == cutover.ClaimGainer && !ok:
		x.event(m, w, cutover.Unknown, faults, switches)
	default:
		x.act(m, w, rest, faults, switches)
	}
}

// crash loses what lives in the process: the hold, and the routes, which start
// held until the engine names the owner. A claim about to be sent may arrive
// later.
func crash(w world, m cutover.Move, do []cutover.Action) world {
	w.held = true
	if len(do) > 0 && do[0] == cutover.ClaimGainer {
		w.late = claim{side(m.To), w.mine, m.Epoch + 1}
	}
	return w
}

func (x *explorer) atRest(m cutover.Move, w world) {
	x.ends++
	own, other := side(m.Owner), side(m.Owner.Other())
	if w.fenced[own] || !w.fenced[other] || w.epoch[own] <= w.epoch[other] || w.epoch[own] != m.Epoch || w.held || w.owner != own {
		x.t.Fatalf("at rest %+v but the world is %+v", m, w)
	}
}

// TestEveryPhaseCanBeLeft guards the table against a phase with no way out.
func TestEveryPhaseCanBeLeft(t *testing.T) {
	rows := cutover.Table()
	for _, p := range []cutover.Phase{cutover.Planned, cutover.Preparing, cutover.Prepared, cutover.Copying, cutover.CatchingUp,
		cutover.Ready, cutover.Paused, cutover.Holding, cutover.Fencing, cutover.Draining, cutover.Claiming, cutover.Flipping, cutover.Aborting,
		cutover.Recovering, cutover.Cancelling, cutover.Cancelled, cutover.Completing} {
		left := false
		for _, row := range strings.Split(rows, "\n") {
			from, _, _ := strings.Cut(row, " | ")
			for _, f := range strings.Split(from, ", ") {
				left = left || f == string(p)
			}
		}
		if !left {
			t.Errorf("no transition leaves %s", p)
		}
	}
}
