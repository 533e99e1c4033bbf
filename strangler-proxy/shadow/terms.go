package shadow

import (
	"maps"
	"net/url"
	"slices"

	"stranglerfig/contract-tests/compare"
	"stranglerfig/contract-tests/contract"
	"stranglerfig/contract-tests/match"
	"stranglerfig/strangler-proxy/proxy"
)

// namedPairs bounds what is remembered of identifiers that stand for each other,
// for each capability and kind of store: about 3 MB. The oldest are forgotten.
const namedPairs = 10_000

// naming is a session in which both sides keep their identifiers: with the
// service that serves clients, or with the isolated store.
type naming struct {
	capability string
	isolated   bool
}

// terms are by what two answers are held against each other.
type terms struct {
	noise match.Rules        // how a side may differ from itself
	rules match.Rules        // these, and where identifiers are
	ids   *compare.Bijection // what is known of them; nil where the answer holds none
}

// terms finds them for an exchange of which the monolith's answer had a status.
func (s *Shadow) terms(x *proxy.Exchange, status int, d Direction) terms {
	ids := s.o.Identifiers(x.Route.Capability, x.Route.ID)
	t, places := terms{noise: loose}, ids.Made[status]
	if d != Isolated {
		t.noise, places = s.excuses(x.Route.Capability, x.Route.ID, status), ids.Named[status]
	}
	t.rules = t.noise
	if !places.Empty() {
		t.rules, t.ids = t.noise.Join(places), s.naming(x.Route.Capability, d == Isolated)
	}
	return t
}

// naming is what is known of the identifiers of both sides.
func (s *Shadow) naming(capability string, isolated bool) *compare.Bijection {
	s.mu.Lock()
	defer s.mu.Unlock()
	k := naming{capability, isolated}
	if s.named[k] == nil {
		s.named[k] = compare.NewRecent(namedPairs)
	}
	return s.named[k]
}

// differences compares by the terms, and learns which identifiers stand for each
// other from answers that agree otherwise.
func (t terms) differences(expected, actual compare.Message) []compare.Difference {
	return compare.Responses(expected, actual, t.rules, compare.Options{Mode: compare.Exact, IDs: t.ids})
}

// differ compares two answers, first as they are and then by the terms. Where it
// may not learn, because the data may have changed between the answers,
// identifiers that nobody knows yet differ.
func (t terms) differ(a sides, learn bool) (Verdict, []compare.Difference) {
	found := differences(a.monolith, a.service, match.Rules{})
	same := len(found) == 0
	if t.rules.Empty() || same && t.ids == nil {
		return verdictOf(found), found
	}
	// Equal answers must not contradict what is known of identifiers, and teach.
	o := compare.Options{Mode: compare.Exact, IDs: t.ids, Known: !learn && !same}
	if found = compare.Responses(a.monolith, a.service, t.rules, o); len(found) == 0 && !same {
		return Noise, nil
	}
	return verdictOf(found), found
}

func verdictOf(found []compare.Difference) Verdict {
	if len(found) == 0 {
		return Match
	}
	return Mismatch
}

// addressed is a write as the isolated store must be sent it: about the store's
// own identifiers, where it has made some. It reports false where the write is
// about something that the store calls otherwise, and nobody knows how.
func (s *Shadow) addressed(x *proxy.Exchange) (*proxy.Exchange, bool) {
	uses := s.o.Identifiers(x.Route.Capability, x.Route.ID).Uses
	if len(uses) == 0 {
		return x, true
	}
	query, err := url.ParseQuery(x.Query)
	if err != nil {
		return x, true // it is not for us to understand
	}
	q := contract.Request{Path: x.Path, Query: query, Header: x.Header.Map(), Body: x.Body}
	ids := s.naming(x.Route.Capability, true)
	for _, u := range uses {
		ours, there := u.Asks(q)
		if !there {
			continue
		}
		theirs, known := ids.Actual(u.Name, ours)
		if _, taken := ids.Expected(u.Name, ours); !known && taken {
			return x, false
		}
		if !known || theirs == ours {
			continue
		}
		if q, err = u.Put(q, theirs); err != nil {
			return x, false
		}
	}
	return readdressed(x, q), true
}

// readdressed is an exchange with another request.
func readdressed(x *proxy.Exchange, q contract.Request) *proxy.Exchange {
	y := *x
	y.Path, y.Body = q.Path, q.Body
	if given, _ := url.ParseQuery(x.Query); !maps.EqualFunc(given, q.Query, slices.Equal[[]string]) {
		y.Query = url.Values(q.Query).Encode()
	}
	return &y
}
