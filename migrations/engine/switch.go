package engine

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"time"

	"stranglerfig/migrations/change"
	"stranglerfig/migrations/cutover"
)

const (
	touchedLimit = 5_000           // keys verified inside a pause, at most
	fewTouched   = 200             // keys that are left to the pause without another round before it
	actTimeout   = 5 * time.Second // of one action that must be retried until it succeeds
	warmUpWait   = 30 * time.Second
)

// SwitchResult tells how a switch went.
type SwitchResult struct {
	Capability string      `json:"capability"`
	Kind       string      `json:"kind"` // cutover, rollback or rehearsal
	OK         bool        `json:"ok"`
	Why        string      `json:"why,omitempty"` // it was asked for, or turned back
	From       change.Side `json:"from"`
	To         change.Side `json:"to"`
	Epoch      uint64      `json:"epoch"` // the owner's, after it
	At         time.Time   `json:"at"`
	PauseMS    float64     `json:"pause_ms"` // hold to release
	Held       int         `json:"held"`     // writes that waited at the release
	Touched    int64       `json:"touched"`  // keys verified inside the pause
	Proven     int64       `json:"proven,omitempty"`
	Predicted  *Prediction `json:"predicted,omitempty"` // of a rehearsal that passed
	Steps      []StepTime  `json:"steps"`
	Warning    string      `json:"warning,omitempty"`
}

// StepTime is how long one action of a switch took.
type StepTime struct {
	Name string  `json:"name"`
	MS   float64 `json:"ms"`
}

// ErrSwitchAborted is returned when a switch turned back before its claim. The
// old owner goes on and nothing was lost.
var ErrSwitchAborted = errors.New("the switch was aborted; the old owner goes on")

// ErrAlreadyOwner is returned when the side asked for owns already.
var ErrAlreadyOwner = errors.New("that side owns the capability already")

// Switch makes a side the owner of a capability's writes and data. tell, which
// may be nil, hears of every step as it ends.
func (e *Engine) Switch(asked context.Context, capability string, to change.Side, why string, tell func(StepTime)) (SwitchResult, error) {
	return e.switchOver(asked, capability, cutover.Switch, to, why, tell)
}

// Rehearse does everything a switch does up to the claim, and turns back: it
// proves that the hold, the fence and the drain work, measures the pause, and
// proves the inverse mapping by storing real rows in a rolled-back transaction.
func (e *Engine) Rehearse(asked context.Context, capability string, tell func(StepTime)) (SwitchResult, error) {
	return e.switchOver(asked, capability, cutover.Rehearse, "", "", tell)
}

func (e *Engine) switchOver(asked context.Context, capability string, event cutover.Event, to change.Side, why string, tell func(StepTime)) (SwitchResult, error) {
	var result SwitchResult
	err := e.exclusively(asked, capability, func(ctx context.Context, m *move) error {
		s := m.current()
		if event == cutover.Switch && s.Owner == to {
			return fmt.Errorf("%s: %w (%s, epoch %d)", capability, ErrAlreadyOwner, to, s.Epoch)
		}
		if _, _, err := s.Step(event, ""); err != nil {
			return err
		}
		if err := m.wake(ctx); err != nil {
			return err
		}
		if err := m.checkOwner(ctx); err != nil {
			return err
		}
		if m.current() != s {
			return fmt.Errorf("%s: the databases knew another owner than the ledger, which has learned it: look at the status, then try again", capability)
		}
		if err := m.warmUp(ctx, s.Owner); err != nil {
			return fmt.Errorf("%s is not ready for a switch: %w", capability, err)
		}
		var proven int64
		if event == cutover.Rehearse {
			var err error
			if proven, err = m.proveInverse(ctx, s.Owner); err != nil {
				return err
			}
		}
		sw := &switching{m: m, why: why, tell: tell, proven: proven}
		var err error
		result, err = sw.run(ctx, event, why)
		return err
	})
	return result, err
}

