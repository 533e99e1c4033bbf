// Package shadow mirrors reads to the service after the monolith has answered
// them, compares the two answers, and counts per route. Clients never wait for
// it: what does not fit into its queue is dropped, and counted.
//
// Start at [New]; a [Shadow] is one of the proxy's observers.
package shadow

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"slices"
	"sort"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"stranglerfig/contract-tests/compare"
	"stranglerfig/contract-tests/match"
	"stranglerfig/migrations/change"
	"stranglerfig/strangler-proxy/proxy"
	"stranglerfig/strangler-proxy/route"
	"stranglerfig/strangler-proxy/trace"
	"stranglerfig/strangler-proxy/upstream"
)

// Options are what a shadow is made of.
type Options struct {
	Queue   int           // exchanges waiting, at most
	Body    int64         // bytes compared of each answer, at most
	Timeout time.Duration // of one mirrored request
	// Backends returns both sides of a capability, nil where it is gone.
	Backends func(capability string) (monolith, service *upstream.Backend)
	// Owner returns the side whose data leads; the other one follows it.
	Owner func(capability string) change.Side
	// Synced returns a moment before which everything written to a side is on
	// the other one; the zero time where no data follows.
	Synced  func(capability string, from change.Side) time.Time
	Metrics prometheus.Registerer
}

// Verdict of one comparison.
const (
	Match        = "match"
	Mismatch     = "mismatch"
	Incomparable = "incomparable" // no answer, a body too long, or data in motion
	Dropped      = "dropped"      // the queue was full, or it waited for too long
)

const (
	workers   = 4
	rechecks  = 4                     // looks at both sides again before a difference counts
	patience  = 2 * time.Second       // with a service that follows slowly, for each of them
	lookAgain = 20 * time.Millisecond // whether it has followed
	listed    = 100                   // fingerprints kept for each route
)

// Shadow mirrors and compares. It is safe for concurrent use.
type Shadow struct {
	o       Options
	queue   chan *proxy.Exchange
	ctx     context.Context
	stop    context.CancelFunc
	wg      sync.WaitGroup
	pending atomic.Int64
	counted *prometheus.CounterVec

	mu     sync.Mutex
	routes map[string]*Count
}

// Count is what was found on one route.
type Count struct {
	Route        string    `json:"route"`
	Capability   string    `json:"capability"`
	Compared     int64     `json:"compared"`
	Matched      int64     `json:"matched"`
	Mismatched   int64     `json:"mismatched"`
	Incomparable int64     `json:"incomparable"`
	Dropped      int64     `json:"dropped"`
	Since        time.Time `json:"since"`
	// Differences are the distinct ones, at most 100, the most frequent first;
	// More counts those beyond.
	Differences []Found `json:"differences,omitempty"`
	More        int64   `json:"more,omitempty"`
}

// Found is one distinct difference with an example.
type Found struct {
	Fingerprint string             `json:"fingerprint"`
	Times       int64              `json:"times"`
	Example     string             `json:"example"` // the request
	Difference  compare.Difference `json:"difference"`
}

// New starts a shadow; Close stops it.
func New(o Options) *Shadow {
	ctx, stop := context.WithCancel(context.Background())
	s := &Shadow{
		o: o, queue: make(chan *proxy.Exchange, o.Queue), ctx: ctx, stop: stop, routes: map[string]*Count{},
		counted: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "strangler_shadow_total", Help: "Mirrored requests, by route and verdict.",
		}, []string{"route", "verdict"}),
	}
	o.Metrics.MustRegister(s.counted)
	for range workers {
		s.wg.Go(s.work)
	}
	return s
}

// Close drops what is waiting and waits for what is under way.
func (s *Shadow) Close() {
	s.stop()
	s.wg.Wait()
}

// Wants implements [proxy.Observer]: whatever the decision says to mirror, by
// methods that only read.
func (s *Shadow) Wants(_ *route.Route, d route.Decision) bool { return d.Mirror }

