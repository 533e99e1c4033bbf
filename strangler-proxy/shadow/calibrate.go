package shadow

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"stranglerfig/contract-tests/compare"
	"stranglerfig/contract-tests/match"
	"stranglerfig/contract-tests/noise"
	"stranglerfig/contract-tests/tape"
	"stranglerfig/migrations/change"
	"stranglerfig/strangler-proxy/proxy"
	"stranglerfig/strangler-proxy/route"
	"stranglerfig/strangler-proxy/upstream"
)

const (
	calibrators = 4
	waiting     = 16                     // exchanges that may wait to be asked again; more are not looked at
	usualLag    = 100 * time.Millisecond // between both sides' answers, before any was measured
	leastLag    = 10 * time.Millisecond
)

// Calibration is how the monolith was found to differ from itself.
type Calibration struct {
	noise.Noise
	AtOnce int64         // pairs asked at the same time
	Lagged int64         // pairs with Lag in between
	Lag    time.Duration // the shadow's, as it was measured, when the calibration began
}

// calibration is one under way.
type calibration struct {
	capability string
	queue      chan *proxy.Exchange
	lag        time.Duration

	mu      sync.Mutex
	learner noise.Learner
}

// ErrCalibrating is returned while a calibration is under way.
var ErrCalibrating = errors.New("the monolith is being asked twice already")

// Calibrate asks the monolith, for as long as ctx lasts, what clients ask it of a
// capability, twice at the same time and once more as much later as the shadow
// asks, and learns how it differs from itself. Only reads are asked, after their
// clients have been answered, and no more at a time than a few.
func (s *Shadow) Calibrate(ctx context.Context, capability string, tell func(atOnce, lagged int64)) (Calibration, error) {
	k := &calibration{capability: capability, queue: make(chan *proxy.Exchange, waiting), lag: s.lag()}
	if !s.calibrating.CompareAndSwap(nil, k) {
		return Calibration{}, ErrCalibrating
	}
	var all sync.WaitGroup
	for range calibrators {
		all.Go(func() { s.calibrate(ctx, k, tell) })
	}
	all.Wait()
	s.calibrating.Store(nil)
	out := Calibration{Noise: k.learner.Learn(), Lag: k.lag}
	out.AtOnce, out.Lagged = k.learner.Pairs()
	for i := range out.Places {
		s.discreet(&out.Places[i])
	}
	return out, nil
}

// wants reports whether an exchange that begins is one to be asked again.
func (k *calibration) wants(r *route.Route, d route.Decision) bool {
	return k != nil && r != nil && !r.Writes && r.Capability == k.capability && d.Side == change.Monolith
}

// offer takes an exchange if there is room for it.
func (k *calibration) offer(x *proxy.Exchange) {
	if !k.wants(x.Route, x.Decision) || !route.Reads(x.Method) {
		return
	}
	select {
	case k.queue <- x:
	default:
	}
}

func (s *Shadow) calibrate(ctx context.Context, k *calibration, tell func(atOnce, lagged int64)) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-s.ctx.Done():
			return
		case x := <-k.queue:
			s.survive(func() { s.askTwice(x, k) })
			k.mu.Lock()
			atOnce, lagged := k.learner.Pairs()
			k.mu.Unlock()
			tell(atOnce, lagged)
		}
	}
}

// askTwice asks the monolith the same at once, and once more after the lag.
func (s *Shadow) askTwice(x *proxy.Exchange, k *calibration) {
	monolith, _ := s.o.Backends(k.capability)
	if monolith == nil {
		return
	}
	begun := time.Now()
	a, b, ok := s.askAtOnce(monolith, x)
	if !ok || a.Status >= http.StatusInternalServerError {
		return
	}
	k.note(noise.Pair{Route: x.Route.ID, A: a, B: b})
	if !s.pause(k.lag) {
		return
	}
	lag := time.Since(begun)
	if later, _, err := s.hear(monolith, x, nil); err == nil {
		k.note(noise.Pair{Route: x.Route.ID, A: a, B: later, Lag: lag})
	}
}

func (k *calibration) note(p noise.Pair) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.learner.Note(p)
}

func (s *Shadow) askAtOnce(b *upstream.Backend, x *proxy.Exchange) (one, two compare.Message, ok bool) {
	var errOne, errTwo error
	var both sync.WaitGroup
	both.Go(func() {
		errOne = errDefect
		s.survive(func() { one, _, errOne = s.hear(b, x, nil) })
	})
	two, _, errTwo = s.hear(b, x, nil)
	both.Wait()
	return one, two, errOne == nil && errTwo == nil
}

// discreet widens a matcher that would tell a secret: one that was made of words
// which the redaction replaces.
func (s *Shadow) discreet(p *noise.Place) {
	if p.Matcher.Kind != match.Regex {
		return
	}
	name := strings.Trim(p.Path[strings.LastIndexAny(p.Path, ".")+1:], "[]'@*")
	body, err := json.Marshal(map[string]string{name: p.Matcher.Value})
	if err != nil {
		return // texts can always be written
	}
	clean := s.o.Redact(tape.Exchange{Response: tape.Response{
		Status: p.Status, Header: map[string][]string{"Content-Type": {"application/json"}}, Body: body,
	}})
	if !slices.Equal(clean.Response.Body, tape.Body(body)) {
		p.Matcher = match.Matcher{Kind: match.Type}
	}
}

// lags measures how much later than the live answer the other side's comes.
type lags struct{ nanos atomic.Int64 }

// note takes one measurement into a mean of about the last sixteen.
func (l *lags) note(d time.Duration) {
	before := l.nanos.Load()
	if before == 0 {
		l.nanos.Store(int64(d))
		return
	}
	l.nanos.Store(before + (int64(d)-before)/16)
}

// lag is how much later than the monolith the service is asked, as of now.
func (s *Shadow) lag() time.Duration {
	if measured := time.Duration(s.lags.nanos.Load()); measured > 0 {
		return max(measured, leastLag)
	}
	return usualLag
}

// Excuse says how the monolith of a capability differs from itself, from now on;
// nil: it is not known to. Differences that were found before and lie in the
// places that covered names, by route and fingerprint, count as noise from now
// on.
func (s *Shadow) Excuse(capability string, rules Rules, covered func(routeID, fingerprint string) bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.noise[capability] = rules
	if covered == nil {
		return
	}
	for _, t := range s.tallies {
		if t.Capability == capability && t.Direction != Isolated {
			t.excuse(func(fingerprint string) bool { return covered(t.Route, fingerprint) })
			s.changed = true
		}
	}
}

// excuse makes noise of what differed in covered places only.
func (t *tally) excuse(covered func(fingerprint string) bool) {
	is := func(id string) bool {
		f := t.Found[id]
		return f != nil && covered(f.Fingerprint)
	}
	for name, g := range t.Groups {
		if !slices.ContainsFunc(g.IDs, func(id string) bool { return !is(id) }) {
			t.Noise += g.Times
			t.Test.Matches += g.Times
			t.Test.Weight += g.Weight
			delete(t.Groups, name)
		}
	}
	for id := range t.Found {
		if is(id) && !t.grouped(id) {
			delete(t.Found, id)
		}
	}
}

// grouped reports whether some comparison still differs in this way.
func (t *tally) grouped(id string) bool {
	for _, g := range t.Groups {
		if slices.Contains(g.IDs, id) {
			return true
		}
	}
	return false
}
