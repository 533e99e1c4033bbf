// Package shadow mirrors requests to the side that did not answer them,
// compares the two answers, and says when enough has been compared.
//
// Reads that the monolith answers go to the service as well; after a cutover,
// reads that the service answers go back to the monolith while its data follows;
// writes go to an isolated store where one is declared, and otherwise nowhere.
// All of that happens after the client has its answer, in a queue that is
// bounded in number and bytes. Clients never wait for it: what does not fit is
// dropped, and counted.
//
// How the monolith differs from itself is learned by [Shadow.Calibrate].
//
// Start at [New]; a [Shadow] is one of the proxy's observers. What it found is
// kept in a file and outlives the process, see [Shadow.Bind].
package shadow

import (
	"context"
	"maps"
	"net/http"
	"slices"
	"sort"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"stranglerfig/contract-tests/compare"
	"stranglerfig/contract-tests/contract"
	"stranglerfig/contract-tests/match"
	"stranglerfig/contract-tests/sequential"
	"stranglerfig/contract-tests/tape"
	"stranglerfig/migrations/change"
	"stranglerfig/strangler-proxy/loop"
	"stranglerfig/strangler-proxy/proxy"
	"stranglerfig/strangler-proxy/route"
	"stranglerfig/strangler-proxy/upstream"
)

// Options are what a shadow is made of.
type Options struct {
	Queue   int           // exchanges waiting, at most
	Body    int64         // bytes kept of each body, at most; an answer that is longer is not compared
	Timeout time.Duration // of one mirrored request, and how long it may wait
	// Path is the file in which what was found is kept; "": it is not kept.
	Path string
	// Frozen says that the file is read, and never written.
	Frozen bool
	// Backends returns both sides of a capability, nil where it is gone. It must not
	// block: clients' connections may be kept waiting.
	Backends func(capability string) (monolith, service *upstream.Backend)
	// Isolated returns the store of its own that gets copies of a capability's
	// writes; nil where none is declared, or no function.
	Isolated func(capability string) *upstream.Backend
	// Owner returns the side whose data leads; the other one follows it.
	Owner func(capability string) change.Side
	// Synced returns a moment before which everything written to a side is on
	// the other one; the zero time where no data follows.
	Synced func(capability string, from change.Side) time.Time
	// Follows reports whether the monolith's data still follows the service's, so
	// that reads may be mirrored back; no function: it does.
	Follows func(capability string) bool
	// Judged returns how a route is judged; no function: by the default.
	Judged func(capability, routeID string) Judging
	// Identifiers returns where a route's answers hold identifiers that each side
	// may choose; no function: nowhere.
	Identifiers func(capability, routeID string) contract.Identifiers
	// Rows returns what compares the rows that a capability's isolated store
	// writes, nil where they are not compared; no function: nowhere are they.
	Rows func(capability string) (Rows, error)
	// Settling is how long a row that differs is left before it is looked at
	// again; 0: two seconds.
	Settling time.Duration
	// Redact takes the secrets out of an exchange before anything of it is kept
	// or shown. Required.
	Redact  func(tape.Exchange) tape.Exchange
	Metrics prometheus.Registerer
	// Failed is told what went wrong with the file, or with looking at rows; nil:
	// nobody is.
	Failed func(error)
	// Panicked is told of a defect that a comparison has met; nil: nobody is.
	Panicked func(reason any, stack []byte)
}

// Judging says how a route is judged.
type Judging struct {
	Rule   sequential.Rule
	Slower float64 // share by which the service's answer may take longer
}

// Shadow mirrors and compares. It is safe for concurrent use.
type Shadow struct {
	o         Options
	writes    chan *proxy.Exchange // for isolated stores, in their order
	reads     reads
	held      atomic.Int64 // bytes of what waits or is under way
	ctx       context.Context
	stop      context.CancelFunc
	beginning sync.Mutex // nobody begins to work once ctx is done
	wg        sync.WaitGroup
	pending   atomic.Int64
	counted   *prometheus.CounterVec
	lags      lags

	calibrating atomic.Pointer[calibration] // nil: none is under way

	taken time.Time    // when the last write that was compared came; of inOrder
	open  []*unsettled // of inOrder
	told  time.Time    // that rows could not be looked at; of inOrder

	mu       sync.Mutex // guards everything below
	tallies  map[key]*tally
	bound    map[string]string    // capability -> what its tallies are about
	allowed  map[string]time.Time // difference -> until when
	noise    map[string]Rules     // capability -> how the monolith differs from itself
	named    map[naming]*compare.Bijection
	missed   map[string]time.Time // capability -> when its isolated store has missed a write
	contests contests
	changed  bool // since the file was written
}

// Rules says, for a route and a status, how the monolith differs from itself.
type Rules func(routeID string, status int) match.Rules

