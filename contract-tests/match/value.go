package match

import (
	"encoding/json"
	"fmt"
	"math/big"
	"regexp"
	"strconv"
	"strings"
)

// Aspect says in which way a value failed its matcher.
type Aspect string

// The aspects of a mismatch.
const (
	OfType   Aspect = "type"
	OfLength Aspect = "length"
	OfValue  Aspect = "value"
)

// Mismatch is the error of a value that fails a matcher.
type Mismatch struct {
	Aspect Aspect
	Want   string // what the matcher asks for, as a phrase
}

// Error tells what the matcher asks for.
func (m *Mismatch) Error() string { return "want " + m.Want }

func mismatch(a Aspect, format string, args ...any) error {
	return &Mismatch{Aspect: a, Want: fmt.Sprintf(format, args...)}
}

// Match checks a value against the matcher. Values are what encoding/json
// decodes with UseNumber, or [Text]. Of objects and arrays it checks what
// concerns them as a whole (kind, length, emptiness); their members are for
// the caller to walk. The error is a *[Mismatch].
func (m Matcher) Match(expected, actual any) error { return m.check(expected, actual) }

// check is Match without a copy of the matcher.
func (m *Matcher) check(expected, actual any) error {
	switch m.Kind {
	case Equality, Unordered, Values, EachKey, EachValue, ArrayContains:
		return m.matchExample(expected, actual)
	case Type:
		return m.matchType(expected, actual)
	case Nullable:
		if actual == nil || expected == nil {
			return nil
		}
		return m.matchType(expected, actual)
	case Tolerance:
		return m.matchTolerance(expected, actual)
	case Moment:
		return m.matchMoment(expected, actual)
	case Absent:
		return mismatch(OfValue, "no such member")
	case Null:
		if actual != nil {
			return mismatch(OfType, "null")
		}
		return nil
	case NotEmpty:
		return matchNotEmpty(actual)
	case StatusCode:
		return m.matchStatus(actual)
	case Integer, Decimal, Number:
		return m.matchNumber(actual)
	case Boolean:
		return matchBoolean(actual)
	case ID:
		return m.matchID(expected, actual)
	case OneOfFormats:
		return m.matchFormats(actual)
	}
	return m.matchText(actual)
}

// matchExample holds a scalar to the example; of containers it holds only the
// kind.
func (m *Matcher) matchExample(expected, actual any) error {
	if container(expected) || container(actual) {
		return matchKind(expected, actual)
	}
	if !Equal(expected, actual) {
		return mismatch(OfValue, "the same value")
	}
	return nil
}

func (m *Matcher) matchType(expected, actual any) error {
	if err := matchKind(expected, actual); err != nil {
		return err
	}
	switch list := actual.(type) {
	case []any:
		return m.matchLength(len(list))
	case Array:
		return m.matchLength(int(list))
	}
	return nil
}

func (m *Matcher) matchLength(n int) error {
	if m.Min != nil && n < *m.Min {
		return mismatch(OfLength, "at least %d elements", *m.Min)
	}
	if m.Max != nil && n > *m.Max {
		return mismatch(OfLength, "at most %d elements", *m.Max)
	}
	return nil
}

func matchKind(expected, actual any) error {
	if want := KindOf(expected); want != KindOf(actual) {
		return mismatch(OfType, "%s", article(want))
	}
	return nil
}

func article(kind string) string {
	switch kind {
	case "object", "array":
		return "an " + kind
	case "null":
		return kind
	}
	return "a " + kind
}

func (m *Matcher) matchTolerance(expected, actual any) error {
	want, isNumber := rational(expected)
	got, ok := rational(actual)
	if !isNumber || !ok {
		return m.matchExample(expected, actual)
	}
	within := new(big.Rat)
	if _, ok := within.SetString(strconv.FormatFloat(m.Within, 'g', -1, 64)); !ok {
		return mismatch(OfValue, "a number within a finite tolerance")
	}
	if distance := new(big.Rat).Sub(want, got); distance.Abs(distance).Cmp(within) > 0 {
		return mismatch(OfValue, "a number within %v of the example", m.Within)
	}
	return nil
}

func matchNotEmpty(actual any) error {
	empty := false
	switch v := actual.(type) {
	case nil:
		empty = true
	case string:
		empty = v == ""
	case Text:
		empty = v == ""
	case []any:
		empty = len(v) == 0
	case map[string]any:
		empty = len(v) == 0
	case Array:
		empty = v == 0
	case Object:
		empty = v == 0
	}
	if empty {
		return mismatch(OfValue, "something that is not empty")
	}
	return nil
}

func (m *Matcher) matchStatus(actual any) error {
	text, _ := scalar(actual)
	code, err := strconv.Atoi(text)
	if err != nil {
		return mismatch(OfType, "a status code")
	}
	if m.Class != "" {
		if bounds := statusClasses[m.Class]; code < bounds[0] || code > bounds[1] {
			return mismatch(OfValue, "a status of class %s", m.Class)
		}
		return nil
	}
	for _, c := range m.Codes {
		if c == code {
			return nil
		}
	}
	return mismatch(OfValue, "a status among %v", m.Codes)
}

// textualNumber is how a number is written where texts are: with zeros before
// it, or a plus.
var textualNumber = regexp.MustCompile(`^[+-]?[0-9]+(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?$`)

