package noise

import (
	"encoding/json"
	"fmt"
	"math"
	"regexp"
	"slices"
	"strings"
	"time"

	"stranglerfig/contract-tests/match"
)

// place is what was seen in one place of a route's answers.
type place struct {
	samples int64

	kinds    []string         // that values had, sorted
	distinct map[string]int64 // values, as long as they are few
	many     bool             // they are not
	formats  []match.Format   // that every text had, the narrowest first
	texts    bool             // there was one
	pattern  string           // that every text has: digits are free
	broken   bool             // they have no such pattern in common
	whole    bool             // there is no rule for this place alone
	partial  bool             // only values that differ are seen
	decimal  bool             // some number was no integer

	array    bool
	shortest int
	longest  int
}

// few is how many distinct values may be a list of words.
const few = 8

// see notes a value.
func (p *place) see(v any) {
	p.samples++
	kind := match.KindOf(v)
	if at, known := slices.BinarySearch(p.kinds, kind); !known {
		p.kinds = slices.Insert(p.kinds, at, kind)
	}
	switch v := v.(type) {
	case nil:
		return
	case json.Number:
		p.decimal = p.decimal || strings.ContainsAny(string(v), ".eE")
		p.word(string(v))
	case string:
		p.word(v)
		p.form(v)
	}
}

// word counts a value among few, or gives up.
func (p *place) word(text string) {
	if p.many {
		return
	}
	if p.distinct == nil {
		p.distinct = map[string]int64{}
	}
	if p.distinct[text]++; len(p.distinct) > few {
		p.distinct, p.many = nil, true
	}
}

var digits = regexp.MustCompile(`[0-9]+`)

// longestPattern bounds the expression that a text becomes.
const longestPattern = 1 << 10

// form narrows down what all texts have in common.
func (p *place) form(text string) {
	if !p.texts {
		p.texts, p.formats = true, match.FormatsOf(text)
		p.pattern = patternOf(text)
		p.broken = len(text) > longestPattern
		return
	}
	if len(p.formats) > 0 {
		p.formats = slices.DeleteFunc(p.formats, func(f match.Format) bool { return !f.Has(text) })
	}
	p.broken = p.broken || len(text) > longestPattern || patternOf(text) != p.pattern
}

func patternOf(text string) string {
	return digits.ReplaceAllString(regexp.QuoteMeta(text), "[0-9]+")
}

func moment(v any) (time.Time, bool) {
	text, ok := v.(string)
	if !ok {
		return time.Time{}, false
	}
	at, _, ok := match.ParseMoment(text)
	return at, ok
}

func (p *place) length(n int) {
	if !p.array || p.shortest > n || p.longest == 0 {
		p.shortest = n
	}
	p.longest = max(p.longest, n)
}

// clockwise is how far apart two moments may be that follow the clock, whatever
// the lag: what tells the time of the answer is seconds old, and everything else
// is older.
const clockwise = 30 * time.Second

// summary is how a place differed in all pairs of one sort.
type summary struct {
	flip
	times [2]int64 // pairs that differed: asked at once, and with a lag
}

func (s *summary) add(f *flip, lagged int) {
	s.times[lagged]++
	s.sometimes, s.lengths, s.reordered = s.sometimes || f.sometimes, s.lengths || f.lengths, s.reordered || f.reordered
	s.values += f.values
	s.moments += f.moments
	s.distance = max(s.distance, f.distance)
}

// follows reports whether the place tells the time of the answer.
func (s *summary) follows() bool {
	return s.values > 0 && s.moments == s.values && s.distance <= clockwise
}

// regular reports whether a place differs often enough to be noise: in a quarter of
// the pairs that were asked at once, or in half of those with a lag. What differs
// more seldom, and only after a while, is data that was changed in between. A
// clock that shows seconds is seen to move in some pairs only.
func (s *summary) regular(pairs [2]int64) bool {
	switch all := s.times[0] + s.times[1]; {
	case all < 3:
		return false
	case s.follows():
		return 50*all >= pairs[0]+pairs[1]
	}
	return 4*s.times[0] >= pairs[0] && s.times[0] > 0 || 2*s.times[1] >= pairs[1] && s.times[1] > 0
}

func (s *summary) String() string {
	return fmt.Sprintf("differed in %d pairs asked at once, and in %d with a lag", s.times[0], s.times[1])
}

// matcher is the narrowest that covers what was seen, or why there is none. From
// narrow to wide: a few words, a moment within a distance, a format, the same
// text but for its digits, the type.
func (p *place) matcher(s summary) (m match.Matcher, why string) {
	switch {
	case p.whole:
		return m, s.String() + ": a part of a text, for which there is no rule"
	case s.sometimes:
		return m, "is there in some answers and not in others; it " + s.String()
	case p.array:
		return p.list(s)
	}
	return p.value(s)
}

// list is the matcher of an array that differs as a whole.
func (p *place) list(s summary) (match.Matcher, string) {
	switch {
	case len(p.kinds) > 0:
		return match.Matcher{}, "is an array in some answers and not in others; it " + s.String()
	case s.lengths && p.partial:
		return match.Matcher{}, "has no fixed number of elements; it " + s.String()
	case s.lengths:
		return match.Matcher{Kind: match.Type, Min: &p.shortest}, ""
	}
	return match.Matcher{Kind: match.Unordered}, ""
}

// value is the matcher of a single value.
func (p *place) value(s summary) (match.Matcher, string) {
	switch {
	case len(p.kinds) == 2 && slices.Contains(p.kinds, "null"):
		return match.Matcher{Kind: match.Nullable}, ""
	case len(p.kinds) != 1:
		return match.Matcher{}, "has several types: " + strings.Join(p.kinds, ", ") + "; it " + s.String()
	case p.fewWords():
		return p.words(), ""
	case s.follows():
		return match.Matcher{Kind: match.Moment, Within: math.Ceil(2*s.distance.Seconds() + 1)}, ""
	}
	switch p.kinds[0] {
	case "boolean":
		return match.Matcher{Kind: match.Boolean}, ""
	case "number":
		if p.decimal {
			return match.Matcher{Kind: match.Number}, ""
		}
		return match.Matcher{Kind: match.Integer}, ""
	}
	if len(p.formats) > 0 {
		return match.Matcher{Kind: match.OneOfFormats, Formats: p.formats[:1]}, ""
	}
	if p.texts && !p.broken {
		if m, err := match.New(match.Matcher{Kind: match.Regex, Value: p.pattern}); err == nil {
			return m, ""
		}
	}
	return match.Matcher{Kind: match.Type}, ""
}

// fewWords reports whether the values are a few words, each of them seen again
// and again. What a program makes up, such as a moment, is no word, however
// seldom it changes.
func (p *place) fewWords() bool {
	if p.partial || p.many || len(p.distinct) == 0 || p.samples < 10*int64(len(p.distinct)) || len(p.formats) > 0 {
		return false
	}
	for word := range p.distinct {
		if _, isMoment := moment(word); isMoment {
			return false
		}
	}
	return true
}

// words is the matcher of one of a few words.
func (p *place) words() match.Matcher {
	var all []string
	for word := range p.distinct {
		all = append(all, regexp.QuoteMeta(word))
	}
	slices.Sort(all)
	return match.Must(match.Matcher{Kind: match.Regex, Value: strings.Join(all, "|")})
}