// New starts a shadow; Close stops it. It goes on from what the file at
// [Options.Path] holds; a file that cannot be read is told to [Options.Failed]
// and begun anew.
func New(o Options) *Shadow {
	if o.Isolated == nil {
		o.Isolated = func(string) *upstream.Backend { return nil }
	}
	if o.Follows == nil {
		o.Follows = func(string) bool { return true }
	}
	if o.Judged == nil {
		o.Judged = func(string, string) Judging { return Judging{Rule: sequential.Default(), Slower: 0.5} }
	}
	if o.Identifiers == nil {
		o.Identifiers = func(string, string) contract.Identifiers { return contract.Identifiers{} }
	}
	if o.Settling == 0 {
		o.Settling = settling
	}
	if o.Rows == nil {
		o.Rows = func(string) (Rows, error) { return nil, nil }
	}
	if o.Failed == nil {
		o.Failed = func(error) {}
	}
	if o.Panicked == nil {
		o.Panicked = func(any, []byte) {}
	}
	ctx, stop := context.WithCancel(context.Background())
	s := &Shadow{
		o: o, reads: newReads(o.Queue), writes: make(chan *proxy.Exchange, o.Queue), ctx: ctx, stop: stop,
		tallies: map[key]*tally{}, bound: map[string]string{}, allowed: map[string]time.Time{}, noise: map[string]Rules{}, named: map[naming]*compare.Bijection{}, missed: map[string]time.Time{},
		counted: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "strangler_shadow_total", Help: "Mirrored requests, by route, direction, verdict and reason.",
		}, []string{"route", "direction", "verdict", "reason"}),
	}
	s.restore()
	o.Metrics.MustRegister(s.counted, gauges{s})
	s.wg.Go(s.judge)
	for range workers {
		s.wg.Go(s.doubt)
	}
	s.wg.Go(s.inOrder)
	s.wg.Go(s.keep)
	return s
}

// Close drops what is waiting, waits for what is under way, and writes the file.
func (s *Shadow) Close() {
	s.beginning.Lock()
	s.stop()
	s.beginning.Unlock()
	s.wg.Wait()
	s.reads.endSpans()
}

// Wants implements [proxy.Observer]: whatever the decision says to mirror, as
// long as there is room for it.
func (s *Shadow) Wants(r *route.Route, d route.Decision) bool {
	if !d.Mirror {
		return s.calibrating.Load().wants(r, d)
	}
	if r.Writes || !s.reads.full() {
		return true
	}
	s.drop(r, directionOf(d), QueueFull) // without having kept a copy of it
	return s.calibrating.Load().wants(r, d)
}

func directionOf(d route.Decision) Direction {
	if d.Side == change.Service {
		return Reverse
	}
	return Forward
}

// Observe implements [proxy.Observer].
func (s *Shadow) Observe(x *proxy.Exchange, on *loop.Task) {
	if x.Status == http.StatusSwitchingProtocols {
		return
	}
	if k := s.calibrating.Load(); k != nil && !x.Truncated {
		k.offer(x)
	}
	if !x.Decision.Mirror {
		return
	}
	direction := directionOf(x.Decision)
	if !route.Reads(x.Method) && (x.Decision.Side != change.Monolith || s.o.Isolated(x.Route.Capability) == nil) {
		return // what may write goes to a declared store of its own, or nowhere
	} else if !route.Reads(x.Method) {
		direction = Isolated
	}
	if f, none := s.uncomparable(x); none {
		if direction == Isolated {
			s.noteWrite(x, true)
		}
		s.count(x, direction, f)
		return
	}
	if direction == Isolated {
		s.enqueueWrite(x)
	} else if !s.enqueue(x, on) {
		s.drop(x.Route, direction, QueueFull)
	}
}

// enqueueWrite has a write sent to the isolated store, unless as many wait as may.
func (s *Shadow) enqueueWrite(x *proxy.Exchange) {
	s.enter(x)
	select {
	case s.writes <- x:
	default:
		s.noteWrite(x, true)
		s.done(x)
		s.drop(x.Route, Isolated, QueueFull)
	}
}

// uncomparable reports an exchange that nobody need be asked about, so that it
// takes no room in the queue.
func (s *Shadow) uncomparable(x *proxy.Exchange) (finding, bool) {
	switch {
	case strings.HasPrefix(x.Answer.Get("Content-Type"), "text/event-stream"):
		return incomparable(Endless), true
	case x.Truncated, int64(len(x.Body)) > s.o.Body, int64(len(x.AnswerBody)) > s.o.Body:
		return incomparable(TooLong), true
	}
	return finding{}, false
}

