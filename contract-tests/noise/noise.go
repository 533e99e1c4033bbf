// Package noise learns in which places an application's answers differ from
// themselves, and writes for each of them the narrowest matcher that covers what
// was seen. What is learned loosens a comparison, it never looks away: a place
// that is a moment must still be a moment near the example's, and one that holds
// one of three words must still hold one of them.
//
// A [Learner] is shown pairs of answers that one application gave to the same
// request: some asked at the same time, some with as much time in between as the
// shadow takes. [Learner.Learn] says what it makes of them. What differed in a
// way that no matcher covers, and what looks like data that was changed between
// two questions, is not learned but told.
//
// The package does no I/O.
package noise

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"stranglerfig/contract-tests/compare"
	"stranglerfig/contract-tests/match"
)

// Place is one place in which an application differs from itself.
type Place struct {
	Route   string        `json:"route"`
	Status  int           `json:"status"`
	Path    string        `json:"path"` // such as $.body.items[*].seen or $.header.ETag
	Matcher match.Matcher `json:"matcher"`
	Flips   int64         `json:"flips"`   // pairs in which it differed
	Samples int64         `json:"samples"` // values that were seen there
}

// Noise is how an application differs from itself.
type Noise struct {
	Places []Place `json:"places"`
	// Unexplained tells, in words, what differed and is compared as before.
	Unexplained []string `json:"unexplained,omitempty"`
}

// subject is what rules are about.
type subject struct {
	route  string
	status int
}

// Rules are what was learned, ready to compare with.
type Rules map[subject]match.Rules

// For returns the rules of a route's answers with a status.
func (r Rules) For(route string, status int) match.Rules { return r[subject{route, status}] }

// Rules makes what was learned ready to compare with.
func (n Noise) Rules() (Rules, error) {
	all := Rules{}
	for _, p := range n.Places {
		s := subject{p.Route, p.Status}
		if name, header := strings.CutPrefix(p.Path, headerPath); header {
			all[s] = all[s].WithHeader(name, p.Matcher)
			continue
		}
		rest, ok := strings.CutPrefix(p.Path, bodyPath)
		path, err := match.ParsePath("$" + rest)
		if !ok || err != nil {
			return nil, fmt.Errorf("noise of %s: %q is no path of a body or a header: %w", p.Route, p.Path, err)
		}
		all[s] = all[s].WithBody(path, p.Matcher)
	}
	return all, nil
}

const (
	bodyPath   = "$.body"
	headerPath = "$.header."
)

// Pair is two answers of one application to the same request.
type Pair struct {
	Route string
	A, B  compare.Message
	// Lag is how much later B was asked; 0: at the same time.
	Lag time.Duration
}

// Learner collects pairs. Its zero value has seen none. It is for one goroutine.
type Learner struct {
	places map[key]*place
	pairs  []pair
	other  map[string]int64 // what is told, and how often it was seen
	beyond int64            // places for which there was no room
	kept   []Pair           // some that differed
}

type key struct {
	subject
	path string
}

const (
	most      = 20_000 // places of one learner
	keptMost  = 32     // pairs that differed
	pairsMost = 10_000
)

// Note takes one pair.
func (l *Learner) Note(p Pair) {
	if l.places == nil {
		l.places, l.other = map[key]*place{}, map[string]int64{}
	}
	if p.A.Status != p.B.Status {
		l.other[fmt.Sprintf("%s: $.status: %d and %d", p.Route, min(p.A.Status, p.B.Status), max(p.A.Status, p.B.Status))]++
		return
	}
	s := subject{p.Route, p.A.Status}
	if len(l.pairs) == pairsMost {
		return
	}
	w := &walk{learner: l, subject: s, flips: map[*place]*flip{}}
	found := compare.Responses(p.A, p.B, match.Rules{}, compare.Options{Mode: compare.Exact, Limit: 1000})
	if len(found) > 0 && len(l.kept) < keptMost {
		l.kept = append(l.kept, p)
	}
	documents := w.documents(p.A, p.B)
	for _, d := range found {
		w.difference(d, documents)
	}
	l.pairs = append(l.pairs, pair{s, when(p.Lag), w.flips})
}

// pair is how two answers differed.
type pair struct {
	subject
	lagged int
	flips  map[*place]*flip
}