// warmUp does, before anyone is held, all that can be done before: it makes
// sure that both ways are live, lets the follower catch up, and verifies the
// keys touched since the last verification, so that the pause has few left.
func (m *move) warmUp(ctx context.Context, owner change.Side) error {
	ctx, cancel := context.WithTimeout(ctx, warmUpWait)
	defer cancel()
	for _, side := range []change.Side{owner, owner.Other()} {
		if f, ok := m.db(side).(change.Fickle); ok {
			f.Refresh(ctx)
		}
		if p, ok := m.db(side).(change.Partitioned); ok {
			if err := p.Attend(ctx); err != nil {
				return fmt.Errorf("look at the %s's partitions: %w", side, err)
			}
		}
		head, err := m.db(side).Head(ctx)
		if err != nil {
			return fmt.Errorf("read the %s's log: %w", side, err)
		}
		if err := m.stream(side).alive(ctx); err != nil {
			return fmt.Errorf("the stream from the %s is not live: %w", side, err)
		}
		if err := m.stream(side).settle(ctx, head); err != nil {
			return fmt.Errorf("the stream from the %s does not catch up: %w", side, err)
		}
	}
	// While one round of keys is verified, writers touch the next. Each is shorter
	// than the one before, until only what is touched in a moment is left.
	for before := int64(40 * touchedLimit); ; {
		if err := m.stopMaintenance(ctx); err != nil {
			return err
		}
		touched, err := m.verifyTouched(ctx, owner, 40*touchedLimit)
		if err != nil || touched <= fewTouched || touched >= before {
			return err
		}
		before = touched
	}
}

// stopMaintenance keeps work that a database has begun by itself from holding a
// fence up.
func (m *move) stopMaintenance(ctx context.Context) error {
	for _, side := range []change.Side{change.Monolith, change.Service} {
		if k, ok := m.db(side).(change.Maintained); ok {
			if err := k.StopMaintenance(ctx); err != nil {
				return fmt.Errorf("stop the maintenance of the %s's tables: %w", side, err)
			}
		}
	}
	return nil
}

// runSwitch drives a switch that an earlier engine left under way.
func (m *move) runSwitch(ctx context.Context, e cutover.Event, why string) (SwitchResult, error) {
	return (&switching{m: m, why: why}).run(ctx, e, why)
}

// switching is one switch under way.
type switching struct {
	m       *move
	why     string
	tell    func(StepTime)
	proven  int64
	attempt uint64
	marker  string
	held    Held
	holding time.Time // when the hold began
	result  SwitchResult
	kind    string
}

// run steps the machine and performs its actions until it rests. The error is
// ErrSwitchAborted when it turned back, or ctx's when the engine ended first.
func (sw *switching) run(ctx context.Context, event cutover.Event, why string) (SwitchResult, error) {
	bounded, stop := sw.bounded(ctx)
	defer stop(nil)
	for {
		before := sw.m.current()
		next, do, err := before.Step(event, why)
		if err != nil {
			return sw.result, err
		}
		sw.m.set(next)
		if event == cutover.Switch || event == cutover.Rehearse || event == cutover.Crashed {
			if err := sw.begin(ctx, next, event); err != nil {
				sw.m.set(before)
				return sw.result, err
			}
		}
		if !next.Phase.Switching() {
			return sw.settle(ctx, before, next)
		}
		event, why, err = sw.performAll(ctx, bounded, stop, next, do)
		if err != nil {
			return sw.result, err
		}
	}
}

// bounded returns the context of everything that may still be undone: it ends
// when the hold's bounds are reached.
func (sw *switching) bounded(ctx context.Context) (context.Context, context.CancelCauseFunc) {
	wait := sw.m.e.o.Bounds.Wait
	timed, cancelTimed := context.WithTimeoutCause(ctx, wait, fmt.Errorf("the pause would have exceeded %s", wait))
	bounded, cancel := context.WithCancelCause(timed)
	return bounded, func(cause error) { cancel(cause); cancelTimed() }
}

