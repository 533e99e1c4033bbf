package engine

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"stranglerfig/migrations/change"
	"stranglerfig/migrations/mapping"
)

const (
	idlePoll   = 20 * time.Millisecond  // between looks at a quiet log
	retryDelay = 100 * time.Millisecond // after the first failure of a stream
	maxRetry   = 5 * time.Second
)

// stream follows one side into the other, for as long as the move lives. It
// keeps going through faults: what it applied is recorded with the changes, so
// a retry never applies twice.
type stream struct {
	id       string
	from, to change.Database
	side     change.Side // the side it reads from
	plan     *mapping.Plan
	runner   string
	start    change.Position // where a stream that does not exist yet begins
	effort   effort          // of the next batch; the stream's own goroutine's
	// keep is the position below which the log may be forgotten, beside what
	// was applied: verification still needs the keys above it.
	keep func() change.Position

	nudge chan struct{}

	mu      sync.Mutex
	live    bool
	at      change.Checkpoint
	head    change.Position // the end of the log when it was last asked for
	applied int64           // changes since this engine started
	synced  time.Time
	failing time.Time // since when it has been failing; zero: it is not
	err     error
	moved   chan struct{} // closed and replaced when something above changes
}

// StreamStatus is what people see of a stream.
type StreamStatus struct {
	Live     bool            `json:"live"`
	Position change.Position `json:"position"`
	Behind   int64           `json:"behind"` // log entries not yet applied
	Applied  int64           `json:"applied"`
	Synced   time.Time       `json:"synced,omitzero"` // everything written before it has been applied
	Retained int64           `json:"retained"`        // bytes of log kept for it
	Problem  string          `json:"problem,omitempty"`
}

func newStream(id string, side change.Side, from, to change.Database, plan *mapping.Plan, runner string, start change.Position) *stream {
	return &stream{
		id: id, side: side, from: from, to: to, plan: plan, runner: runner, start: start, effort: usual,
		keep:  func() change.Position { return ^change.Position(0) },
		nudge: make(chan struct{}, 1), moved: make(chan struct{}),
	}
}

// run follows until ctx ends, or until it is of no use to try again.
func (s *stream) run(ctx context.Context) error {
	delay := retryDelay
	for ctx.Err() == nil {
		err := s.follow(ctx, func() { delay = retryDelay })
		if ctx.Err() != nil {
			break
		}
		s.update(func() {
			s.live, s.err = false, err
			if s.failing.IsZero() {
				s.failing = time.Now()
			}
		})
		// Another engine that follows must not be fought.
		if errors.Is(err, change.ErrStaleRunner) || errors.Is(err, change.ErrCannotFollow) {
			return err
		}
		wait(ctx, delay, s.nudge)
		delay = min(2*delay, maxRetry)
	}
	s.update(func() { s.live = false })
	return nil
}

// follow takes the stream and applies batch after batch until an error.
func (s *stream) follow(ctx context.Context, progressed func()) error {
	bounded, cancel := context.WithTimeout(ctx, applyTimeout)
	cp, err := s.to.TakeStream(bounded, s.id, s.runner, s.start)
	cancel()
	if err != nil {
		return fmt.Errorf("take stream %s: %w", s.id, err)
	}
	s.update(func() { s.at = cp })
	for {
		asked := time.Now()
		b, err := s.read(ctx)
		if err != nil {
			return fmt.Errorf("read changes of the %s: %w", s.side, err)
		}
		if b.To == s.at.Position {
			s.update(func() { s.live, s.err, s.head, s.synced, s.failing = true, nil, b.To, asked, time.Time{} })
			progressed()
			if !wait(ctx, idlePoll, s.nudge) {
				return ctx.Err()
			}
			continue
		}
		if err := s.apply(ctx, b); err != nil {
			return err
		}
		progressed()
	}
}

// read reads what comes next; large values that need not travel are left out.
func (s *stream) read(ctx context.Context) (change.Batch, error) {
	if from, ok := s.sparse(); ok {
		return from.ReadSparse(ctx, s.at.Position, s.effort.limit)
	}
	return s.from.Read(ctx, s.at.Position, s.effort.limit)
}

// sparse is the side that is read, where both are of a kind that can leave values
// out.
func (s *stream) sparse() (change.Sparse, bool) {
	_, both := s.to.(change.Sparse)
	from, ok := s.from.(change.Sparse)
	return from, ok && both
}

// apply applies one batch and lets the log forget it.
func (s *stream) apply(ctx context.Context, b change.Batch) error {
	err := s.store(ctx, b)
	if from, ok := s.sparse(); ok && errors.Is(err, change.ErrIncomplete) {
		whole, failed := from.Complete(ctx, b)
		if failed != nil {
			return fmt.Errorf("complete changes of the %s: %w", s.side, failed)
		}
		err = s.store(ctx, whole)
	}
	if err != nil {
		return err
	}
	s.update(func() {
		s.at.Position = b.To
		if b.Marker != "" {
			s.at.Marker = b.Marker
		}
		s.applied += int64(len(b.Changes))
		s.head = max(s.head, b.To)
		s.live, s.err, s.failing = true, nil, time.Time{}
	})
	if upTo := min(b.To, s.keep()); upTo > 0 {
		if err := s.from.Acknowledge(ctx, upTo); err != nil {
			return fmt.Errorf("acknowledge changes of the %s: %w", s.side, err)
		}
	}
	return nil
}

