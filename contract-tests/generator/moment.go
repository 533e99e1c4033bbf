package generator

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// moment moves a time by an expression such as "tomorrow", "today @ 9 o'clock
// am + 30 minutes", "+ 2 weeks", or "last monday": an optional day, an optional
// time of day, and any number of moves.
func moment(now time.Time, expression string) (time.Time, error) {
	words := strings.Fields(strings.ToLower(strings.NewReplacer("+", " + ", "-", " - ", "@", " @ ").Replace(expression)))
	at := now
	for len(words) > 0 {
		var used int
		var err error
		at, used, err = step(at, words)
		if err != nil {
			return now, fmt.Errorf("expression %q: %w", expression, err)
		}
		words = words[used:]
	}
	return at, nil
}

// step takes the first part of an expression and tells how many words it had.
func step(at time.Time, words []string) (time.Time, int, error) {
	switch word := words[0]; word {
	case "now", "today", "@":
		return at, 1, nil
	case "yesterday":
		return at.AddDate(0, 0, -1), 1, nil
	case "tomorrow":
		return at.AddDate(0, 0, 1), 1, nil
	case "midnight":
		return clock(at, 0), 1, nil
	case "noon":
		return clock(at, 12), 1, nil
	case "+", "-":
		return shift(at, words)
	case "next", "last":
		return neighbour(at, words)
	default:
		return oClock(at, words)
	}
}

func clock(at time.Time, hour int) time.Time {
	return time.Date(at.Year(), at.Month(), at.Day(), hour, 0, 0, 0, at.Location())
}

// shift reads "+ 3 days".
func shift(at time.Time, words []string) (time.Time, int, error) {
	if len(words) < 3 {
		return at, 0, fmt.Errorf("a number and a unit must follow %s", words[0])
	}
	n, err := strconv.Atoi(words[1])
	if err != nil || n > 1_000_000 {
		return at, 0, fmt.Errorf("%q is not a number up to 1000000", words[1])
	}
	if words[0] == "-" {
		n = -n
	}
	moved, err := by(at, n, words[2])
	return moved, 3, err
}

func by(at time.Time, n int, unit string) (time.Time, error) {
	switch strings.TrimSuffix(unit, "s") {
	case "day":
		return at.AddDate(0, 0, n), nil
	case "week":
		return at.AddDate(0, 0, 7*n), nil
	case "fortnight":
		return at.AddDate(0, 0, 14*n), nil
	case "month":
		return at.AddDate(0, n, 0), nil
	case "year":
		return at.AddDate(n, 0, 0), nil
	case "hour":
		return at.Add(time.Duration(n) * time.Hour), nil
	case "minute":
		return at.Add(time.Duration(n) * time.Minute), nil
	case "second":
		return at.Add(time.Duration(n) * time.Second), nil
	case "millisecond":
		return at.Add(time.Duration(n) * time.Millisecond), nil
	}
	return at, fmt.Errorf("%q is no unit (accepted: year, month, fortnight, week, day, hour, minute, second, millisecond)", unit)
}

// neighbour reads "next week" and "last monday".
func neighbour(at time.Time, words []string) (time.Time, int, error) {
	if len(words) < 2 {
		return at, 0, fmt.Errorf("a unit or a day of the week must follow %s", words[0])
	}
	direction := 1
	if words[0] == "last" {
		direction = -1
	}
	for day := time.Sunday; day <= time.Saturday; day++ {
		if name := strings.ToLower(day.String()); words[1] == name || words[1] == name[:3] {
			away := (direction*int(day-at.Weekday()) + 7) % 7
			if away == 0 {
				away = 7
			}
			return at.AddDate(0, 0, direction*away), 2, nil
		}
	}
	moved, err := by(at, direction, words[1])
	return moved, 2, err
}

// oClock reads "9 o'clock", "9 o'clock am" and "9 o'clock pm".
func oClock(at time.Time, words []string) (time.Time, int, error) {
	hour, err := strconv.Atoi(words[0])
	if err != nil || hour < 0 || hour > 23 || len(words) < 2 || words[1] != "o'clock" {
		return at, 0, fmt.Errorf("%q is not understood (accepted: now, today, yesterday, tomorrow, midnight, noon, 9 o'clock am, + 2 days, - 1 hour, next week, last monday)", words[0])
	}
	if len(words) < 3 || words[2] != "am" && words[2] != "pm" {
		return clock(at, hour), 2, nil
	}
	if hour %= 12; words[2] == "pm" {
		hour += 12
	}
	return clock(at, hour), 3, nil
}
