package match

import (
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// Kind names a matcher as Pact files do.
type Kind string

// The matchers. Those after SemVer are ours; Pact tools do not know them.
const (
	Equality      Kind = "equality"
	Type          Kind = "type"
	Regex         Kind = "regex"
	Include       Kind = "include"
	Integer       Kind = "integer"
	Decimal       Kind = "decimal"
	Number        Kind = "number"
	Boolean       Kind = "boolean"
	Null          Kind = "null"
	Date          Kind = "date"
	Time          Kind = "time"
	DateTime      Kind = "datetime"
	Values        Kind = "values"
	EachKey       Kind = "eachKey"
	EachValue     Kind = "eachValue"
	ArrayContains Kind = "arrayContains"
	NotEmpty      Kind = "notEmpty"
	StatusCode    Kind = "statusCode"
	ContentType   Kind = "contentType"
	SemVer        Kind = "semver"

	Unordered Kind = "unordered" // an array's elements in any order
	Tolerance Kind = "tolerance" // a number within ± Within of the example
	Absent    Kind = "absent"    // the member must not be there
	Nullable  Kind = "nullable"  // null, or the example's type
)

// Kinds lists every matcher there is, for error messages.
func Kinds() []Kind {
	return []Kind{Equality, Type, Regex, Include, Integer, Decimal, Number, Boolean, Null,
		Date, Time, DateTime, Values, EachKey, EachValue, ArrayContains, NotEmpty,
		StatusCode, ContentType, SemVer, Unordered, Tolerance, Absent, Nullable}
}

// Ours reports whether the matcher is unknown to other Pact tools.
func (k Kind) Ours() bool {
	return k == Unordered || k == Tolerance || k == Absent || k == Nullable
}

// Text is a value that came as text, such as a header's: its numbers and
// booleans are told by their form.
type Text string

// Matcher is one condition on a value. Build it with [New] or read it from
// JSON; both refuse a matcher that could never work.
type Matcher struct {
	Kind     Kind
	Value    string    // regex's expression, which must match the whole value; include's text; contentType's media type; date, time and datetime's Java pattern
	Min, Max *int      // type: bounds of an array's length, both inclusive; nil is unbounded
	Within   float64   // tolerance, absolute and inclusive
	Class    string    // statusCode: info, success, redirect, clientError, serverError, nonError or error
	Codes    []int     // statusCode: the accepted codes, if Class is empty
	Rules    []Matcher // eachKey, eachValue: what each key or value must match
	Variants []Variant // arrayContains

	pattern *regexp.Regexp
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
		pattern, err := regexp.Compile(m.Value)
		if err != nil {
			return m, fmt.Errorf("matcher regex: %w (accepted are RE2 expressions, which have no lookaround and no backreferences)", err)
		}
		// The reference implementation and the JVM's match the whole value.
		m.pattern, err = regexp.Compile(`\A(?:` + pattern.String() + `)\z`)
		return m, err
	case SemVer:
		m.pattern = semver
	case Date, Time, DateTime:
		return newInstant(m)
	case Include, ContentType:
		if m.Value == "" {
			return m, fmt.Errorf("matcher %s: needs a non-empty value", m.Kind)
		}
	case Type:
		return m, checkBounds(m)
	case Tolerance:
		if m.Within < 0 {
			return m, fmt.Errorf("matcher tolerance: needs a number of at least 0, not %v", m.Within)
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

func joinKinds() string {
	var names []string
	for _, k := range Kinds() {
		names = append(names, string(k))
	}
	return strings.Join(names, ", ")
}

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

// wire is a matcher's form in JSON.
type wire struct {
	Match     Kind            `json:"match,omitempty"`
	Regex     string          `json:"regex,omitempty"`
	Value     json.RawMessage `json:"value,omitempty"`
	Format    string          `json:"format,omitempty"`
	Date      string          `json:"date,omitempty"`
	Time      string          `json:"time,omitempty"`
	DateTime  string          `json:"datetime,omitempty"`
	Timestamp string          `json:"timestamp,omitempty"`
	Min       *int            `json:"min,omitempty"`
	Max       *int            `json:"max,omitempty"`
	Tolerance *float64        `json:"tolerance,omitempty"`
	Status    json.RawMessage `json:"status,omitempty"`
	Rules     []Matcher       `json:"rules,omitempty"`
	Variants  []wireVariant   `json:"variants,omitempty"`
}

type wireVariant struct {
	Index int                        `json:"index"`
	Rules map[string]json.RawMessage `json:"rules"`
}

// UnmarshalJSON reads a matcher of any Pact version. A matcher without a name
// that has min, max or regex is what version 2 makes of it.
func (m *Matcher) UnmarshalJSON(data []byte) error {
	var w wire
	if err := json.Unmarshal(data, &w); err != nil {
		return fmt.Errorf("matcher: %w", err)
	}
	read := Matcher{Kind: w.kind(), Min: w.Min, Max: w.Max, Rules: w.Rules}
	if read.Kind == "" {
		return fmt.Errorf("a matcher has no \"match\" (accepted: %s)", joinKinds())
	}
	read.Value = w.text(read.Kind)
	if w.Tolerance != nil {
		read.Within = *w.Tolerance
	}
	if len(w.Status) > 0 && json.Unmarshal(w.Status, &read.Class) != nil {
		if err := json.Unmarshal(w.Status, &read.Codes); err != nil {
			return fmt.Errorf("matcher statusCode: status must be a name or a list of codes: %w", err)
		}
	}
	for _, v := range w.Variants {
		rules, err := parseLists(v.Rules)
		if err != nil {
			return fmt.Errorf("matcher arrayContains: variant %d: %w", v.Index, err)
		}
		read.Variants = append(read.Variants, Variant{Index: v.Index, Rules: newRules(rules)})
	}
	complete, err := New(read)
	if err != nil {
		return err
	}
	*m = complete
	return nil
}

// kind resolves what the versions of Pact call the same thing.
func (w wire) kind() Kind {
	switch {
	case w.Match == "timestamp":
		return DateTime
	case w.Match != "":
		return w.Match
	case w.Regex != "":
		return Regex
	case w.Min != nil || w.Max != nil:
		return Type
	}
	return ""
}

// text finds the matcher's parameter under the name its kind uses.
func (w wire) text(k Kind) string {
	switch k {
	case Regex:
		return w.Regex
	case Date, Time, DateTime:
		for _, s := range []string{w.Format, w.DateTime, w.Timestamp, w.Date, w.Time} {
			if s != "" {
				return s
			}
		}
		return ""
	}
	var s string
	if json.Unmarshal(w.Value, &s) != nil {
		return strings.TrimSpace(string(w.Value))
	}
	return s
}

// MarshalJSON writes the matcher in the form of Pact version 4.
func (m Matcher) MarshalJSON() ([]byte, error) {
	w := wire{Match: m.Kind, Min: m.Min, Max: m.Max, Rules: m.Rules}
	switch m.Kind {
	case Regex:
		w.Regex = m.Value
	case Date, Time, DateTime:
		w.Format = m.Value
	case Include, ContentType:
		w.Value, _ = json.Marshal(m.Value)
	case Tolerance:
		w.Tolerance = &m.Within
	case StatusCode:
		if m.Class != "" {
			w.Status, _ = json.Marshal(m.Class)
		} else {
			w.Status, _ = json.Marshal(m.Codes)
		}
	}
	for _, v := range m.Variants {
		rules := map[string]json.RawMessage{}
		for _, r := range v.Rules.body {
			data, err := json.Marshal(r.List)
			if err != nil {
				return nil, err
			}
			rules[r.Path.String()] = data
		}
		w.Variants = append(w.Variants, wireVariant{Index: v.Index, Rules: rules})
	}
	return json.Marshal(w)
}

// cascades reports whether the matcher also holds for what lies below its
// path.
func (k Kind) cascades() bool {
	switch k {
	case Values, EachKey, EachValue, ArrayContains, Unordered, Absent, Nullable, NotEmpty:
		return false
	}
	return true
}

// container reports whether the matcher means something for an object or an
// array as a whole.
func (k Kind) container() bool {
	switch k {
	case Type, Equality, Values, EachKey, EachValue, ArrayContains, Unordered, NotEmpty, Nullable, Tolerance:
		return true
	}
	return false
}