// size is how much of the memory an exchange's bodies take, in bytes.
func size(x *proxy.Exchange) int64 { return int64(len(x.Body)) + int64(len(x.AnswerBody)) }

// Held is how many bytes of bodies wait or are under way. It is never more than
// the queue of reads and the workers times three times [Options.Body], and the
// queue of writes and those kept in order (32) or for their rows (64) times twice
// that.
func (s *Shadow) Held() int64 { return s.held.Load() }

// enter counts an exchange as under way, and done that it is no more.
func (s *Shadow) enter(x *proxy.Exchange) {
	s.pending.Add(1)
	s.held.Add(size(x))
}

func (s *Shadow) done(x *proxy.Exchange) {
	s.held.Add(-size(x))
	s.pending.Add(-1)
}

// Idle reports whether nothing waits or is under way.
func (s *Shadow) Idle() bool { return s.pending.Load() == 0 }

// drop counts a request of which nothing was compared.
func (s *Shadow) drop(r *route.Route, d Direction, why Reason) {
	s.counted.WithLabelValues(r.ID, string(d), string(Dropped), string(why)).Inc()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tally(r, d, time.Now()).Dropped[why]++
	if d == Isolated {
		s.miss(r.Capability)
	}
	s.changed = true
}

// count files what was found.
func (s *Shadow) count(x *proxy.Exchange, d Direction, f finding) {
	if f.verdict == Mismatch && d != Isolated && s.excused(x, f) {
		f.verdict = Noise // it was learned only while this was being compared
	}
	differences, example := s.redacted(x, d, f)
	judged := s.o.Judged(x.Route.Capability, x.Route.ID)
	s.counted.WithLabelValues(x.Route.ID, string(d), string(f.verdict), string(f.reason)).Inc()
	var skewed []string
	if d == Isolated && f.verdict != Match {
		skewed = s.things(x)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.contests.skew(skewed)
	if d == Isolated && f.verdict != Match && len(f.left) == 0 {
		s.miss(x.Route.Capability)
	}
	s.tally(x.Route, d, x.At).note(x, f, differences, example, judged.Rule, judged.Slower)
	s.changed = true
}

// tally returns the tally of a route in a direction. The caller holds the lock.
func (s *Shadow) tally(r *route.Route, d Direction, at time.Time) *tally {
	k := key{r.ID, d}
	t := s.tallies[k]
	if t == nil || t.Capability != r.Capability {
		t = newTally(r.ID, r.Capability, d, at)
		s.tallies[k] = t
	}
	return t
}

// everyTally lists the tallies as of now. Each of them is guarded by the lock,
// which is not to be held for all of them at once: what clients' requests do may
// need it.
func (s *Shadow) everyTally() []*tally {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Collect(maps.Values(s.tallies))
}

// Counts returns what was found, by route and direction.
func (s *Shadow) Counts() []Count {
	now := time.Now()
	var all []Count
	for _, t := range s.everyTally() {
		rule := s.o.Judged(t.Capability, t.Route).Rule
		s.mu.Lock()
		all = append(all, t.count(s.allowed, rule, now))
		s.mu.Unlock()
	}
	sort.Slice(all, func(i, j int) bool {
		if all[i].Route != all[j].Route {
			return all[i].Route < all[j].Route
		}
		return all[i].Direction < all[j].Direction
	})
	return all
}

// Count returns what was found on one route in one direction; false where
// nothing was.
func (s *Shadow) Count(routeID string, d Direction) (Count, bool) {
	all := s.Counts()
	at := slices.IndexFunc(all, func(c Count) bool { return c.Route == routeID && c.Direction == d })
	if at < 0 {
		return Count{}, false
	}
	return all[at], true
}

// Allow says which differences are allowed, by their ids, and until when each
// of them is. It replaces what was said before.
func (s *Shadow) Allow(until map[string]time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.allowed = until
}

// excuses returns the rules that a comparison is excused by.
func (s *Shadow) excuses(capability, routeID string, status int) match.Rules {
	s.mu.Lock()
	rules := s.noise[capability]
	s.mu.Unlock()
	if rules == nil {
		return match.Rules{}
	}
	return rules(routeID, status)
}

// excused reports whether a mismatch is one no more by what is known now.
func (s *Shadow) excused(x *proxy.Exchange, f finding) bool {
	by := s.terms(x, f.expected.Status, Forward)
	return !by.rules.Empty() && len(by.differences(f.expected, f.actual)) == 0
}

// Forget starts the counts of a capability anew.
func (s *Shadow) Forget(capability string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.forget(capability)
}

// forget does so. s.mu is held.
func (s *Shadow) forget(capability string) {
	for k, t := range s.tallies {
		if t.Capability == capability {
			delete(s.tallies, k)
			s.changed = true
		}
	}
	delete(s.named, naming{capability, false})
}