// begin fills in what is known and records the intent: the last thing the
// ledger hears before the databases and the routes are touched.
func (sw *switching) begin(ctx context.Context, next cutover.Move, event cutover.Event) error {
	switch {
	case next.Rehearsal:
		sw.kind = "rehearsal"
	case next.To == change.Monolith:
		sw.kind = "rollback"
	default:
		sw.kind = "cutover"
	}
	sw.result = SwitchResult{
		Capability: sw.m.spec.Capability, Kind: sw.kind, Why: sw.why,
		From: next.Owner, To: next.To, At: sw.m.e.o.Now(), Proven: sw.proven,
	}
	if event == cutover.Crashed {
		sw.result.Why, sw.result.Warning = "", "the engine stopped during it; the next one settled it"
		return nil
	}
	// The gaining side is fenced until the claim: whatever its log holds beyond
	// this was written by its own clients after it.
	head, err := sw.m.db(next.To).Head(ctx)
	if err != nil {
		return fmt.Errorf("read the %s's log: %w", next.To, err)
	}
	sw.m.mu.Lock()
	sw.m.gainer = head
	sw.m.mu.Unlock()
	text := fmt.Sprintf("%s to the %s begins at epoch %d", sw.kind, next.To, next.Epoch)
	if err := sw.m.save(ctx, sw.kind+"-intent", text, map[string]string{"why": sw.why}); err != nil {
		return err
	}
	sw.m.e.o.At(sw.kind + ".intent")
	return nil
}

// performAll performs the actions of a phase and returns the event they lead to.
func (sw *switching) performAll(ctx, bounded context.Context, stop context.CancelCauseFunc, s cutover.Move, do []cutover.Action) (cutover.Event, string, error) {
	for _, a := range do {
		start := time.Now()
		event, err := sw.perform(ctx, bounded, stop, s, a)
		if ctx.Err() != nil {
			return "", "", fmt.Errorf("the engine is stopping during %q; the next one goes on: %w", a, ctx.Err())
		}
		step := StepTime{Name: slugs[a], MS: milliseconds(time.Since(start))}
		sw.result.Steps = append(sw.result.Steps, step)
		if sw.tell != nil {
			sw.tell(step)
		}
		if err != nil {
			sw.m.e.o.Log.Warn("switch", "capability", sw.m.spec.Capability, "action", string(a), "error", err)
			return event, fmt.Sprintf("%s: %v", slugs[a], err), nil
		}
		sw.m.e.o.At(sw.kind + ".after-" + slugs[a])
		if event != cutover.Done {
			return event, "", nil
		}
	}
	return cutover.Done, "", nil
}

// perform performs one action. Before the claim an error means Failed; of the
// claim it means Unknown; what must happen is retried until it does.
func (sw *switching) perform(ctx, bounded context.Context, stop context.CancelCauseFunc, s cutover.Move, a cutover.Action) (cutover.Event, error) {
	m, loser, gainer := sw.m, s.Owner, s.To
	var err error
	switch a {
	case cutover.BumpGainer:
		bump := func(ctx context.Context) (err error) { sw.attempt, err = m.db(gainer).BumpAttempt(ctx); return err }
		if s.Phase == cutover.Recovering {
			return cutover.Done, sw.untilDone(ctx, "bump", bump)
		}
		err = bump(bounded)
	case cutover.Hold:
		err = sw.hold(bounded, stop)
	case cutover.FenceLoser:
		sw.marker = rand.Text()
		err = m.db(loser).Fence(bounded, change.Fence{Epoch: s.Epoch, Marker: sw.marker, Wait: m.e.o.Bounds.Wait})
	case cutover.AwaitMarker:
		err = m.stream(loser).until(bounded, func(cp change.Checkpoint) bool { return cp.Marker == sw.marker })
	case cutover.VerifyTouched:
		sw.result.Touched, err = m.verifyTouched(bounded, loser, touchedLimit)
	case cutover.ClaimGainer:
		if err = sw.claim(ctx, s); err != nil {
			return cutover.Unknown, err
		}
	case cutover.AskGainer:
		return sw.ask(ctx, s)
	case cutover.UnfenceLoser:
		return cutover.Done, sw.untilDone(ctx, "unfence", func(ctx context.Context) error { return sw.unfence(ctx, s) })
	case cutover.Flip:
		return cutover.Done, sw.untilDone(ctx, "flip", func(context.Context) error { return m.e.o.Routes.Flip(m.spec.Capability, gainer, s.Epoch+1) })
	case cutover.Release:
		return cutover.Done, sw.untilDone(ctx, "release", func(context.Context) error { return sw.release(s) })
	case cutover.Publish:
		if err := m.e.o.Published(ctx, m.spec.Capability, gainer); err != nil {
			sw.result.Warning = fmt.Sprintf("the owner words could not be written into the config: %v", err)
		}
		return cutover.Done, nil
	}
	if err != nil {
		return cutover.Failed, err
	}
	return cutover.Done, nil
}

