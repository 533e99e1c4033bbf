package engine

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"sync"
	"sync/atomic"
	"time"

	"stranglerfig/migrations/change"
	"stranglerfig/migrations/cutover"
	"stranglerfig/migrations/ledger"
	"stranglerfig/migrations/mapping"
)

// sides in the order in which people think of them.
var sides = []change.Side{change.Monolith, change.Service}

// move is one move under the engine's care.
type move struct {
	e *Engine
	// op is held by the one operation that runs, a command or a recovery, and
	// work besides by whatever does anything: an operation waits for the
	// background audit, and the audit never gets in an operation's way.
	op, work sync.Mutex
	settling atomic.Bool // op is held by a pause of the move's own

	mu       sync.Mutex // guards everything below
	spec     Spec
	state    cutover.Move
	verified verification
	kept     verification    // the last one the ledger has: no log above it is forgotten
	partial  *partial        // a whole verification that has not ended
	broken   []change.Side   // whose logs have to begin anew before they can be followed
	missed   bool            // the follower lacks changes, and no clean verification came after
	gainer   change.Position // end of the gaining side's log when the switch under way began
	dbs      map[change.Side]change.Database
	streams  map[change.Side]*stream // by the side they read from
	unfollow func()                  // stops the streams and the audit, and waits
	tables   map[string]change.Progress
	retained map[change.Side]int64 // bytes of log kept for the move, when last looked at
	last     *SwitchResult
	problem  string
	actor    string // who asked for the operation under way; "" is nobody

	interrupt context.CancelCauseFunc // ends the operation under way
	stopAudit context.CancelFunc      // ends the audit under way
}

// verification is the last clean one: everything the owner had logged up to At
// is known to be equal on both sides.
type verification struct {
	Owner change.Side     `json:"owner,omitempty"`
	At    change.Position `json:"at"`
	Time  time.Time       `json:"time,omitzero"`
	Rows  int64           `json:"rows"`
}

// detail is what the ledger keeps of a move beside its headline.
type detail struct {
	Move     cutover.Move    `json:"move"`
	Verified verification    `json:"verified"`
	Gainer   change.Position `json:"gainer,omitempty"`
	Broken   []change.Side   `json:"broken,omitempty"`
	Missed   bool            `json:"missed,omitempty"`
	Partial  *partial        `json:"partial,omitempty"`
	Last     *SwitchResult   `json:"last,omitempty"`
}

func newMove(e *Engine, s Spec) *move {
	return &move{
		e: e, spec: s, state: cutover.New(),
		dbs: map[change.Side]change.Database{}, streams: map[change.Side]*stream{},
		tables: map[string]change.Progress{}, retained: map[change.Side]int64{},
	}
}

// load reads the move's record, if there is one.
func (m *move) load(ctx context.Context) error {
	rec, ok, err := m.e.o.Ledger.Move(ctx, m.spec.Capability)
	if err != nil || !ok {
		return err
	}
	var d detail
	if err := json.Unmarshal(rec.Detail, &d); err != nil {
		return fmt.Errorf("read its record: %w", err)
	}
	m.state, m.verified, m.kept, m.gainer, m.broken, m.missed, m.partial, m.last = d.Move, d.Verified, d.Verified, d.Gainer, d.Broken, d.Missed, d.Partial, d.Last
	if installed(m.state.Phase) && rec.PlanDigest != m.spec.Plan.Digest() {
		return fmt.Errorf("the mapping was changed while the move is %s: restore it, or cancel the move and prepare again", m.state.Settled())
	}
	return nil
}

// adopt takes a spec again: the same one, or a new one while nothing of the
// old one is installed.
func (m *move) adopt(s Spec) error {
	m.mu.Lock()
	same := m.spec.Plan.Digest() == s.Plan.Digest() && m.spec.Monolith == s.Monolith && m.spec.Service == s.Service
	if same {
		// These may change at any time.
		m.spec.LogBudget, m.spec.Copy = s.LogBudget, s.Copy
	}
	m.mu.Unlock()
	if same {
		return nil
	}
	if !m.op.TryLock() {
		return fmt.Errorf("the data of %s cannot change meanwhile: %w", s.Capability, ErrBusy)
	}
	defer m.op.Unlock()
	m.mu.Lock()
	if installed(m.state.Phase) {
		defer m.mu.Unlock()
		return fmt.Errorf("the data of %s cannot change while its move is %s: restore it, or cancel the move first", s.Capability, m.state.Settled())
	}
	m.spec = s
	m.mu.Unlock()
	return m.disconnect() // what was opened before knows the old tables
}

// installed reports whether a phase leaves something in the databases.
func installed(p cutover.Phase) bool {
	return p != cutover.Planned && p != cutover.Cancelled && p != cutover.Complete
}

