package engine

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sort"
	"sync"
	"time"

	"stranglerfig/migrations/change"
	"stranglerfig/migrations/ledger"
	"stranglerfig/migrations/mapping"
)

// Opener opens one side of a move by its DSN.
type Opener func(ctx context.Context, dsn, move string, side change.Side, tables []change.Table) (change.Database, error)

// Options are what an engine is made of. Ledger and Routes are required.
type Options struct {
	Ledger *ledger.Ledger
	Routes Routes
	Open   Opener           // default: [OpenDatabase]
	Log    *slog.Logger     // default: discard
	Now    func() time.Time // default: time.Now
	Bounds Bounds           // of a hold; default: [DefaultBounds]

	// At is told each named point of an operation as it is passed; see
	// [Points]. Tests pause or kill there.
	At func(point string)

	// Published is called after each switch, when the new owner already
	// answers: control writes the owner words into the config. It is called
	// again after a crash in between, so it must be safe to repeat.
	Published func(ctx context.Context, capability string, owner change.Side) error

	// Audit is how often the keys touched since the last clean verification
	// are verified in the background; default 2 s. It keeps the part of the
	// verification that falls into a switch's pause small.
	Audit time.Duration

	// Guard is how often the log that each move keeps is held against its
	// budget; default 5 s.
	Guard time.Duration
}

// Spec names a move: what is moved, by which mapping, between which databases.
type Spec struct {
	Capability string
	Plan       *mapping.Plan
	Monolith   string // DSN
	Service    string // DSN
	// Copy says how the copy spares the databases.
	Copy CopyLimits
	// LogBudget bounds the log that either database keeps for the move, in
	// bytes; past it the move pauses and lets its log go. Default:
	// [DefaultLogBudget].
	LogBudget int64
}

// CopyLimits say how a copy spares the databases; see [backfill.Options].
type CopyLimits struct {
	Workers       int
	RowsPerSecond float64
	MaxLag        time.Duration
}

func (s Spec) dsn(side change.Side) string {
	if side == change.Service {
		return s.Service
	}
	return s.Monolith
}

// Engine runs the moves of every capability.
type Engine struct {
	o    Options
	ctx  context.Context // the engine's life; ended by Close
	stop context.CancelFunc
	wg   sync.WaitGroup

	mu     sync.Mutex
	moves  map[string]*move
	closed bool
}

// ErrUnknown is returned for a capability that was never opened.
var ErrUnknown = errors.New("no data is declared for this capability")

// ErrBusy is returned when another operation runs on the same move.
var ErrBusy = errors.New("another operation is running on this move")

