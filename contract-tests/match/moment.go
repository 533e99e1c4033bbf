package match

import (
	"strings"
	"time"
)

// layouts are the forms in which a text may tell a moment.
var layouts = []string{
	time.RFC3339Nano, "2006-01-02T15:04:05.999999999", "2006-01-02 15:04:05.999999999Z07:00", "2006-01-02 15:04:05.999999999",
	time.DateOnly, time.RFC1123, time.RFC1123Z, "02.01.2006 15:04:05", "02.01.2006 15:04", "2006-01-02 15:04", "02.01.2006",
}

// ParseMoment reads a text that tells a moment, and the layout it is written
// in; one without an offset is taken to be UTC.
func ParseMoment(text string) (at time.Time, layout string, ok bool) {
	if len(text) < len("02.01.2006") || !strings.ContainsAny(text, "0123456789") {
		return time.Time{}, "", false
	}
	for _, layout := range layouts {
		if at, err := time.Parse(layout, text); err == nil {
			return at, layout, true
		}
	}
	return time.Time{}, "", false
}

// matchMoment holds a text to a moment near the example's, written in the same
// form.
func (m Matcher) matchMoment(expected, actual any) error {
	example, _ := scalar(expected)
	want, layout, ok := ParseMoment(example)
	if !ok {
		return m.matchExample(expected, actual)
	}
	text, _ := scalar(actual)
	got, err := time.Parse(layout, text)
	if err != nil {
		return mismatch(OfType, "a moment written like %s", layout)
	}
	if apart := want.Sub(got).Abs(); apart.Seconds() > m.Within {
		return mismatch(OfValue, "a moment within %v s of the example", m.Within)
	}
	return nil
}