// when is 0 for what was asked at once, and 1 with a lag.
func when(lag time.Duration) int {
	if lag > 0 {
		return 1
	}
	return 0
}

// Pairs returns how many pairs were asked at once, and how many with a lag.
func (l *Learner) Pairs() (atOnce, lagged int64) {
	for _, p := range l.pairs {
		lagged += int64(p.lagged)
	}
	return int64(len(l.pairs)) - lagged, lagged
}

// Learn says in which places the application differs from itself.
func (l *Learner) Learn() Noise {
	all, pairs := l.summaries(func(pair) bool { return true })
	moved := map[*place]bool{}
	for k, p := range l.places {
		if s := all[p]; s != nil && !s.regular(pairs[k.subject]) {
			moved[p] = true
		}
	}
	// Where something moved, whatever lies beside it may have moved with it: an
	// element that was put before others changes every place of a list. Such a
	// pair teaches nothing.
	still, _ := l.summaries(func(p pair) bool {
		for at := range p.flips {
			if moved[at] {
				return false
			}
		}
		return true
	})
	var n Noise
	for k, p := range l.places {
		s := all[p]
		switch {
		case s == nil:
			continue
		case moved[p] || still[p] == nil:
			n.Unexplained = append(n.Unexplained, fmt.Sprintf("%s (%d): %s: %s: taken for data that was changed in between", k.route, k.status, k.path, s))
			continue
		}
		m, why := p.matcher(*still[p])
		if why != "" {
			n.Unexplained = append(n.Unexplained, fmt.Sprintf("%s (%d): %s: %s", k.route, k.status, k.path, why))
			continue
		}
		n.Places = append(n.Places, Place{Route: k.route, Status: k.status, Path: k.path, Matcher: m, Flips: still[p].times[0] + still[p].times[1], Samples: p.samples})
	}
	for what, times := range l.other {
		n.Unexplained = append(n.Unexplained, fmt.Sprintf("%s (%d times)", what, times))
	}
	if l.beyond > 0 {
		n.Unexplained = append(n.Unexplained, fmt.Sprintf("%d places were not looked at: there are more than %d", l.beyond, most))
	}
	n.Unexplained = append(n.Unexplained, l.uncovered(n)...)
	slices.Sort(n.Unexplained)
	n.Unexplained = slices.Compact(n.Unexplained)
	slices.SortFunc(n.Places, func(a, b Place) int {
		return strings.Compare(fmt.Sprint(a.Route, " ", a.Status, a.Path), fmt.Sprint(b.Route, " ", b.Status, b.Path))
	})
	return n
}

// summaries sums up how each place differed in some of the pairs, and how many
// pairs there are of each subject.
func (l *Learner) summaries(of func(pair) bool) (map[*place]*summary, map[subject][2]int64) {
	all, pairs := map[*place]*summary{}, map[subject][2]int64{}
	for _, p := range l.pairs {
		n := pairs[p.subject]
		n[p.lagged]++
		pairs[p.subject] = n
		if !of(p) {
			continue
		}
		for at, f := range p.flips {
			if all[at] == nil {
				all[at] = &summary{}
			}
			all[at].add(f, p.lagged)
		}
	}
	return all, pairs
}

// uncovered holds the pairs that were kept to what was learned of them, and tells
// where they still differ: a matcher of one place says nothing of what lies below
// it or beside it. What has been told of already is left out.
func (l *Learner) uncovered(n Noise) []string {
	rules, err := n.Rules()
	if err != nil {
		return []string{err.Error()}
	}
	var told []string
	for _, p := range l.kept {
		for _, d := range compare.Responses(p.A, p.B, rules.For(p.Route, p.A.Status), compare.Options{Mode: compare.Exact}) {
			what := fmt.Sprintf("%s (%d): %s", p.Route, p.A.Status, d.Fingerprint())
			_, path, _ := strings.Cut(d.Fingerprint(), " ")
			before := fmt.Sprintf("%s (%d): %s: ", p.Route, p.A.Status, path)
			if !slices.ContainsFunc(n.Unexplained, func(have string) bool { return strings.HasPrefix(have, before) }) {
				told = append(told, what+": still differs under what was learned")
			}
		}
	}
	return told
}
