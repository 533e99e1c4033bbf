// Package compare is the one comparator: it tells two answers apart, and says
// where. Contract verification and shadow traffic share it, so that a
// difference means the same thing in both.
//
// Start at [Responses]. In [Contract] mode the expected answer is an example
// and Pact's semantics hold: what the example does not mention is free. In
// [Exact] mode both answers come from a running side and are compared
// symmetrically. In both, match.Rules loosen single places.
//
// The package does no I/O and keeps nothing: values that a difference quotes
// come from the answers as they are, so redact before storing them.
package compare

import (
	"bytes"
	"regexp"
	"strconv"
	"unicode/utf8"

	"stranglerfig/contract-tests/match"
)

// Message is an answer. Header names are compared without regard to case. In
// Contract mode a nil Body of the expected message leaves the body unchecked,
// and an empty one demands an empty body.
type Message struct {
	Status int
	Header map[string][]string
	Body   []byte
}

// Mode is how strict the comparison is.
type Mode int

// The modes.
const (
	// Contract allows what the expected answer does not mention: further
	// headers and further members of objects.
	Contract Mode = iota
	// Exact compares both ways. Of the headers it looks at Content-Type,
	// Content-Encoding, Location, Content-Disposition, ETag, Cache-Control and
	// the names of cookies.
	Exact
)

// DefaultLimit is how many differences are listed if Options does not say.
const DefaultLimit = 50

// Options are the comparison's settings. The zero value is Contract mode with
// the default limit.
type Options struct {
	Mode  Mode
	Limit int // differences listed; further ones are counted. 0 is DefaultLimit
}

// Kind says what sort of difference it is.
type Kind string

// The kinds of difference. More is the last entry of a list that reached its
// limit; its Actual is how many were left out.
const (
	Missing  Kind = "missing"
	Extra    Kind = "extra"
	Value    Kind = "value"
	Type     Kind = "type"
	Length   Kind = "length"
	Status   Kind = "status"
	Header   Kind = "header"
	Order    Kind = "order"
	Encoding Kind = "encoding"
	More     Kind = "more"
)

// Difference is one place where the answers differ. Values are cut at 200
// characters.
type Difference struct {
	Path     string `json:"path"` // such as $.status, $.header.Location, $.body.lines[3].amount
	Kind     Kind   `json:"kind"`
	Expected string `json:"expected,omitempty"`
	Actual   string `json:"actual,omitempty"`
	Rule     string `json:"rule,omitempty"` // the rule that was violated, if it was not equality
}

// String is the difference on one line.
func (d Difference) String() string {
	text := d.Path + ": " + string(d.Kind) + ": expected " + orNothing(d.Expected) + ", got " + orNothing(d.Actual)
	if d.Rule != "" {
		text += " (rule " + d.Rule + ")"
	}
	return text
}

func orNothing(value string) string {
	if value == "" {
		return "nothing"
	}
	return value
}

var (
	indices = regexp.MustCompile(`\[\d+\]`)
	lines   = regexp.MustCompile(`:line \d+$`)
)

// Fingerprint names the sort of difference: it is the same for all elements of
// an array and for all values, so that occurrences can be counted.
func (d Difference) Fingerprint() string {
	path := indices.ReplaceAllString(d.Path, "[*]")
	return string(d.Kind) + " " + lines.ReplaceAllString(path, ":line *")
}

// Responses compares two answers and returns where they differ, status first,
// then headers, then the body; nothing if they agree. The order is stable.
func Responses(expected, actual Message, rules match.Rules, o Options) []Difference {
	if same(expected, actual, rules, o) {
		return nil
	}
	c := &comparison{expected: expected, actual: actual, rules: rules, exact: o.Mode == Exact}
	c.limit = o.Limit
	if c.limit <= 0 {
		c.limit = DefaultLimit
	}
	c.status()
	c.headers()
	c.body()
	return c.result()
}

// same is the fast path: nothing to look into. In Contract mode rules can
// fail even an identical answer, so there it holds only without rules.
func same(expected, actual Message, rules match.Rules, o Options) bool {
	if expected.Status != actual.Status || !bytes.Equal(expected.Body, actual.Body) {
		return false
	}
	if o.Mode == Contract {
		return rules.Empty() && len(expected.Header) == 0
	}
	return sameHeaders(expected.Header, actual.Header)
}

// comparison is one comparison under way.
type comparison struct {
	expected, actual Message
	rules            match.Rules
	exact            bool
	collector
}

// collector lists differences up to a limit and counts the rest.
type collector struct {
	limit   int
	found   []Difference
	dropped int
}

func (c *collector) add(d Difference) {
	if len(c.found) >= c.limit {
		c.dropped++
		return
	}
	d.Expected, d.Actual = clip(d.Expected), clip(d.Actual)
	c.found = append(c.found, d)
}

func (c *collector) count() int { return len(c.found) + c.dropped }

func (c *collector) result() []Difference {
	if c.dropped == 0 {
		return c.found
	}
	return append(c.found, Difference{Path: "$", Kind: More, Actual: strconv.Itoa(c.dropped)})
}

// longest is how many characters of a value a difference quotes.
const longest = 200

func clip(value string) string {
	if len(value) <= longest || utf8.RuneCountInString(value) <= longest {
		return value
	}
	return string([]rune(value)[:longest-1]) + "…"
}

func (c *comparison) status() {
	list := c.rules.Status()
	d := Difference{Path: "$.status", Kind: Status,
		Expected: strconv.Itoa(c.expected.Status), Actual: strconv.Itoa(c.actual.Status)}
	switch {
	case len(list.Matchers) > 0:
		if err := list.Match(c.expected.Status, c.actual.Status); err != nil {
			d.Rule = "$.status: " + err.Error()
			c.add(d)
		}
	// An example without a status says nothing about it.
	case c.expected.Status != c.actual.Status && (c.exact || c.expected.Status != 0):
		c.add(d)
	}
}