// current returns the state.
func (m *move) current() cutover.Move {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.state
}

func (m *move) set(s cutover.Move) {
	m.mu.Lock()
	m.state = s
	m.mu.Unlock()
}

// save records the state and what led to it, in one ledger transaction.
func (m *move) save(ctx context.Context, kind, text string, more any) error {
	rec, verified, err := m.record()
	if err != nil {
		return err
	}
	entry := ledger.Entry{At: rec.UpdatedAt, Capability: m.spec.Capability, Kind: kind, Actor: m.who(), Text: text}
	if more != nil {
		if entry.Detail, err = json.Marshal(more); err != nil {
			return err
		}
	}
	if err := m.e.o.Ledger.SaveMove(ctx, rec, entry); err != nil {
		return fmt.Errorf("record %s of %s: %w", kind, m.spec.Capability, err)
	}
	m.mu.Lock()
	m.kept = verified
	m.mu.Unlock()
	return nil
}

// who names the actor of what happens now.
func (m *move) who() string {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.actor == "" {
		return "engine"
	}
	return m.actor
}

// remember records how far the sides are known to be equal, so that the log
// below may be forgotten and the next engine goes on from there.
func (m *move) remember(ctx context.Context) error {
	rec, verified, err := m.record()
	if err != nil {
		return err
	}
	if err := m.e.o.Ledger.KeepMove(ctx, rec); err != nil {
		return fmt.Errorf("record the verification of %s: %w", m.spec.Capability, err)
	}
	m.mu.Lock()
	m.kept = verified
	m.mu.Unlock()
	return nil
}

// record is the move as the ledger keeps it.
func (m *move) record() (ledger.MoveRecord, verification, error) {
	m.mu.Lock()
	d := detail{Move: m.state, Verified: m.verified, Gainer: m.gainer, Broken: m.broken, Missed: m.missed, Partial: m.partial, Last: m.last}
	digest := m.spec.Plan.Digest()
	m.mu.Unlock()
	raw, err := json.Marshal(d)
	return ledger.MoveRecord{
		Capability: m.spec.Capability, State: d.Move.Settled(), Owner: d.Move.Owner, Epoch: d.Move.Epoch,
		PlanDigest: digest, UpdatedAt: m.e.o.Now(), Detail: raw,
	}, d.Verified, err
}

// connect opens both databases if they are not open yet.
func (m *move) connect(ctx context.Context) error {
	for _, side := range sides {
		m.mu.Lock()
		_, open := m.dbs[side]
		dsn, plan := m.spec.dsn(side), m.spec.Plan
		m.mu.Unlock()
		if open {
			continue
		}
		db, err := m.e.o.Open(ctx, dsn, m.spec.Capability, side, Tables(plan, side))
		if err != nil {
			return fmt.Errorf("open the %s's database: %w", side, err)
		}
		m.mu.Lock()
		m.dbs[side] = db
		m.mu.Unlock()
	}
	return nil
}

// reconnect connects; while nothing of the move is installed it does so anew,
// because a file may have been replaced since it was looked at.
func (m *move) reconnect(ctx context.Context) error {
	m.mu.Lock()
	anew := !installed(m.state.Phase)
	m.mu.Unlock()
	if anew {
		if err := m.disconnect(); err != nil {
			return err
		}
	}
	return m.connect(ctx)
}

// Tables returns one side's view of a plan's tables.
func Tables(plan *mapping.Plan, side change.Side) []change.Table {
	tables := make([]change.Table, len(plan.Tables))
	for i, t := range plan.Tables {
		if side == change.Monolith {
			tables[i] = change.Table{Name: t.From, Columns: t.SourceColumns(), Key: t.SourceKey()}
		} else {
			tables[i] = change.Table{Name: t.To, Columns: t.TargetColumns(), Key: t.TargetKey()}
		}
	}
	return tables
}

func (m *move) db(side change.Side) change.Database {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.dbs[side]
}

// stream returns the stream that reads from a side; nil when not following.
func (m *move) stream(from change.Side) *stream {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.streams[from]
}

// close stops everything and closes both databases.
func (m *move) close() error {
	m.quiet()
	return m.disconnect()
}

// disconnect closes both databases. That may take a while, in which requests ask
// how far the streams are, so m.mu is not held.
func (m *move) disconnect() error {
	m.mu.Lock()
	dbs := maps.Clone(m.dbs)
	clear(m.dbs)
	m.mu.Unlock()
	var errs []error
	for _, db := range dbs {
		errs = append(errs, db.Close())
	}
	return errors.Join(errs...)
}

func (m *move) trouble(text string) {
	m.mu.Lock()
	m.problem = text
	m.mu.Unlock()
}