// Observe implements [proxy.Observer].
func (s *Shadow) Observe(x *proxy.Exchange) {
	if !route.Reads(x.Method) || x.Status == http.StatusSwitchingProtocols {
		return
	}
	s.pending.Add(1)
	select {
	case s.queue <- x:
	default:
		s.pending.Add(-1)
		s.count(x, Dropped, nil)
	}
}

func (s *Shadow) work() {
	for {
		select {
		case <-s.ctx.Done():
			return
		case x := <-s.queue:
			if time.Since(x.At) > s.o.Timeout {
				s.count(x, Dropped, nil)
			} else {
				s.compare(x)
			}
			s.pending.Add(-1)
		}
	}
}

// Idle reports whether nothing waits or is under way.
func (s *Shadow) Idle() bool { return s.pending.Load() == 0 }

// compare asks the service, compares, and counts.
func (s *Shadow) compare(x *proxy.Exchange) {
	span := x.Span.Part("mirror")
	defer span.End()
	verdict, found := s.judge(x, span)
	span.Text("strangler.verdict", verdict)
	s.count(x, verdict, found)
}

// judge asks the service and compares. A difference counts only if it stays
// when both sides are asked again in a way that rules skew out, see look.
func (s *Shadow) judge(x *proxy.Exchange, span *trace.Span) (string, []compare.Difference) {
	if x.Truncated || int64(len(x.AnswerBody)) > s.o.Body || strings.HasPrefix(x.Answer.Get("Content-Type"), "text/event-stream") {
		return Incomparable, nil
	}
	monolith, service := s.o.Backends(x.Route.Capability)
	if service == nil {
		return Incomparable, nil
	}
	expected := compare.Message{Status: x.Status, Header: x.Answer, Body: x.AnswerBody}
	actual, err := s.ask(service, x, span)
	switch {
	case err != nil:
		return Incomparable, nil
	case len(differences(expected, actual)) == 0:
		return Match, nil
	}
	for range rechecks {
		verdict, found := s.look(monolith, service, x, span)
		if verdict != Incomparable || s.ctx.Err() != nil {
			return verdict, found
		}
	}
	return Incomparable, nil
}

// look asks the side whose data leads, waits until the other one has everything
// written up to then, asks that one, and asks the first once more. If its two
// answers are the same, nothing this request shows has changed in between, and
// the follower's has no excuse to differ. If they are not, what it shows is in
// motion and cannot be compared.
func (s *Shadow) look(monolith, service *upstream.Backend, x *proxy.Exchange, span *trace.Span) (string, []compare.Difference) {
	capability := x.Route.Capability
	owner := s.o.Owner(capability)
	leader, follower := monolith, service
	if owner == change.Service {
		leader, follower = service, monolith
	}
	before, err := s.ask(leader, x, span)
	if err != nil || before.Status >= 500 || !s.followed(capability, owner, time.Now()) {
		return Incomparable, nil
	}
	there, err := s.ask(follower, x, span)
	if err != nil {
		return Incomparable, nil
	}
	expected, actual := before, there
	if owner == change.Service {
		expected, actual = there, before
	}
	found := differences(expected, actual)
	if len(found) == 0 {
		return Match, nil
	}
	after, err := s.ask(leader, x, span)
	if err != nil || len(differences(before, after)) > 0 || s.o.Owner(capability) != owner {
		return Incomparable, nil
	}
	return Mismatch, found
}

func differences(expected, actual compare.Message) []compare.Difference {
	return compare.Responses(expected, actual, match.Rules{}, compare.Options{Mode: compare.Exact})
}

// followed waits until everything written to the owner before a moment is on the
// other side.
func (s *Shadow) followed(capability string, owner change.Side, moment time.Time) bool {
	deadline := time.Now().Add(patience)
	for {
		synced := s.o.Synced(capability, owner)
		if synced.IsZero() || synced.After(moment) {
			return true
		}
		if time.Now().After(deadline) || !s.pause() {
			return false
		}
	}
}

