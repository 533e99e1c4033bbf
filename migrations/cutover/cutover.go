// Package cutover is the life of a move as a pure state machine: no clock, no
// SQL, no HTTP, no goroutine. Package engine performs what it decides.
//
// Start at [Move.Step]: it takes what happened and returns the next state and
// the actions to perform, looked up in the one table of transitions. Every
// action is safe to repeat, so an engine that died anywhere may be asked to
// perform the same actions again.
//
// The machine refuses whatever its table does not list; it never guesses.
package cutover

import (
	"fmt"
	"strings"

	"stranglerfig/migrations/change"
)

// Phase is where a move stands.
type Phase string

// The phases. The ones ending in -ing are under way and survive a crash; the
// others rest.
const (
	Planned    Phase = "planned"     // nothing exists in either database
	Preparing  Phase = "preparing"   // control tables, capture and fences are being installed
	Prepared   Phase = "prepared"    // both sides are instrumented, nothing is copied
	Copying    Phase = "copying"     // rows are being copied; changes gather in the log
	CatchingUp Phase = "catching-up" // both streams run; not yet proven equal
	Ready      Phase = "ready"       // both streams run and the sides were proven equal
	Paused     Phase = "paused"      // something happened that cannot be followed; nothing runs until a person says so
	Holding    Phase = "holding"     // new writes wait at the proxy, old ones end
	Fencing    Phase = "fencing"     // the losing database is told to refuse writers
	Draining   Phase = "draining"    // the fence's marker travels to the gaining side
	Claiming   Phase = "claiming"    // the gaining database is asked to own: the commit point
	Flipping   Phase = "flipping"    // owned; routes follow and clients are released
	Aborting   Phase = "aborting"    // the losing side is let back in
	Recovering Phase = "recovering"  // a coordinator died or lost an answer; the databases are asked
	Cancelling Phase = "cancelling"
	Cancelled  Phase = "cancelled"
	Completing Phase = "completing"
	Complete   Phase = "complete"
)

// Switching reports whether a switch is under way.
func (p Phase) Switching() bool {
	switch p {
	case Holding, Fencing, Draining, Claiming, Flipping, Aborting, Recovering:
		return true
	}
	return false
}

// Following reports whether both streams run in this phase.
func (p Phase) Following() bool {
	return p == CatchingUp || p == Ready || p.Switching()
}

// Move is the state of one move.
type Move struct {
	Phase Phase       `json:"phase"`
	Owner change.Side `json:"owner"` // the side that owned at the last rest
	Epoch uint64      `json:"epoch"` // the owner's epoch

	// The switch under way; zero at rest.
	To        change.Side `json:"to,omitempty"`
	Rehearsal bool        `json:"rehearsal,omitempty"`
	Why       string      `json:"why,omitempty"` // of an abort, or of a pause
}

// New returns a move about which nothing has been done: the monolith owns.
func New() Move {
	return Move{Phase: Planned, Owner: change.Monolith, Epoch: 1}
}

// Settled names the state people ask for: a ready move owned by the service
// is a moved one.
func (m Move) Settled() string {
	if m.Phase == Ready && m.Owner == change.Service {
		return "moved"
	}
	return string(m.Phase)
}

// Event is something that happened.
type Event string

// The events: commands of a person, outcomes of actions, and faults.
const (
	Prepare  Event = "prepare"
	Copy     Event = "copy"
	Switch   Event = "switch"
	Rehearse Event = "rehearse"
	Cancel   Event = "cancel"
	Resume   Event = "resume"
	Finish   Event = "complete"

	Done     Event = "done"     // the phase's actions succeeded
	Verified Event = "verified" // a whole verification was clean
	Diverged Event = "diverged" // a verification was not
	Pause    Event = "pause"    // a log cannot be followed any further, or has grown too long

	Failed    Event = "failed"    // an action before the claim failed, or a bound was reached
	Unknown   Event = "unknown"   // the claim was sent and its outcome is not known
	Crashed   Event = "crashed"   // an engine starts and finds the switch under way
	Claimed   Event = "claimed"   // recovery: the gaining side holds the new epoch
	Unclaimed Event = "unclaimed" // recovery: it does not, and no longer can
)

