package match

import (
	"fmt"
	"regexp"
	"slices"
)

// Text is a value that came as text, such as a header's: its numbers and
// booleans are told by their form.
type Text string

// Array and Object are an array or an object that was not decoded: a matcher of
// the whole needs to know only how many elements or members it has.
type (
	Array  int
	Object int
)

// Matcher is one condition on a value. Build it with [New] or read it from
// JSON; both refuse a matcher that could never work.
type Matcher struct {
	Kind     Kind
	Value    string    // regex's expression, which must match the whole value; include's text; contentType's media type; date, time and datetime's Java pattern; id's expression, of which the first group is the identifier
	Min, Max *int      // type: bounds of an array's length, both inclusive; nil is unbounded
	Within   float64   // tolerance and moment, absolute and inclusive; a moment's in seconds
	Class    string    // statusCode: info, success, redirect, clientError, serverError, nonError or error
	Codes    []int     // statusCode: the accepted codes, if Class is empty
	Rules    []Matcher // eachKey, eachValue: what each key or value must match
	Variants []Variant // arrayContains
	Formats  []Format  // oneOfFormats
	Scope    string    // id: identifiers of one scope share one mapping

	pattern *pattern
	instant *instant
}

// Variant is one element that an array must contain somewhere.
type Variant struct {
	Index int   // of the example within the expected array
	Rules Rules // for the element, its paths rooted at the element
}

// New completes a matcher: it compiles its expression and checks its
// parameters. The error says what is accepted.
func New(m Matcher) (Matcher, error) {
	switch m.Kind {
	case Regex:
		var err error
		m.pattern, err = newPattern(m.Value)
		return m, err
	case ID:
		return newID(m)
	case OneOfFormats:
		return m, checkFormats(m)
	case Date, Time, DateTime:
		return newInstant(m)
	case Include, ContentType:
		if m.Value == "" {
			return m, fmt.Errorf("matcher %s: needs a non-empty value", m.Kind)
		}
	case Type:
		return m, checkBounds(m)
	case Tolerance, Moment:
		if m.Within < 0 {
			return m, fmt.Errorf("matcher %s: needs a tolerance of at least 0, not %v", m.Kind, m.Within)
		}
	case StatusCode:
		return m, checkStatus(m)
	default:
		if !slices.Contains(Kinds(), m.Kind) {
			return m, fmt.Errorf("unknown matcher %q (accepted: %s)", m.Kind, joinKinds())
		}
	}
	return m, nil
}

// Must is New for matchers that are constant in code; it panics on an error.
func Must(m Matcher) Matcher {
	m, err := New(m)
	if err != nil {
		panic(err)
	}
	return m
}

// EachLike is the matcher of an array with at least least elements, each like
// the example's first.
func EachLike(least int) Matcher { return Matcher{Kind: Type, Min: &least} }

func checkBounds(m Matcher) error {
	if m.Min != nil && *m.Min < 0 || m.Max != nil && *m.Max < 0 {
		return fmt.Errorf("matcher type: min and max must be at least 0")
	}
	if m.Min != nil && m.Max != nil && *m.Min > *m.Max {
		return fmt.Errorf("matcher type: min %d is above max %d", *m.Min, *m.Max)
	}
	return nil
}

func checkStatus(m Matcher) error {
	if _, ok := statusClasses[m.Class]; ok || m.Class == "" && len(m.Codes) > 0 {
		return nil
	}
	return fmt.Errorf("matcher statusCode: unknown status %q (accepted: info, success, redirect, clientError, serverError, nonError, error, or a list of codes)", m.Class)
}

// statusClasses gives the first and last code of each named class.
var statusClasses = map[string][2]int{
	"info": {100, 199}, "success": {200, 299}, "redirect": {300, 399},
	"clientError": {400, 499}, "serverError": {500, 599},
	"nonError": {100, 399}, "error": {400, 599},
}

// semver is the expression semver.org publishes.
var semver = regexp.MustCompile(`^(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)(?:-((?:0|[1-9]\d*|\d*[a-zA-Z-][0-9a-zA-Z-]*)(?:\.(?:0|[1-9]\d*|\d*[a-zA-Z-][0-9a-zA-Z-]*))*))?(?:\+([0-9a-zA-Z-]+(?:\.[0-9a-zA-Z-]+)*))?$`)

// newID compiles the expression that finds an identifier within a text, such as
// the one in a Location.
func newID(m Matcher) (Matcher, error) {
	if m.Value == "" {
		return m, nil
	}
	var err error
	m.pattern, err = newPattern(m.Value)
	return m, err
}

// Identifier returns the identifier that a matcher of kind [ID] finds in a
// value, as text. A value that holds none is no identifier.
func (m Matcher) Identifier(value any) (string, bool) {
	text, ok := scalar(value)
	if !ok || m.pattern == nil {
		return text, ok
	}
	return m.pattern.group(text)
}