// store maps a batch and has the follower apply it.
func (s *stream) store(ctx context.Context, b change.Batch) error {
	mapped, err := mapBatch(s.plan, s.side, b)
	if err != nil {
		return fmt.Errorf("changes of the %s %w: %w", s.side, change.ErrCannotFollow, err)
	}
	bounded, cancel := context.WithTimeout(ctx, s.effort.within)
	defer cancel()
	began := time.Now()
	err = s.to.Apply(bounded, s.id, s.runner, mapped)
	if err == nil {
		s.effort = s.effort.stored(time.Since(began))
		return nil
	}
	if !errors.Is(err, change.ErrIncomplete) {
		f, ok := s.to.(change.Fickle)
		s.effort = s.effort.failed(err, ok && f.Away(err))
	}
	return fmt.Errorf("apply changes to the %s: %w", s.side.Other(), err)
}

// hurry makes a waiting stream look at its log at once.
func (s *stream) hurry() {
	select {
	case s.nudge <- struct{}{}:
	default:
	}
}

// patience is how long a failing stream is waited for.
const patience = 10 * time.Second

// alive waits until the stream has read and applied.
func (s *stream) alive(ctx context.Context) error {
	return s.until(ctx, func(change.Checkpoint) bool { return s.live })
}

// until waits until the stream's state satisfies reached, which is called with
// the stream locked. A stream that has been failing for a while ends it.
func (s *stream) until(ctx context.Context, reached func(change.Checkpoint) bool) error {
	for {
		s.mu.Lock()
		ok, moved, err, failing := reached(s.at), s.moved, s.err, s.failing
		s.mu.Unlock()
		if ok {
			return nil
		}
		if !failing.IsZero() && (time.Since(failing) > patience || errors.Is(err, change.ErrCannotFollow)) {
			return fmt.Errorf("the stream %s is down: %w", s.id, err)
		}
		s.hurry()
		select {
		case <-moved:
		case <-ctx.Done():
			if err != nil {
				return fmt.Errorf("%w (the stream's last error: %v)", context.Cause(ctx), err)
			}
			return context.Cause(ctx)
		}
	}
}

// settle waits until everything up to a position has been applied.
func (s *stream) settle(ctx context.Context, p change.Position) error {
	return s.until(ctx, func(cp change.Checkpoint) bool { return cp.Position >= p })
}

func (s *stream) update(set func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	set()
	close(s.moved)
	s.moved = make(chan struct{})
}

// statusWait is how long a status waits for a database to tell the end of its log.
const statusWait = 5 * time.Second

// status is where the stream stands. Where the database does not tell the end of its
// log, it is the last one known; the stream then shows the trouble itself.
func (s *stream) status(ctx context.Context, retained int64) StreamStatus {
	ctx, cancel := context.WithTimeout(ctx, statusWait)
	defer cancel()
	head, err := s.from.Head(ctx)
	s.mu.Lock()
	defer s.mu.Unlock()
	if err == nil {
		s.head = max(s.head, head)
	}
	st := StreamStatus{Live: s.live, Position: s.at.Position, Applied: s.applied, Synced: s.synced, Retained: retained}
	if s.head > s.at.Position {
		st.Behind = int64(s.head - s.at.Position)
	}
	if s.err != nil {
		st.Problem = s.err.Error()
	}
	return st
}

// mapBatch turns a batch read from one side into the other side's schema.
func mapBatch(plan *mapping.Plan, from change.Side, b change.Batch) (change.Batch, error) {
	out := b
	out.Changes = make([]change.Change, len(b.Changes))
	for i, c := range b.Changes {
		mapped, err := mapChange(plan.Tables[c.Table], from, c)
		if err != nil {
			return change.Batch{}, err
		}
		out.Changes[i] = mapped
	}
	return out, nil
}

func mapChange(t *mapping.Table, from change.Side, c change.Change) (change.Change, error) {
	mapKey, mapRow, mapColumns := t.ForwardKey, t.Forward, t.ForwardColumns
	if from == change.Service {
		mapKey, mapRow, mapColumns = t.InverseKey, t.Inverse, t.InverseColumns
	}
	key, err := mapKey(c.Key)
	if err != nil {
		return change.Change{}, err
	}
	out := change.Change{Table: c.Table, Kind: c.Kind, Key: key}
	if c.Kind == change.Put {
		if out.Row, err = mapRow(c.Row); err != nil {
			return change.Change{}, err
		}
		out.Absent = mapColumns(c.Absent)
	}
	return out, nil
}

// wait sleeps until d has passed or the nudge comes; false when ctx ended.
func wait(ctx context.Context, d time.Duration, nudge <-chan struct{}) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-nudge:
	case <-ctx.Done():
		return false
	}
	return true
}