func (s *Shadow) pause() bool {
	timer := time.NewTimer(lookAgain)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-s.ctx.Done():
		return false
	}
}

// errTooLong is returned for an answer that is longer than what is compared.
var errTooLong = errors.New("the answer is too long to be compared")

// ask sends the exchange's request to a backend, with a span of its own.
func (s *Shadow) ask(b *upstream.Backend, x *proxy.Exchange, parent *trace.Span) (compare.Message, error) {
	span := parent.Ask(x.Method)
	defer span.End()
	span.Text("strangler.backend", b.Name)
	m, err := s.send(b, x, span)
	if err != nil {
		span.Failed(err.Error())
	} else {
		span.Whole("http.response.status_code", int64(m.Status))
	}
	return m, err
}

func (s *Shadow) send(b *upstream.Backend, x *proxy.Exchange, span *trace.Span) (compare.Message, error) {
	ctx, cancel := context.WithTimeout(s.ctx, s.o.Timeout)
	defer cancel()
	target := b.URL.String() + x.Path
	if x.Query != "" {
		target += "?" + x.Query
	}
	req, err := http.NewRequestWithContext(ctx, x.Method, target, bytes.NewReader(x.Body))
	if err != nil {
		return compare.Message{}, err
	}
	req.Header = x.Header.Clone()
	for _, hop := range []string{"Connection", "Keep-Alive", "Te", "Transfer-Encoding", "Upgrade", "Content-Length"} {
		req.Header.Del(hop)
	}
	req.Header.Set("X-Strangler-Shadow", "1")
	span.Tell(req.Header)
	req.Host = x.Host
	res, err := b.RoundTrip(req)
	if err != nil {
		return compare.Message{}, err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(io.LimitReader(res.Body, s.o.Body+1))
	if err != nil {
		return compare.Message{}, err
	}
	if int64(len(body)) > s.o.Body {
		return compare.Message{}, errTooLong
	}
	return compare.Message{Status: res.StatusCode, Header: res.Header, Body: body}, nil
}

func (s *Shadow) count(x *proxy.Exchange, verdict string, differences []compare.Difference) {
	s.counted.WithLabelValues(x.Route.ID, verdict).Inc()
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.routes[x.Route.ID]
	if c == nil {
		c = &Count{Route: x.Route.ID, Capability: x.Route.Capability, Since: x.At}
		s.routes[x.Route.ID] = c
	}
	switch verdict {
	case Match:
		c.Compared++
		c.Matched++
	case Mismatch:
		c.Compared++
		c.Mismatched++
	case Incomparable:
		c.Incomparable++
	case Dropped:
		c.Dropped++
	}
	for _, d := range differences {
		c.note(x, d)
	}
}

// note keeps a difference under its fingerprint.
func (c *Count) note(x *proxy.Exchange, d compare.Difference) {
	print := d.Fingerprint()
	for i := range c.Differences {
		if c.Differences[i].Fingerprint == print {
			c.Differences[i].Times++
			return
		}
	}
	if len(c.Differences) == listed {
		c.More++
		return
	}
	example := x.Method + " " + x.Path
	if x.Query != "" {
		example += "?" + x.Query
	}
	c.Differences = append(c.Differences, Found{Fingerprint: print, Times: 1, Example: example, Difference: d})
}

// Counts returns what was found, by route.
func (s *Shadow) Counts() []Count {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := make([]Count, 0, len(s.routes))
	for _, c := range s.routes {
		one := *c
		one.Differences = slices.Clone(c.Differences)
		sort.SliceStable(one.Differences, func(i, j int) bool { return one.Differences[i].Times > one.Differences[j].Times })
		all = append(all, one)
	}
	sort.Slice(all, func(i, j int) bool { return all[i].Route < all[j].Route })
	return all
}

// Forget starts the counts of a capability anew: after a new build, old
// comparisons say nothing.
func (s *Shadow) Forget(capability string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for id, c := range s.routes {
		if c.Capability == capability {
			delete(s.routes, id)
		}
	}
}