// Action is something to perform. Loser is the side that owned before the
// switch, gainer the other one.
type Action string

// The actions.
const (
	PrepareBoth   Action = "prepare both sides"
	Recut         Action = "begin the logs that broke anew"
	Backfill      Action = "copy the missing chunks"
	Follow        Action = "follow both sides"
	BumpGainer    Action = "bump the attempt on the gainer"
	Hold          Action = "hold new writes, end those in flight"
	FenceLoser    Action = "fence the loser"
	AwaitMarker   Action = "await the marker on the gainer"
	VerifyTouched Action = "verify the keys touched since the last verification"
	ClaimGainer   Action = "claim the gainer at the next epoch"
	Flip          Action = "flip routes to the gainer at the next epoch"
	Release       Action = "release held writes"
	Publish       Action = "publish the new owner"
	UnfenceLoser  Action = "unfence the loser"
	AskGainer     Action = "ask the gainer for its epoch"
	StopStreams   Action = "stop both streams"
	Dismantle     Action = "remove everything that was installed"
	Retire        Action = "rename the monolith's tables out of the way"
)

// transition is one row of the table.
type transition struct {
	from []Phase
	on   Event
	to   Phase
	do   []Action
}

// at lists phases; a helper for the table's readability only.
func at(p ...Phase) []Phase { return p }

// table is the whole machine. Anything it does not list is refused.
//
// A few rows deserve a word. A copy is done only when both sides are followed, so
// that it can be asked for again where they could not be. A move that resumes
// copies, because the pause may have come before the copy was complete; where it
// was, nothing is missing and the sides are followed at once. One that failed may
// be asked for again. Failed before the claim needs only the loser: our own claim
// was never sent and an older coordinator's was killed by the bump, so clients are
// released even when the gainer is unreachable. Unknown and Crashed may not assume
// that: they bump first, which makes any claim still under way fail, and only then
// ask. And Flipping has no way but forward.
var table = []transition{
	{at(Planned, Preparing, Cancelled), Prepare, Preparing, []Action{PrepareBoth}},
	{at(Preparing), Done, Prepared, nil},
	{at(Prepared, Copying), Copy, Copying, []Action{Recut, Backfill, Follow}},
	{at(Copying), Done, CatchingUp, nil},
	{at(Prepared, Copying, CatchingUp, Ready, Paused), Pause, Paused, []Action{StopStreams}},
	{at(Paused, Copying), Resume, Copying, []Action{Recut, Backfill, Follow}},
	{at(CatchingUp, Ready), Verified, Ready, nil},
	{at(CatchingUp, Ready), Diverged, CatchingUp, nil},

	{at(Ready), Switch, Holding, []Action{BumpGainer, Hold}},
	{at(Ready), Rehearse, Holding, []Action{BumpGainer, Hold}},
	{at(Holding), Done, Fencing, []Action{FenceLoser}},
	{at(Fencing), Done, Draining, []Action{AwaitMarker, VerifyTouched}},
	{at(Draining), Done, Claiming, []Action{ClaimGainer}},
	{at(Claiming), Done, Flipping, []Action{Flip, Release, Publish}},
	{at(Flipping), Done, Ready, nil},

	{at(Holding, Fencing, Draining), Failed, Aborting, []Action{UnfenceLoser, Release}},
	{at(Claiming), Unknown, Recovering, []Action{BumpGainer, AskGainer}},
	{at(Aborting), Done, Ready, nil},

	{at(Holding, Fencing, Draining, Claiming, Recovering, Aborting), Crashed, Recovering, []Action{BumpGainer, AskGainer}},
	{at(Flipping), Crashed, Flipping, []Action{Flip, Release, Publish}},
	{at(Recovering), Claimed, Flipping, []Action{Flip, Release, Publish}},
	{at(Recovering), Unclaimed, Aborting, []Action{UnfenceLoser, Release}},

	{at(Preparing, Prepared, Copying, CatchingUp, Ready, Paused, Cancelling), Cancel, Cancelling, []Action{StopStreams, Dismantle}},
	{at(Cancelling), Done, Cancelled, nil},
	{at(Ready, Paused, Completing), Finish, Completing, []Action{StopStreams, Retire, Dismantle}},
	{at(Completing), Done, Complete, nil},
}

