package shadow

import (
	"context"
	"fmt"
	"time"

	"stranglerfig/contract-tests/compare"
	"stranglerfig/migrations/change"
	"stranglerfig/strangler-proxy/proxy"
)

// Rows tells what an isolated store writes, and holds it against what the
// monolith has. It is used by one goroutine.
type Rows interface {
	// Mark begins to look at what the store writes from now on.
	Mark(ctx context.Context) error
	// Written returns the rows that the store has written since, by a request
	// that both sides have answered with these bodies.
	Written(ctx context.Context, monolith, store []byte) ([]Row, error)
}

// Row is one that the store has written.
type Row interface {
	// Compare looks at it on both sides as it is now.
	Compare(ctx context.Context) (RowFound, error)
}

// RowFound is what a look at a row has found.
type RowFound struct {
	Unknown     bool                 // which row of the monolith's it is cannot be told
	Differences []compare.Difference // without secrets
	Moved       bool                 // the monolith's row has changed since the last look
	Made        bool                 // the request has made it
	Alike       time.Time            // when both were found alike before; zero where they never were
}

// RowCount counts rows that isolated stores have written.
type RowCount struct {
	Alike     int64 `json:"alike"`
	Different int64 `json:"different"`
	Skewed    int64 `json:"skewed"`  // differ, but may have done so before, or moved on and on
	Unknown   int64 `json:"unknown"` // which row of the monolith's they are cannot be told
	Failed    int64 `json:"failed"`  // could not be looked at
}

func (c *RowCount) add(more RowCount) {
	c.Alike += more.Alike
	c.Different += more.Different
	c.Skewed += more.Skewed
	c.Unknown += more.Unknown
	c.Failed += more.Failed
}

const (
	// settling is how long a row that differs is left before it is looked at
	// again, if nobody says otherwise: a client's write that was committed before
	// the look has been answered by then, and has come to the queue.
	settling     = 2 * time.Second
	rowLooks     = 4 // at a row that moves each time
	unsettledMax = 64
	unsettledFor = 30 * time.Second
	tellAgain    = time.Minute // that rows cannot be looked at
)

// unsettled is a write whose rows differ as yet, or whose answers do: another one
// that has come later may explain that.
type unsettled struct {
	x      *proxy.Exchange
	f      finding
	looked time.Time // last
	looks  int
}

// differing is a row that differs, and what was found last.
type differing struct {
	row   Row
	found RowFound
}

// marked begins to look at what the store of a capability writes; nil where its
// rows are not compared, or cannot be.
func (s *Shadow) marked(capability string, count *RowCount) Rows {
	rows, err := s.o.Rows(capability)
	if err == nil && rows != nil {
		ctx, cancel := s.asking()
		defer cancel()
		err = rows.Mark(ctx)
	}
	if err != nil {
		s.unseen(count, err)
		return nil
	}
	return rows
}

// unseen counts a row that could not be looked at. What is wrong is told now and
// then, because it is likely wrong of every row.
func (s *Shadow) unseen(count *RowCount, err error) {
	count.Failed++
	if time.Since(s.told) > tellAgain {
		s.told = time.Now()
		s.o.Failed(fmt.Errorf("rows that an isolated store has written could not be compared: %w", err))
	}
}

// written has a first look at the rows that a write has left.
func (s *Shadow) written(rows Rows, f *finding, monolith, store compare.Message) {
	if rows == nil || f.verdict != Match {
		return
	}
	ctx, cancel := s.asking()
	defer cancel()
	all, err := rows.Written(ctx, monolith.Body, store.Body)
	if err != nil {
		s.unseen(&f.rows, err)
		return
	}
	for _, row := range all {
		f.differ = append(f.differ, differing{row: row})
	}
	s.lookAtRows(f)
}