// New returns an engine without moves.
func New(o Options) *Engine {
	if o.Open == nil {
		o.Open = OpenDatabase
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Bounds == (Bounds{}) {
		o.Bounds = DefaultBounds()
	}
	if o.At == nil {
		o.At = func(string) {}
	}
	if o.Published == nil {
		o.Published = func(context.Context, string, change.Side) error { return nil }
	}
	if o.Audit == 0 {
		o.Audit = 2 * time.Second
	}
	if o.Guard == 0 {
		o.Guard = guardEvery
	}
	ctx, stop := context.WithCancel(context.Background())
	return &Engine{o: o, ctx: ctx, stop: stop, moves: map[string]*move{}}
}

// Open takes a capability under the engine's care. What an earlier process
// left half done is finished or undone: Open waits for that until ctx ends,
// and it goes on in the background after that, the capability's writes staying
// held. Opening the same spec again does nothing; opening a changed mapping is
// refused unless the move is at rest with nothing installed.
func (e *Engine) Open(ctx context.Context, s Spec) error {
	if s.LogBudget == 0 {
		s.LogBudget = DefaultLogBudget
	}
	m, known, err := e.admit(ctx, s)
	if err != nil {
		return fmt.Errorf("open move %s: %w", s.Capability, err)
	}
	if known {
		return m.adopt(s)
	}
	settled := make(chan struct{})
	e.wg.Go(func() { m.guard(e.ctx) })
	e.wg.Go(func() {
		m.resume(e.ctx)
		close(settled)
	})
	select {
	case <-settled:
	case <-ctx.Done():
	}
	return nil
}

// admit returns the move of a capability, as the ledger knows it before anyone
// else can see it.
func (e *Engine) admit(ctx context.Context, s Spec) (m *move, known bool, err error) {
	if m, err = e.move(s.Capability); err == nil {
		return m, true, nil
	}
	m = newMove(e, s)
	if err := m.load(ctx); err != nil {
		return nil, false, err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if first, known := e.moves[s.Capability]; known {
		return first, true, nil
	}
	e.moves[s.Capability] = m
	return m, false, nil
}

// Close stops every stream and operation and waits for them. A switch under
// way is left as a crash would leave it, to be finished by the next engine.
func (e *Engine) Close() error {
	e.stop()
	e.mu.Lock()
	e.closed = true
	moves := make([]*move, 0, len(e.moves))
	for _, m := range e.moves {
		moves = append(moves, m)
	}
	e.mu.Unlock()
	e.wg.Wait()
	var errs []error
	for _, m := range moves {
		errs = append(errs, m.close())
	}
	return errors.Join(errs...)
}

// move returns the move of a capability.
func (e *Engine) move(capability string) (*move, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	m, ok := e.moves[capability]
	if !ok {
		return nil, fmt.Errorf("%s: %w", capability, ErrUnknown)
	}
	return m, nil
}

// Capabilities lists the opened moves by name.
func (e *Engine) Capabilities() []string {
	e.mu.Lock()
	defer e.mu.Unlock()
	names := make([]string, 0, len(e.moves))
	for name := range e.moves {
		names = append(names, name)
	}
	sort.Strings(names)
	return names
}

// exclusively runs an operation on a move, refusing a second one meanwhile.
// The operation lives as long as the engine, not as long as whoever asked for
// it: a client that hangs up must not leave a switch half done.
func (e *Engine) exclusively(asked context.Context, capability string, run func(ctx context.Context, m *move) error) error {
	m, err := e.move(capability)
	if err != nil {
		return err
	}
	leave, err := e.enter()
	if err != nil {
		return err
	}
	defer leave()
	if !m.op.TryLock() {
		if !m.settling.Load() {
			return fmt.Errorf("%s: %w", capability, ErrBusy)
		}
		m.op.Lock() // a pause of its own, which is over in a moment
	}
	defer m.op.Unlock()
	return m.operate(e.ctx, asked, run)
}

// enter counts an operation, so that Close waits for it.
func (e *Engine) enter() (leave func(), err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closed {
		return nil, errors.New("the engine is closed")
	}
	e.wg.Add(1)
	return e.wg.Done, nil
}

// operate runs an operation under m.op: the background audit gives way, and
// what can be interrupted is, when somebody asks for it.
func (m *move) operate(life, asked context.Context, run func(ctx context.Context, m *move) error) error {
	ctx, cancel := context.WithCancelCause(life)
	defer cancel(nil)
	m.mu.Lock()
	if m.stopAudit != nil {
		m.stopAudit()
	}
	m.interrupt = cancel
	m.mu.Unlock()
	m.work.Lock()
	defer m.work.Unlock()
	m.act(asked)
	defer m.act(context.Background())
	return run(ctx, m)
}

// errInterrupted ends an operation that was overtaken by a cancel.
var errInterrupted = errors.New("it was interrupted by a cancel")

// interruptWait bounds how long an interrupted operation may take to end.
const interruptWait = 15 * time.Second

// takeOver interrupts the operation that runs on a move, if it may be, and
// locks the move for the next one. Switches are not interrupted.
func (m *move) takeOver() error {
	deadline := time.Now().Add(interruptWait)
	for !m.op.TryLock() {
		if m.current().Phase.Switching() || time.Now().After(deadline) {
			return fmt.Errorf("%s: %w", m.spec.Capability, ErrBusy)
		}
		m.mu.Lock()
		if m.interrupt != nil {
			m.interrupt(errInterrupted)
		}
		m.mu.Unlock()
		if !wait(m.e.ctx, retryDelay, nil) {
			return m.e.ctx.Err()
		}
	}
	return nil
}

type actorKey struct{}

// WithActor names the person for whom operations called with the context are
// performed; the ledger keeps the name.
func WithActor(ctx context.Context, name string) context.Context {
	return context.WithValue(ctx, actorKey{}, name)
}

// Actor returns who was named with [WithActor], "" where nobody was.
func Actor(ctx context.Context) string {
	name, _ := ctx.Value(actorKey{}).(string)
	return name
}

// act notes for whom the move works from now on.
func (m *move) act(asked context.Context) {
	name := Actor(asked)
	m.mu.Lock()
	m.actor = name
	m.mu.Unlock()
}
