package generator

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// formats are the Java patterns of generators that name none.
var formats = map[Kind]string{Date: "yyyy-MM-dd", Time: "HH:mm:ss", DateTime: "yyyy-MM-dd'T'HH:mm:ss.SSSXXX"}

func (g Generator) format() string {
	if g.Format != "" {
		return g.Format
	}
	return formats[g.Kind]
}

// checkInstant tries pattern and expression on some moment.
func (g Generator) checkInstant() error {
	_, err := g.instant(time.Unix(0, 0).UTC())
	return err
}

// instant writes the moment that the expression names, by default now.
func (g Generator) instant(now time.Time) (string, error) {
	at, err := moment(now, g.Expression)
	if err == nil {
		var text string
		if text, err = write(at, g.format()); err == nil {
			return text, nil
		}
	}
	return "", fmt.Errorf("generator %s: %w", g.Kind, err)
}

// write formats a time by a Java DateTimeFormatter pattern. What is optional in
// it, between brackets, is written.
func write(at time.Time, pattern string) (string, error) {
	var b strings.Builder
	for i := 0; i < len(pattern); {
		c := pattern[i]
		switch {
		case c == '\'':
			n, closed := quoted(&b, pattern[i:])
			if !closed {
				return "", fmt.Errorf("pattern %q: a quote is not closed", pattern)
			}
			i += n
		case c == '[' || c == ']':
			i++
		case c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z':
			n := len(pattern[i:]) - len(strings.TrimLeft(pattern[i:], string(c)))
			text, ok := field(at, c, n)
			if !ok {
				return "", fmt.Errorf("pattern %q: %q is not supported (accepted letters: y u M L d E a H h K k m s S n X x Z z V G)", pattern, pattern[i:i+n])
			}
			b.WriteString(text)
			i += n
		default:
			b.WriteByte(c)
			i++
		}
	}
	return b.String(), nil
}

// quoted writes 'text', in which two quotes are one, as they are on their own.
// It tells how long it was.
func quoted(b *strings.Builder, text string) (n int, closed bool) {
	if strings.HasPrefix(text, "''") {
		b.WriteByte('\'')
		return 2, true
	}
	for n = 1; n < len(text); n++ {
		switch {
		case strings.HasPrefix(text[n:], "''"):
			b.WriteByte('\'')
			n++
		case text[n] == '\'':
			return n + 1, true
		default:
			b.WriteByte(text[n])
		}
	}
	return n, false
}

// field is what a letter stands for that is there n times.
func field(at time.Time, c byte, n int) (string, bool) {
	hour, half := at.Hour(), at.Hour()%12
	switch c {
	case 'y', 'u':
		if n == 2 {
			return padded(at.Year()%100, 2), true
		}
		return padded(at.Year(), n), true
	case 'M', 'L':
		return named(at.Month().String(), int(at.Month()), n)
	case 'd':
		return padded(at.Day(), n), n <= 2
	case 'E':
		return named(at.Weekday().String(), 0, max(n, 3))
	case 'a':
		return at.Format("PM"), n == 1
	case 'H':
		return padded(hour, n), n <= 2
	case 'k':
		return padded((hour+23)%24+1, n), n <= 2
	case 'h':
		return padded((half+11)%12+1, n), n <= 2
	case 'K':
		return padded(half, n), n <= 2
	case 'm':
		return padded(at.Minute(), n), n <= 2
	case 's':
		return padded(at.Second(), n), n <= 2
	case 'S':
		return (fmt.Sprintf("%09d", at.Nanosecond()) + strings.Repeat("0", n))[:n], n <= 9
	case 'n':
		return padded(at.Nanosecond(), n), true
	case 'G':
		return "AD", true
	}
	return zone(at, c, n)
}

func padded(value, width int) string { return fmt.Sprintf("%0*d", width, value) }

// named is a month or a day: as a number, abbreviated, or whole.
func named(name string, number, n int) (string, bool) {
	switch n {
	case 1, 2:
		return padded(number, n), true
	case 3:
		return name[:3], true
	case 4:
		return name, true
	}
	return "", false
}

// zone is a zone or an offset.
func zone(at time.Time, c byte, n int) (string, bool) {
	layouts := map[byte][]string{
		'X': {"Z07", "Z0700", "Z07:00", "Z0700", "Z07:00"},
		'x': {"-07", "-0700", "-07:00", "-0700", "-07:00"},
		'Z': {"-0700", "-0700", "-0700", "", "Z07:00"},
	}[c]
	switch {
	case c == 'z' || c == 'V':
		name, _ := at.Zone()
		if _, err := strconv.Atoi(name); err == nil || name == "" {
			name = "UTC" + at.Format("-07:00")
		}
		return name, true
	case c == 'Z' && n == 4:
		return "GMT" + at.Format("-07:00"), true
	case n > len(layouts):
		return "", false
	}
	return at.Format(layouts[n-1]), true
}
