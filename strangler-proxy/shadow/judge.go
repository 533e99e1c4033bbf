package shadow

import (
	"context"
	"net/http"
	"time"

	"stranglerfig/contract-tests/compare"
	"stranglerfig/contract-tests/match"
	"stranglerfig/migrations/change"
	"stranglerfig/strangler-proxy/proxy"
	"stranglerfig/strangler-proxy/trace"
	"stranglerfig/strangler-proxy/upstream"
)

const (
	rechecks  = 4                     // looks at both sides again before a difference counts
	patience  = 2 * time.Second       // with a side that follows slowly, for each of them
	lookAgain = 20 * time.Millisecond // whether it has followed
)

// sides are both answers to one request.
type sides struct{ monolith, service compare.Message }

// compare compares what both sides have answered. Where they differ that is not
// settled: a difference counts only if it stays, see compareAgain.
func (s *Shadow) compare(m *mirrored) (f finding, settled bool) {
	x, back := m.x, m.direction == Reverse
	switch why := reasonOf(m.err); {
	case m.err == nil:
	case why == TooLong:
		return incomparable(Longer), true // what the client was answered is not
	default:
		return unanswered(why, back, x.Took, m.waited), true
	}
	monolith, service := answerOf(x), m.got
	f = finding{monolith: x.Took, service: m.took, verdict: Match}
	if back {
		monolith, service = service, monolith
		f.monolith, f.service = m.took, x.Took
	}
	if bothFail(monolith.status, service.status) {
		return incomparable(Failing), true
	}
	by := s.terms(x, monolith.status, Forward)
	// Equal answers may still contradict what is known of identifiers.
	if by.ids != nil || !monolith.same(service) {
		f.verdict, _ = by.differ(sides{monolith.message(), service.message()}, false)
	}
	return f, f.verdict != Mismatch
}

// compareAgain asks both sides again whose answers differ, in a way that rules skew
// out, see look.
func (s *Shadow) compareAgain(m *mirrored, f finding) finding {
	x := m.x
	monolith, service := s.o.Backends(x.Route.Capability)
	if monolith == nil || service == nil {
		return incomparable(NoBackend)
	}
	for range rechecks {
		again := s.look(monolith, service, x, m.span)
		again.monolith, again.service = f.monolith, f.service
		if f = again; f.verdict != Incomparable || f.reason != InMotion || s.ctx.Err() != nil {
			break
		}
	}
	if m.direction == Reverse && !s.o.Follows(x.Route.Capability) {
		return incomparable(Behind) // the monolith's tables may have been retired meanwhile
	}
	return f
}

// unanswered is a request that the other side did not answer. One that took too
// long is no comparison, but it took at least so long: left out, a service that
// hangs would have no slow answers.
func unanswered(why Reason, back bool, answered, waited time.Duration) finding {
	f := incomparable(why)
	switch {
	case why != TimedOut:
	case back:
		f.monolith, f.service = waited, answered
	default:
		f.monolith, f.service = answered, waited
	}
	return f
}

// bothFail: two failures say nothing of each other, even if they are alike.
func bothFail(monolith, service int) bool {
	return monolith >= http.StatusInternalServerError && service >= http.StatusInternalServerError
}

func differences(expected, actual compare.Message, rules match.Rules) []compare.Difference {
	return compare.Responses(expected, actual, rules, compare.Options{Mode: compare.Exact})
}

// look asks the side whose data leads, waits until the other one has everything
// written up to then, asks that one, and asks the first once more. If its two
// answers are the same, nothing this request shows has changed in between, and
// the follower's has no excuse to differ. If they are not, what it shows is in
// motion and cannot be compared.
func (s *Shadow) look(monolith, service *upstream.Backend, x *proxy.Exchange, span *trace.Span) finding {
	capability := x.Route.Capability
	owner := s.o.Owner(capability)
	leader, follower := monolith, service
	if owner == change.Service {
		leader, follower = service, monolith
	}
	before, _, err := s.hear(leader, x, span)
	if err != nil {
		return incomparable(reasonOf(err))
	}
	if !s.followed(capability, owner, time.Now()) {
		return incomparable(Behind)
	}
	there, _, err := s.hear(follower, x, span)
	if err != nil {
		return incomparable(reasonOf(err))
	}
	both := sides{before, there}
	if owner == change.Service {
		both = sides{there, before}
	}
	if bothFail(both.monolith.Status, both.service.Status) {
		return incomparable(Failing)
	}
	if both.monolith.Status >= http.StatusInternalServerError {
		return incomparable(Broken)
	}
	by := s.terms(x, both.monolith.Status, Forward) // the same for all that follows
	verdict, found := by.differ(both, false)
	if verdict != Mismatch {
		return finding{verdict: verdict, fleeting: by.ids == nil && stood(x, both, by)}
	}
	after, _, err := s.hear(leader, x, span)
	if err != nil {
		return incomparable(reasonOf(err))
	}
	if len(differences(before, after, by.noise)) > 0 || s.o.Owner(capability) != owner {
		return incomparable(InMotion)
	}
	if by.ids != nil { // now they may be learnt
		if verdict, found = by.differ(both, true); verdict != Mismatch {
			return finding{verdict: verdict}
		}
	}
	if verdict := s.overtaken(x, leader, owner, both, by, span); verdict != Mismatch {
		return finding{verdict: verdict}
	}
	return finding{verdict: Mismatch, differences: found, expected: both.monolith, actual: both.service}
}

