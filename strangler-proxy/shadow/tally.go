package shadow

import (
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"strings"
	"time"

	"stranglerfig/contract-tests/compare"
	"stranglerfig/contract-tests/sequential"
	"stranglerfig/strangler-proxy/proxy"
)

const (
	listed  = 100 // fingerprints kept for each route and direction
	grouped = 400 // sets of fingerprints that came together
)

// key is what is counted apart.
type key struct {
	route     string
	direction Direction
}

// tally is what was found on one route in one direction. It is stored as it is.
type tally struct {
	Route        string            `json:"route"`
	Capability   string            `json:"capability"`
	Direction    Direction         `json:"direction"`
	Since        time.Time         `json:"since"`
	Matched      int64             `json:"matched"`
	Noise        int64             `json:"noise"`
	Fleeting     int64             `json:"fleeting"` // of those matched and noise
	Incomparable map[Reason]int64  `json:"incomparable"`
	Dropped      map[Reason]int64  `json:"dropped"`
	Rule         sequential.Rule   `json:"rule"`
	Test         sequential.Test   `json:"test"` // of what agreed; what differed is in Groups
	Found        map[string]*Found `json:"found"`
	Groups       map[string]*group `json:"groups"`
	Rows         RowCount          `json:"rows,omitzero"` // that isolated stores have written
	Beyond       int64             `json:"beyond"`        // comparisons that differed in a way that is not listed any more
	More         int64             `json:"more"`          // differences that are not listed any more
	Latency      Latency           `json:"latency"`
}

// group is the comparisons that differed in the same ways. Whether they are
// mismatches depends on who has allowed which of them, which may change.
type group struct {
	IDs    []string `json:"ids"`
	Times  int64    `json:"times"`
	Weight float64  `json:"weight"` // with which they count once they are allowed
}

// Found is one distinct difference with an example.
type Found struct {
	ID          string             `json:"id"` // names the difference on its route
	Fingerprint string             `json:"fingerprint"`
	Times       int64              `json:"times"`
	First       time.Time          `json:"first"`
	Last        time.Time          `json:"last"`
	Example     string             `json:"example"` // the request, without its secrets
	Difference  compare.Difference `json:"difference"`
	// Allowed is until when a person allows the difference; zero where nobody
	// does.
	Allowed time.Time `json:"allowed,omitzero"`
}

func newTally(route, capability string, d Direction, at time.Time) *tally {
	return &tally{
		Route: route, Capability: capability, Direction: d, Since: at,
		Incomparable: map[Reason]int64{}, Dropped: map[Reason]int64{}, Found: map[string]*Found{}, Groups: map[string]*group{},
	}
}

// identify names a difference on a route.
func identify(routeID, fingerprint string) string {
	sum := sha256.Sum256([]byte(routeID + "\x00" + fingerprint))
	return hex.EncodeToString(sum[:5])
}

// note counts a comparison of an exchange. The differences are without secrets.
func (t *tally) note(x *proxy.Exchange, f finding, differences []compare.Difference, example string, rule sequential.Rule, margin float64) {
	if f.monolith > 0 && f.service > 0 {
		t.Latency.Note(f.monolith, f.service, margin)
	}
	t.Rows.add(f.rows)
	switch f.verdict {
	case Incomparable:
		t.Incomparable[f.reason]++
		return
	case Dropped:
		t.Dropped[f.reason]++
		return
	}
	if t.Rule != rule {
		// A rule that was changed after looking would prove what one likes.
		t.Rule, t.Test = rule, sequential.Test{}
		for _, g := range t.Groups {
			g.Weight = 0
		}
	}
	weight := t.Test.Weigh(rule, x.Client, shapeOf(x), x.At)
	if f.fleeting {
		t.Fleeting++
	}
	switch f.verdict {
	case Match:
		t.Matched++
		t.Test.Match(weight)
	case Noise:
		t.Noise++
		t.Test.Match(weight)
	case Mismatch:
		t.differ(x.At, differences, example, weight)
	}
}

