package match

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// defaults are the patterns of date, time and datetime that name none.
var defaults = map[Kind]string{
	Date: "yyyy-MM-dd", Time: "HH:mm:ss", DateTime: "yyyy-MM-dd'T'HH:mm:ssXXX",
}

// format is the matcher's Java pattern, given or by default.
func (m *Matcher) format() string {
	if m.Value != "" {
		return m.Value
	}
	return defaults[m.Kind]
}

func newInstant(m Matcher) (Matcher, error) {
	in, err := parsePattern(m.format())
	if err != nil {
		return m, fmt.Errorf("matcher %s: %w", m.Kind, err)
	}
	m.instant = in
	return m, nil
}

// instant is a Java DateTimeFormatter pattern, compiled. The expression holds
// each field to its range; the groups tell whether the day is in the month.
type instant struct {
	pattern          *regexp.Regexp
	year, month, day int // groups of the expression, 0 if absent
}

func (in *instant) matches(text string) bool {
	groups := in.pattern.FindStringSubmatch(text)
	if groups == nil {
		return false
	}
	if in.month == 0 || in.day == 0 {
		return true
	}
	year := 2000 // a leap year, so that 29 February passes where no year is given
	if in.year != 0 {
		year = number(groups[in.year])
	}
	month, day := monthOf(groups[in.month]), number(groups[in.day])
	return day <= time.Date(year, month+1, 0, 0, 0, 0, 0, time.UTC).Day()
}

func number(text string) int {
	n, err := strconv.Atoi(text)
	if err != nil {
		return 0
	}
	return n
}

func monthOf(text string) time.Month {
	if n := number(text); n > 0 {
		return time.Month(n)
	}
	for m := time.January; m <= time.December; m++ {
		if len(text) >= 3 && strings.EqualFold(m.String()[:3], text[:3]) {
			return m
		}
	}
	return time.January
}

// parsePattern translates a Java pattern into an expression.
func parsePattern(pattern string) (*instant, error) {
	in := &instant{}
	expr := strings.Builder{}
	expr.WriteString(`^`)
	groups := 0
	for i := 0; i < len(pattern); {
		c := pattern[i]
		switch {
		case c == '\'':
			literal, n, err := quoted(pattern[i:])
			if err != nil {
				return nil, fmt.Errorf("pattern %q: %w", pattern, err)
			}
			expr.WriteString(regexp.QuoteMeta(literal))
			i += n
		case c == '[':
			expr.WriteString(`(?:`)
			i++
		case c == ']':
			expr.WriteString(`)?`)
			i++
		case letter(c):
			n := len(pattern[i:]) - len(strings.TrimLeft(pattern[i:], string(c)))
			part, ok := fieldExpression(c, n)
			if !ok {
				return nil, fmt.Errorf("pattern %q: %q is not supported (accepted letters: y u M L d E a H h K k m s S n X x Z z V G)", pattern, pattern[i:i+n])
			}
			groups++
			expr.WriteString(`(` + part + `)`)
			in.note(c, groups)
			i += n
		default:
			expr.WriteString(regexp.QuoteMeta(string(c)))
			i++
		}
	}
	compiled, err := regexp.Compile(expr.String() + `$`)
	if err != nil {
		return nil, fmt.Errorf("pattern %q: %w", pattern, err)
	}
	in.pattern = compiled
	return in, nil
}

func (in *instant) note(c byte, group int) {
	switch c {
	case 'y', 'u':
		in.year = group
	case 'M', 'L':
		in.month = group
	case 'd':
		in.day = group
	}
}

func letter(c byte) bool { return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' }

// quoted reads 'text', in which ” is a quote; the pattern ” alone is one too.
func quoted(text string) (string, int, error) {
	if strings.HasPrefix(text, "''") {
		return "'", 2, nil
	}
	var b strings.Builder
	for i := 1; i < len(text); i++ {
		switch {
		case strings.HasPrefix(text[i:], "''"):
			b.WriteByte('\'')
			i++
		case text[i] == '\'':
			return b.String(), i + 1, nil
		default:
			b.WriteByte(text[i])
		}
	}
	return "", 0, fmt.Errorf("a quote is not closed")
}

const (
	monthsShort = `(?i:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)`
	monthsLong  = `(?i:january|february|march|april|may|june|july|august|september|october|november|december)`
	daysShort   = `(?i:mon|tue|wed|thu|fri|sat|sun)`
	daysLong    = `(?i:monday|tuesday|wednesday|thursday|friday|saturday|sunday)`
)

// fieldExpression is the expression of a letter repeated n times.
func fieldExpression(c byte, n int) (string, bool) {
	switch c {
	case 'y', 'u':
		if n == 2 {
			return `\d{2}`, true
		}
		return fmt.Sprintf(`[+-]?\d{%d,9}`, n), true
	case 'M', 'L':
		return pick(n, `1[0-2]|[1-9]`, `0[1-9]|1[0-2]`, monthsShort, monthsLong)
	case 'd':
		return pick(n, `[12]\d|3[01]|[1-9]`, `0[1-9]|[12]\d|3[01]`)
	case 'E':
		return pick(n, daysShort, daysShort, daysShort, daysLong)
	case 'a':
		return pick(n, `(?i:am|pm)`)
	case 'H':
		return pick(n, `1\d|2[0-3]|\d`, `[01]\d|2[0-3]`)
	case 'k':
		return pick(n, `1\d|2[0-4]|[1-9]`, `0[1-9]|1\d|2[0-4]`)
	case 'h':
		return pick(n, `1[0-2]|[1-9]`, `0[1-9]|1[0-2]`)
	case 'K':
		return pick(n, `1[01]|\d`, `0\d|1[01]`)
	case 'm', 's':
		return pick(n, `[1-5]\d|\d`, `[0-5]\d`)
	case 'S', 'n':
		return fmt.Sprintf(`\d{%d}`, n), true
	case 'G':
		return `AD|BC`, true
	}
	return zoneExpression(c, n)
}

// zoneExpression is fieldExpression for zones and offsets.
func zoneExpression(c byte, n int) (string, bool) {
	const short, compact, colon = `[+-]\d{2}(?:\d{2})?`, `[+-]\d{4}`, `[+-]\d{2}:\d{2}`
	switch c {
	case 'X':
		return pick(n, `Z|`+short, `Z|`+compact, `Z|`+colon, `Z|[+-]\d{4}(?:\d{2})?`, `Z|[+-]\d{2}:\d{2}(?::\d{2})?`)
	case 'x':
		return pick(n, short, compact, colon, `[+-]\d{4}(?:\d{2})?`, `[+-]\d{2}:\d{2}(?::\d{2})?`)
	case 'Z':
		return pick(n, compact, compact, compact, `GMT(?:[+-]\d{2}:\d{2})?`, `Z|`+colon)
	case 'z', 'V':
		return `[A-Za-z][A-Za-z0-9/_+:-]*`, true
	}
	return "", false
}

// pick returns the nth of the expressions, if there is one.
func pick(n int, expressions ...string) (string, bool) {
	if n > len(expressions) {
		return "", false
	}
	return expressions[n-1], true
}