// overtakes are how long a commit is waited for that the follower may have had
// before it could be seen at the leader: there it is in the log first, and seen
// once whoever committed it is given the processor again.
var overtakes = [...]time.Duration{10 * time.Millisecond, 40 * time.Millisecond, 150 * time.Millisecond}

// overtaken asks the leader again whether it comes to say what the follower has
// said, and returns what the two amount to then. That it says something else by
// then excuses nothing.
func (s *Shadow) overtaken(x *proxy.Exchange, leader *upstream.Backend, owner change.Side, both sides, by terms, span *trace.Span) Verdict {
	if s.o.Synced(x.Route.Capability, owner).IsZero() {
		return Mismatch // no data follows
	}
	for _, pause := range overtakes {
		if !s.pause(pause) {
			break
		}
		later, _, err := s.hear(leader, x, span)
		if err != nil {
			break
		}
		now := sides{later, both.service}
		if owner == change.Service {
			now = sides{both.monolith, later}
		}
		if verdict, _ := by.differ(now, false); verdict != Mismatch {
			return verdict
		}
	}
	return Mismatch
}

// stood reports whether the side that answered the client says the same again.
func stood(x *proxy.Exchange, again sides, by terms) bool {
	now := again.monolith
	if x.Decision.Side == change.Service {
		now = again.service
	}
	return len(differences(answerOf(x).message(), now, by.noise)) == 0
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
		if time.Now().After(deadline) || !s.pause(lookAgain) {
			return false
		}
	}
}

func (s *Shadow) pause(d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-s.ctx.Done():
		return false
	}
}

// loose compares answers to writes on stores of their own: ids and moments are
// each side's own there, so it is statuses, headers and the kinds of fields that
// must agree, and that ids are kept where the contract says which fields they are.
var loose = match.Rules{}.WithBody(nil, match.Matcher{Kind: match.Type}).
	WithHeader("Location", match.Matcher{Kind: match.Type}).WithHeader("ETag", match.Matcher{Kind: match.Type})

// judgeWrite sends a write to the isolated store, once and never again, and
// compares the answers, and the rows that it leaves.
func (s *Shadow) judgeWrite(x *proxy.Exchange, span *trace.Span) finding {
	store := s.o.Isolated(x.Route.Capability)
	if store == nil {
		return incomparable(NoBackend)
	}
	to, known := s.addressed(x)
	if !known {
		return incomparable(InMotion)
	}
	f := finding{verdict: Match}
	rows := s.marked(x.Route.Capability, &f.rows)
	got, took, err := s.hear(store, to, span)
	if err != nil {
		return incomparable(reasonOf(err))
	}
	both := sides{answerOf(x).message(), got}
	f.monolith, f.service, f.expected, f.actual = x.Took, took, both.monolith, both.service
	switch found := s.terms(x, x.Status, Isolated).differences(both.monolith, both.service); {
	case bothFail(both.monolith.Status, both.service.Status):
		return incomparable(Failing)
	case len(found) == 0:
	case otherState(both):
		return incomparable(InMotion)
	default:
		f.verdict, f.differences = Mismatch, found
	}
	s.written(rows, &f, both.monolith, both.service)
	return f
}

// otherState: a store of its own need not hold what the live one does, so that
// one side may find what the other one lacks, or lack what stands in its way.
func otherState(a sides) bool {
	lacks := func(status int) bool {
		return status == http.StatusNotFound || status == http.StatusGone || status == http.StatusConflict || status == http.StatusPreconditionFailed
	}
	return a.monolith.Status != a.service.Status && (lacks(a.monolith.Status) || lacks(a.service.Status))
}

// asking bounds one mirrored request.
func (s *Shadow) asking() (context.Context, context.CancelFunc) {
	return context.WithTimeout(s.ctx, s.o.Timeout)
}