// matchNumber goes by the number's form: 1.0 is a decimal, not an integer.
func (m *Matcher) matchNumber(actual any) error {
	var form string
	switch v := actual.(type) {
	case json.Number:
		form = string(v)
	case Text:
		if textualNumber.MatchString(string(v)) {
			form = string(v)
		}
	}
	decimal := strings.ContainsAny(form, ".eE")
	if form == "" || m.Kind == Integer && decimal || m.Kind == Decimal && !decimal {
		return mismatch(OfType, "%s", map[Kind]string{Integer: "an integer", Decimal: "a decimal number", Number: "a number"}[m.Kind])
	}
	return nil
}

func matchBoolean(actual any) error {
	switch v := actual.(type) {
	case bool:
		return nil
	case string:
		if v == "true" || v == "false" {
			return nil
		}
	case Text:
		if v == "true" || v == "false" {
			return nil
		}
	}
	return mismatch(OfType, "a boolean")
}

// matchText checks the matchers that read a value as text.
func (m *Matcher) matchText(actual any) error {
	text, ok := scalar(actual)
	if !ok {
		return mismatch(OfType, "text for the matcher %s", m.Kind)
	}
	switch m.Kind {
	case Include:
		if !strings.Contains(text, m.Value) {
			return mismatch(OfValue, "text that includes %q", m.Value)
		}
	case Regex:
		return m.matchPattern(text)
	case SemVer:
		if !semver.MatchString(text) {
			return mismatch(OfValue, "a semantic version")
		}
	case Date, Time, DateTime:
		if m.instant == nil || !m.instant.matches(text) {
			return mismatch(OfValue, "a %s such as %s", m.Kind, m.format())
		}
	case ContentType:
		if got := Sniff([]byte(text)); !sameMedia(got, m.Value) {
			return mismatch(OfValue, "content of type %s (it looks like %s)", m.Value, got)
		}
	}
	return nil
}

func (m *Matcher) matchPattern(text string) error {
	if m.pattern == nil {
		return mismatch(OfValue, "text that matches %s", m.Value)
	}
	switch ok, err := m.pattern.matches(text); {
	case err != nil:
		return mismatch(OfValue, "text that matches %s (%v)", m.Value, err)
	case !ok:
		return mismatch(OfValue, "text that matches %s", m.Value)
	}
	return nil
}

// matchID holds identifiers to the example's kind. That each side uses them
// consistently only the comparison of several answers can tell.
func (m *Matcher) matchID(expected, actual any) error {
	if err := matchKind(expected, actual); err != nil {
		return err
	}
	if _, ok := m.Identifier(actual); !ok {
		return mismatch(OfValue, "%s", strings.TrimSpace("an identifier "+m.Value))
	}
	return nil
}

func (m *Matcher) matchFormats(actual any) error {
	text, ok := scalar(actual)
	if !ok {
		return mismatch(OfType, "text of format %s", joinFormats(m.Formats))
	}
	for _, f := range m.Formats {
		if f.Has(text) {
			return nil
		}
	}
	return mismatch(OfValue, "text of format %s", joinFormats(m.Formats))
}

// scalar gives a value's text; objects, arrays and null have none.
func scalar(v any) (string, bool) {
	switch v := v.(type) {
	case string:
		return v, true
	case Text:
		return string(v), true
	case json.Number:
		return string(v), true
	case bool:
		return strconv.FormatBool(v), true
	case int:
		return strconv.Itoa(v), true
	}
	return "", false
}

// KindOf names the JSON kind of a decoded value: null, boolean, number,
// string, array or object.
func KindOf(v any) string {
	switch v.(type) {
	case nil:
		return "null"
	case bool:
		return "boolean"
	case json.Number, float64, int:
		return "number"
	case string, Text:
		return "string"
	case []any, Array:
		return "array"
	case map[string]any, Object:
		return "object"
	}
	return fmt.Sprintf("%T", v)
}

func container(v any) bool {
	switch v.(type) {
	case []any, map[string]any, Array, Object:
		return true
	}
	return false
}

// Equal reports whether two scalars are the same value. Numbers are compared
// exactly, however large: 12.30 equals 12.3.
func Equal(a, b any) bool {
	switch x := a.(type) {
	case json.Number:
		y, ok := b.(json.Number)
		return ok && equalNumbers(x, y)
	case string:
		y, ok := b.(string)
		return ok && x == y
	case []any, map[string]any, Array, Object:
		return false
	}
	return !container(b) && a == b
}

func equalNumbers(a, b json.Number) bool {
	if a == b {
		return true
	}
	x, ok := rational(a)
	if !ok {
		return false
	}
	y, ok := rational(b)
	return ok && x.Cmp(y) == 0
}

// longestNumber bounds the work of exact arithmetic: an exponent of many
// digits would fill the memory.
const longestNumber, longestExponent = 400, 3

func rational(v any) (*big.Rat, bool) {
	n, ok := v.(json.Number)
	if t, isText := v.(Text); isText {
		n, ok = json.Number(t), true
	}
	if !ok || len(n) > longestNumber {
		return nil, false
	}
	if i := strings.IndexAny(string(n), "eE"); i >= 0 && len(strings.TrimLeft(string(n[i+1:]), "+-0")) > longestExponent {
		return nil, false
	}
	return new(big.Rat).SetString(string(n))
}