// lookAtRows looks at the rows that differ, and keeps those that still do. It
// reports whether one of them has moved.
func (s *Shadow) lookAtRows(f *finding) (moved bool) {
	ctx, cancel := s.asking()
	defer cancel()
	var still []differing
	for _, d := range f.differ {
		found, err := d.row.Compare(ctx)
		switch {
		case err != nil:
			s.unseen(&f.rows, err)
		case found.Unknown:
			f.rows.Unknown++
		case len(found.Differences) == 0:
			f.rows.Alike++
		default:
			moved = moved || found.Moved
			still = append(still, differing{d.row, found})
		}
	}
	f.differ = still
	return moved
}

// takeWrite compares a write on the isolated store. Where anything differs it is
// kept until it is settled why.
func (s *Shadow) takeWrite(x *proxy.Exchange) {
	f, taken := s.compared(x)
	if x.At.After(s.taken) {
		s.taken = x.At
	}
	open := taken && (len(f.differ) > 0 || f.verdict == Mismatch && len(s.things(x)) > 0)
	switch {
	case !taken:
		s.done(x)
	case open && len(s.open) < unsettledMax:
		s.open = append(s.open, &unsettled{x: x, f: f, looked: time.Now(), looks: 1})
	default:
		if open { // there is no room to find out
			f = f.unsettled()
		}
		s.file(x, Isolated, f)
		s.done(x)
	}
}

// compared judges a write, or drops it where it has waited for too long.
func (s *Shadow) compared(x *proxy.Exchange) (f finding, taken bool) {
	if s.late(x) {
		s.noteWrite(x, true)
		s.drop(x.Route, Isolated, Waited)
		return f, false
	}
	span := x.Span.Part("mirror")
	defer span.End()
	f = incomparable(Defect)
	s.survive(func() { f = s.judgeWrite(x, span) })
	span.Text("strangler.verdict", string(f.verdict))
	return f, true
}

// settle looks again at the rows that are due. idle says that no write waits.
func (s *Shadow) settle(idle bool) {
	var open []*unsettled
	for _, u := range s.open {
		late := time.Since(u.x.At) > unsettledFor
		due := time.Since(u.looked) >= s.o.Settling && (idle || s.taken.After(u.looked))
		if !late && (!due || !s.concluded(u)) {
			open = append(open, u)
			continue
		}
		if late {
			u.f = u.f.unsettled()
		}
		s.file(u.x, Isolated, u.f)
		s.done(u.x)
	}
	s.open = open
}

// unsettled is a finding of which it will not be known what its differences are
// worth.
func (f finding) unsettled() finding {
	if f.verdict == Mismatch {
		return incomparable(InMotion)
	}
	f.rows.Skewed += int64(len(f.differ))
	f.differ = nil
	return f
}

// concluded looks at a write's rows once more, everything that clients were
// answered to before the last look having reached the store. It reports whether
// that says what they are worth.
func (s *Shadow) concluded(u *unsettled) bool {
	if u.f.verdict == Mismatch {
		if s.contested(u.x) {
			u.f = incomparable(InMotion)
		}
		return true
	}
	moved := false
	if !s.survive(func() { moved = s.lookAtRows(&u.f) }) {
		u.f = incomparable(Defect)
		return true
	}
	if moved {
		u.looked, u.looks = time.Now(), u.looks+1
	}
	if moved && u.looks < rowLooks {
		return false
	}
	missed := s.missedAt(u.x.Route.Capability)
	for _, d := range u.f.differ {
		same := d.found.Alike.After(missed) || d.found.Made && u.x.At.After(missed)
		if moved || !same || s.contested(u.x) || s.o.Owner(u.x.Route.Capability) != change.Monolith {
			u.f.rows.Skewed++
			continue
		}
		u.f.rows.Different++
		u.f.verdict, u.f.left = Mismatch, append(u.f.left, d.found.Differences...)
	}
	return true
}

// miss notes that a write has not reached the isolated store, or not as it has
// reached the monolith: what the two have may differ from now on. The caller
// holds the lock.
func (s *Shadow) miss(capability string) { s.missed[capability] = time.Now() }

func (s *Shadow) missedAt(capability string) time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.missed[capability]
}
