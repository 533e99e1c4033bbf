package engine

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"sync"

	"stranglerfig/migrations/change"
)

// follow takes both streams and starts them and the audit. A forward stream that
// is new begins where the oldest chunk was cut; a reverse one now, since nobody
// but our own loader has written the service's tables yet. After a restart both
// exist; one that does not has lost what it did not send, and reading from the
// beginning says so.
func (m *move) follow(ctx context.Context, fresh bool) error {
	if m.stream(change.Monolith) != nil {
		return nil
	}
	start := map[change.Side]change.Position{}
	first := true
	for i := range m.spec.Plan.Tables {
		l, err := m.db(change.Service).Loaded(ctx, i)
		if err != nil {
			return fmt.Errorf("read the copy's record: %w", err)
		}
		if first || l.At < start[change.Monolith] {
			start[change.Monolith], first = l.At, false
		}
	}
	if fresh {
		head, err := m.db(change.Service).Head(ctx)
		if err != nil {
			return fmt.Errorf("read the service's log: %w", err)
		}
		start[change.Service] = head
	}
	runner := rand.Text()
	for from, id := range streamIDs {
		if _, err := m.db(from.Other()).TakeStream(ctx, id, runner, start[from]); err != nil {
			return fmt.Errorf("take stream %s: %w", id, err)
		}
	}
	life, cancel := context.WithCancel(m.e.ctx)
	var wg sync.WaitGroup
	m.mu.Lock()
	for from, id := range streamIDs {
		s := newStream(id, from, m.dbs[from], m.dbs[from.Other()], m.spec.Plan, runner, start[from])
		s.keep = func() change.Position { return m.keep(from) }
		m.streams[from] = s
		wg.Go(func() {
			if err := s.run(life); errors.Is(err, change.ErrCannotFollow) {
				m.pauseFor(s, err)
			}
		})
	}
	wg.Go(func() { m.audit(life) })
	m.unfollow = func() { cancel(); wg.Wait() }
	m.mu.Unlock()
	return nil
}

// streamIDs name the streams by the side they read from.
var streamIDs = map[change.Side]string{change.Monolith: "forward", change.Service: "reverse"}

// keep returns the position of a side's log above which verification still
// needs it: on the owner's side the last clean verification, on the follower's
// nothing.
func (m *move) keep(side change.Side) change.Position {
	m.mu.Lock()
	defer m.mu.Unlock()
	if side != m.state.Owner && !m.state.Phase.Switching() {
		return ^change.Position(0)
	}
	if m.kept.Owner != side {
		return 0
	}
	return m.kept.At
}

// quiet stops the streams and the audit and waits for them.
func (m *move) quiet() {
	m.mu.Lock()
	stop := m.unfollow
	m.unfollow = nil
	m.streams = map[change.Side]*stream{}
	m.mu.Unlock()
	if stop != nil {
		stop()
	}
}
