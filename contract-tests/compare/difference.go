package compare

import (
	"regexp"
	"strconv"
	"strings"
	"unicode/utf8"

	"stranglerfig/contract-tests/match"
)

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
	Method   Kind = "method"
	Header   Kind = "header"
	Order    Kind = "order"
	Encoding Kind = "encoding"
	Identity Kind = "identity" // an identifier that stood for another one before
	More     Kind = "more"
)

// Difference is one place where two sides differ. Values are cut at 200
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
	lines   = regexp.MustCompile(`:line \d+`)
	members = regexp.MustCompile(`\.[^.\[\]':]+|\['(?:[^'\\]|\\.)*'\]`)
)

// Fingerprint names the sort of difference, so that occurrences can be counted
// and allowed: the kind, a space, and the path, in which every index of a list
// is *, every number of a line as well, and every name of a member that looks
// like data (an identifier, a number, a date) too. It depends on no value and
// no rule, and is kept from version to version.
func (d Difference) Fingerprint() string {
	path := lines.ReplaceAllString(indices.ReplaceAllString(d.Path, "[*]"), ":line *")
	head, body, found := strings.Cut(path, bodyPath)
	if found && head == "" {
		path = bodyPath + members.ReplaceAllStringFunc(body, func(step string) string {
			if name := strings.Trim(step, ".[]'"); name != "" && isData(name) {
				return ".*"
			}
			return step
		})
	}
	return string(d.Kind) + " " + path
}

// isData tells names that a program made up from those that a programmer chose.
func isData(name string) bool {
	for _, f := range []match.Format{match.UUID, match.ULID, match.RFC3339, match.Day, match.Numeral, match.Mail} {
		if f.Has(name) {
			return true
		}
	}
	return match.Hex.Has(name) && strings.ContainsAny(name, "0123456789")
}

// collector lists differences up to a limit and counts the rest.
type collector struct {
	limit   int
	found   []Difference
	dropped int
	trial   bool // it is asked whether two values agree, and nothing is listed
}

// full reports whether a further difference is counted only.
func (c *collector) full() bool { return c.trial || len(c.found) >= c.limit }

func (c *collector) add(d Difference) {
	if c.full() {
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