// differ files a comparison under the set of its differences.
func (t *tally) differ(at time.Time, differences []compare.Difference, example string, weight float64) {
	var ids []string
	whole := true
	for _, d := range differences {
		id, known := t.find(at, d, example)
		whole = whole && known
		if known && !slices.Contains(ids, id) {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	name := strings.Join(ids, " ")
	g := t.Groups[name]
	if g == nil && whole && len(t.Groups) < grouped {
		g = &group{IDs: ids}
		t.Groups[name] = g
	}
	if g == nil || !whole {
		t.Beyond++
		return
	}
	g.Times++
	g.Weight += weight
}

// find keeps a difference under its fingerprint; false where there is no room.
func (t *tally) find(at time.Time, d compare.Difference, example string) (string, bool) {
	print := d.Fingerprint()
	id := identify(t.Route, print)
	f := t.Found[id]
	if f == nil {
		if len(t.Found) == listed {
			t.More++
			return "", false
		}
		f = &Found{ID: id, Fingerprint: print, First: at, Example: example, Difference: d}
		t.Found[id] = f
	}
	f.Times++
	f.Last = at
	return id, true
}

// Count is what was found on one route in one direction, as of now.
type Count struct {
	Route      string
	Capability string
	Direction  Direction
	Since      time.Time
	Compared   int64 // matched, noise, allowed and mismatched
	Matched    int64
	Noise      int64
	// Fleeting are those of the matched and of the noise that differed at first, and
	// agreed when both sides were asked again.
	Fleeting     int64
	Allowed      int64 // differ in ways that a person allows
	Mismatched   int64 // differ otherwise
	Incomparable int64
	Dropped      int64
	Reasons      map[Reason]int64 // of what was dropped or incomparable
	// Test is the sequential test of Rule, with what is allowed at present.
	Rule sequential.Rule
	Test sequential.Test
	// Differences are the distinct ones, at most 100, the most frequent first;
	// More counts those beyond.
	Differences []Found
	More        int64
	Rows        RowCount // that isolated stores have written
	Latency     Latency
}

// Enough reports whether the stop rule is fulfilled.
func (c Count) Enough() bool { return c.Test.Enough(c.Rule) }

// count says what a tally amounts to at a moment, when some differences are
// allowed until some time.
func (t *tally) count(allowed map[string]time.Time, rule sequential.Rule, now time.Time) Count {
	c := Count{
		Route: t.Route, Capability: t.Capability, Direction: t.Direction, Since: t.Since,
		Matched: t.Matched, Noise: t.Noise, Fleeting: t.Fleeting, Mismatched: t.Beyond, More: t.More,
		Rule: rule, Test: t.Test, Reasons: map[Reason]int64{}, Rows: t.Rows, Latency: t.Latency,
	}
	if t.Rule != rule {
		c.Test = sequential.Test{} // what was counted was for something else
	}
	c.Test.Clients, c.Test.Shapes = nil, nil
	holds := func(id string) bool { return now.Before(allowed[id]) }
	for _, g := range t.Groups {
		if slices.ContainsFunc(g.IDs, func(id string) bool { return !holds(id) }) {
			c.Mismatched += g.Times
			continue
		}
		c.Allowed += g.Times
		c.Test.Matches += g.Times
		c.Test.Weight += g.Weight
	}
	c.Test.Mismatches = c.Mismatched
	c.Compared = c.Matched + c.Noise + c.Allowed + c.Mismatched
	for _, f := range t.Found {
		one := *f
		one.Allowed = allowed[f.ID]
		c.Differences = append(c.Differences, one)
	}
	slices.SortFunc(c.Differences, func(a, b Found) int {
		if a.Times != b.Times {
			return int(b.Times - a.Times)
		}
		return strings.Compare(a.ID, b.ID)
	})
	for why, n := range t.Incomparable {
		c.Incomparable += n
		c.Reasons[why] += n
	}
	for why, n := range t.Dropped {
		c.Dropped += n
		c.Reasons[why] += n
	}
	return c
}