// hold holds new writes; from then on a bound being reached ends the bounded
// context, and with it whatever the switch is waiting for.
func (sw *switching) hold(bounded context.Context, stop context.CancelCauseFunc) error {
	sw.holding = time.Now()
	held, err := sw.m.e.o.Routes.Hold(bounded, sw.m.spec.Capability, sw.m.e.o.Bounds)
	if err != nil {
		return err
	}
	sw.held = held
	if held.Overflow != nil {
		sw.m.e.wg.Go(func() {
			select {
			case err := <-held.Overflow:
				stop(err)
			case <-bounded.Done():
			}
		})
	}
	return nil
}

// release lets the held writes go to whoever the routes say owns. After an
// abort and after a crash the routes must be told that it is the old owner.
func (sw *switching) release(s cutover.Move) error {
	if s.Phase == cutover.Aborting {
		if err := sw.m.e.o.Routes.Flip(sw.m.spec.Capability, s.Owner, s.Epoch); err != nil {
			return err
		}
	}
	if sw.held.Waiting != nil {
		sw.result.Held = sw.held.Waiting()
	}
	sw.m.e.o.Routes.Release(sw.m.spec.Capability)
	if !sw.holding.IsZero() {
		sw.result.PauseMS = milliseconds(time.Since(sw.holding))
	}
	return nil
}

// untilDone retries an action that must happen, until it does or the engine
// ends. Nothing may be decided while the database that decides is away.
func (sw *switching) untilDone(ctx context.Context, name string, act func(context.Context) error) error {
	for delay := retryDelay; ; delay = min(2*delay, maxRetry) {
		bounded, cancel := context.WithTimeout(ctx, actTimeout)
		err := act(bounded)
		cancel()
		if err == nil || ctx.Err() != nil {
			sw.m.trouble("")
			return err
		}
		sw.m.trouble(fmt.Sprintf("waiting to %s: %v", name, err))
		wait(ctx, delay, nil)
	}
}

// settle records the outcome.
func (sw *switching) settle(ctx context.Context, before, now cutover.Move) (SwitchResult, error) {
	m := sw.m
	sw.result.Epoch = now.Epoch
	sw.result.OK = before.Phase == cutover.Flipping || (before.Rehearsal && before.Why == "")
	if sw.result.OK && before.Rehearsal {
		sw.result.Predicted = predict(sw.result.Steps)
		sw.result.Warning = sw.result.Predicted.tooLong(m.e.o.Bounds.Wait)
	}
	m.mu.Lock()
	if now.Owner != before.Owner {
		// Drained and compared: at the flip both sides were equal.
		m.verified = verification{Owner: now.Owner, At: m.gainer, Time: m.e.o.Now(), Rows: m.verified.Rows}
	}
	if !sw.result.OK {
		sw.result.Why = before.Why
	}
	last := sw.result
	m.last = &last
	m.mu.Unlock()
	text := fmt.Sprintf("%s: the %s owns at epoch %d, pause %.1f ms", sw.kind, now.Owner, now.Epoch, sw.result.PauseMS)
	if !sw.result.OK {
		text = fmt.Sprintf("%s aborted: %s", sw.kind, sw.result.Why)
	}
	if err := m.save(ctx, sw.kind, text, sw.result); err != nil {
		return sw.result, err
	}
	m.e.o.At(sw.kind + ".settled")
	if !sw.result.OK {
		return sw.result, fmt.Errorf("%w: %s", ErrSwitchAborted, sw.result.Why)
	}
	return sw.result, nil
}

func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