// Refused is the error of a step that the table does not list or a guard
// forbids.
type Refused struct {
	Phase Phase
	Owner change.Side
	Event Event
	Hint  string
}

func (r *Refused) Error() string {
	return fmt.Sprintf("a move that is %s and owned by the %s cannot %s", r.Phase, r.Owner, r.Event)
}

// Step returns the move after an event and the actions to perform in order.
// A Switch goes to the side that does not own. why is kept for events that
// lead to an abort.
func (m Move) Step(e Event, why string) (Move, []Action, error) {
	t, ok := find(m.Phase, e)
	if !ok {
		return m, nil, &Refused{Phase: m.Phase, Owner: m.Owner, Event: e, Hint: m.hint(e)}
	}
	if hint := m.forbidden(e); hint != "" {
		return m, nil, &Refused{Phase: m.Phase, Owner: m.Owner, Event: e, Hint: hint}
	}
	do := t.do
	next := m
	next.Phase = t.to
	switch {
	case e == Switch || e == Rehearse:
		next.To, next.Rehearsal, next.Why = m.Owner.Other(), e == Rehearse, ""
	case m.Phase == Draining && e == Done && m.Rehearsal:
		// A rehearsal has proven all it can: it turns back before the claim.
		next.Phase, do = Aborting, []Action{UnfenceLoser, Release}
	case m.Phase == Flipping && e == Done:
		next.Owner, next.Epoch = m.To, m.Epoch+1
	case e == Failed || e == Unknown || e == Crashed || e == Unclaimed || e == Pause:
		if why != "" {
			next.Why = why
		}
	}
	if !next.Phase.Switching() {
		next.To, next.Rehearsal = "", false
		if next.Phase != Paused {
			next.Why = ""
		}
	}
	return next, do, nil
}

// find looks a transition up.
func find(p Phase, e Event) (transition, bool) {
	for _, t := range table {
		if t.on != e {
			continue
		}
		for _, from := range t.from {
			if from == p {
				return t, true
			}
		}
	}
	return transition{}, false
}

// forbidden names what a guard has against an event, or "".
func (m Move) forbidden(e Event) string {
	switch {
	case e == Cancel && m.Owner != change.Monolith:
		return "the service owns the data: roll back first, then cancel"
	case e == Finish && m.Owner != change.Service:
		return "the monolith still owns the data: cut over first"
	}
	return ""
}

// hint says what would have to come first.
func (m Move) hint(e Event) string {
	switch m.Phase {
	case Planned, Cancelled, Preparing:
		return "prepare it first"
	case Prepared, Copying:
		return "copy it first"
	case CatchingUp:
		return "verify it first"
	case Paused:
		return "resume it first"
	case Complete:
		return "the move is over; the monolith's tables were retired"
	case Cancelling:
		return "finish cancelling first"
	case Completing:
		return "finish completing first"
	}
	if m.Phase.Switching() {
		return "a switch is under way; wait for it to end"
	}
	if e == Prepare || e == Copy {
		return "that has been done already"
	}
	return ""
}

// Table renders the transitions for documentation and for its test.
func Table() string {
	var b strings.Builder
	for _, t := range table {
		from := make([]string, len(t.from))
		for i, p := range t.from {
			from[i] = string(p)
		}
		do := make([]string, len(t.do))
		for i, a := range t.do {
			do[i] = string(a)
		}
		fmt.Fprintf(&b, "%s | %s | %s | %s\n", strings.Join(from, ", "), t.on, t.to, strings.Join(do, "; "))
	}
	return b.String()
}
