package mapping

import (
	"fmt"
	"sort"
	"strconv"
	"strings"
	"time"
)

// transform turns a column's value into the other side's and back. NULL stays
// NULL without asking it.
type transform interface {
	there(Value) (Value, error)
	back(Value) (Value, error)
	describe() string
}

// rename changes nothing but the column's name.
type rename struct{}

func (rename) there(v Value) (Value, error) { return v, nil }
func (rename) back(v Value) (Value, error)  { return v, nil }
func (rename) describe() string             { return "rename" }

// scale turns a decimal into a count of its smallest unit.
type scale struct{ digits int }

func (s scale) there(v Value) (Value, error) {
	d, err := v.Decimal()
	if err != nil {
		return Value{}, err
	}
	n, ok := d.Unscaled(s.digits)
	if !ok {
		return Value{}, fmt.Errorf("%s has more than %d decimals or is too large", v, s.digits)
	}
	return Int(n), nil
}

func (s scale) back(v Value) (Value, error) {
	if v.kind != KindInt {
		return Value{}, fmt.Errorf("%s is not an integer", v)
	}
	return Value{kind: KindDecimal, s: FormatUnscaled(v.n, s.digits)}, nil
}

func (s scale) describe() string { return "scale " + strconv.Itoa(s.digits) }

// enum gives values names.
type enum struct {
	integers bool // the values are integers, not texts
	names    map[string]string
	values   map[string]string
}

func (e enum) there(v Value) (Value, error) {
	if v.kind != KindInt && v.kind != KindText && v.kind != KindBool {
		return Value{}, fmt.Errorf("%s is not a listed value (%s)", v, e.describe())
	}
	name, ok := e.names[v.String()]
	if !ok {
		return Value{}, fmt.Errorf("%s is not a listed value (%s)", v, e.describe())
	}
	return Text(name), nil
}

func (e enum) back(v Value) (Value, error) {
	value, ok := e.values[v.String()]
	if !ok {
		return Value{}, fmt.Errorf("%s is not a listed name (%s)", v, e.describe())
	}
	if e.integers {
		n, err := strconv.ParseInt(value, 10, 64)
		return Int(n), err
	}
	return Text(value), nil
}

func (e enum) describe() string {
	pairs := make([]string, 0, len(e.names))
	for value, name := range e.names {
		pairs = append(pairs, value+": "+name)
	}
	sort.Strings(pairs)
	return "enum " + strings.Join(pairs, ", ")
}

// constant is a column that only the service has.
type constant struct{ value Value }

func (c constant) there(Value) (Value, error) { return c.value, nil }
func (c constant) back(Value) (Value, error)  { return Null(), nil }
func (c constant) describe() string           { return "constant " + c.value.String() }

// cast changes how a value is stored, and refuses values that would come back
// as another one.
type cast struct{ to string }

func (c cast) there(v Value) (Value, error) { return castTo(v, c.to) }

// back lets the monolith's column decide how it stores the value: an integer
// there that was cast to text here comes back as text of the same digits, which
// is the same value to a column with a number's affinity.
func (c cast) back(v Value) (Value, error) {
	switch {
	case c.to == "text" && v.kind == KindText:
		if n, err := strconv.ParseInt(v.s, 10, 64); err == nil && strconv.FormatInt(n, 10) == v.s {
			return Int(n), nil
		}
		if d, err := Dec(v.s); err == nil {
			return d, nil
		}
	case c.to == "bool" && v.kind == KindBool:
		return Int(v.n), nil
	case c.to == "int":
		return Text(v.String()), nil
	}
	return v, nil
}

func (c cast) describe() string { return "cast " + c.to }

func castTo(v Value, to string) (Value, error) {
	switch to {
	case "text":
		if v.kind == KindInt || v.kind == KindText || v.kind == KindDecimal {
			return Text(v.String()), nil
		}
	case "int":
		if n, err := strconv.ParseInt(v.String(), 10, 64); err == nil && strconv.FormatInt(n, 10) == v.String() {
			return Int(n), nil
		}
	case "bool":
		if s := v.String(); s == "0" || s == "1" || v.kind == KindBool {
			return Bool(s == "1" || s == "true"), nil
		}
	case "decimal":
		if d, err := v.Decimal(); err == nil {
			return Value{kind: KindDecimal, s: FormatDecimal(d)}, nil
		}
	case "float":
		if f, err := strconv.ParseFloat(v.String(), 64); err == nil && v.Equal(Float(f)) {
			return Float(f), nil
		}
	}
	return Value{}, fmt.Errorf("%s cannot be cast to %s without changing it", v, to)
}

// FormatDecimal writes a decimal with the scale it has.
func FormatDecimal(d Decimal) string {
	s := d.unscaled.String()
	if d.scale == 0 {
		return s
	}
	sign := ""
	if s[0] == '-' {
		sign, s = "-", s[1:]
	}
	if pad := d.scale + 1 - len(s); pad > 0 {
		s = strings.Repeat("0", pad) + s
	}
	return sign + s[:len(s)-d.scale] + "." + s[len(s)-d.scale:]
}

// utcLayout is how the service stores an instant as text; a fraction of a
// second follows the seconds where there is one.
const utcLayout = "2006-01-02T15:04:05Z"

// zoned turns a local text into UTC and back.
//
// A zone's clocks go back once a year, and then an hour of local texts names
// two instants each. Going there, the earlier one is taken. Going back, both
// give the same text, so an instant of that hour that the service wrote may
// come forward again an hour early; and a text of the hour that the clocks
// skip in spring names no instant at all and is refused.
type zoned struct {
	layout string
	loc    *time.Location
	fixed  bool // the layout is the common fixed one, read without time.Parse
}

const sqlLayout = "2006-01-02 15:04:05"

func newZoned(layout string, loc *time.Location) zoned {
	return zoned{layout: layout, loc: loc, fixed: layout == sqlLayout}
}

func (z zoned) there(v Value) (Value, error) {
	var local time.Time
	switch v.kind {
	case KindText:
		var err error
		if local, err = z.parse(v.s); err != nil {
			return Value{}, fmt.Errorf("%q is not a time like %q", v.s, z.layout)
		}
		if z.format(local.In(z.loc)) != v.s {
			return Value{}, fmt.Errorf("%q does not exist in %s: the clocks skip it, or it is written otherwise there", v.s, z.loc)
		}
	case KindTime:
		local = v.t
	default:
		return Value{}, fmt.Errorf("%s is not a time like %q", v, z.layout)
	}
	text, ok := utcText(local.UTC())
	if !ok {
		return Value{}, fmt.Errorf("%s is not a time like %q that is within the years 0000 to 9999 in UTC", v, z.layout)
	}
	return Text(text), nil
}

func (z zoned) back(v Value) (Value, error) {
	t := v.t
	if v.kind != KindTime {
		var err error
		if t, err = parseUTC(v.s); err != nil {
			return Value{}, fmt.Errorf("%q is not a time like %q", v, utcLayout)
		}
	}
	text, ok := z.local(t)
	if !ok {
		return Value{}, fmt.Errorf("%s cannot be written as a time like %q in %s without losing something", v, z.layout, z.loc)
	}
	return Text(text), nil
}

// local writes an instant in the zone, and reports whether the layout holds all
// of it: its fraction, its century, and a year of four digits.
func (z zoned) local(t time.Time) (string, bool) {
	there := t.In(z.loc)
	text := z.format(there)
	if !fourDigits(there.Year()) {
		return "", false
	}
	if z.fixed {
		return text, t.Nanosecond() == 0
	}
	again, err := z.parse(text)
	return text, err == nil && again.Nanosecond() == t.Nanosecond() && t.Sub(again).Abs() < 24*time.Hour
}

func (z zoned) describe() string { return "time " + z.layout + " " + z.loc.String() }

func (z zoned) parse(s string) (t time.Time, err error) {
	if z.fixed {
		t, err = parseFixed(s, ' ', false, z.loc)
	} else {
		t, err = time.ParseInLocation(z.layout, s, z.loc)
	}
	// A layout with an offset tells the two apart by itself.
	if first := earlier(t); err == nil && z.format(first) == s {
		return first, nil
	}
	return t, err
}

// earlier returns the earlier one of two instants that read the same because
// the clocks were put back between them.
func earlier(t time.Time) time.Time {
	start, _ := t.ZoneBounds()
	if start.IsZero() {
		return t
	}
	_, after := t.Zone()
	_, before := start.Add(-time.Second).Zone()
	if back := time.Duration(before-after) * time.Second; t.Sub(start) < back {
		return t.Add(-back)
	}
	return t
}

func (z zoned) format(t time.Time) string {
	if z.fixed {
		return string(appendFixed(make([]byte, 0, 20), t, ' ', false))
	}
	return t.Format(z.layout)
}

// parseFixed reads "2006-01-02?15:04:05" with or without a Z, ten times as fast
// as time.Parse: a copy spends most of its time in columns like this.
func parseFixed(s string, sep byte, z bool, loc *time.Location) (time.Time, error) {
	want := 19
	if z {
		want = 20
	}
	if len(s) != want || s[4] != '-' || s[7] != '-' || s[10] != sep || s[13] != ':' || s[16] != ':' || (z && s[19] != 'Z') {
		return time.Time{}, errLayout
	}
	var n [6]int
	for i, at := range [6][2]int{{0, 4}, {5, 7}, {8, 10}, {11, 13}, {14, 16}, {17, 19}} {
		for _, c := range []byte(s[at[0]:at[1]]) {
			if c < '0' || c > '9' {
				return time.Time{}, errLayout
			}
			n[i] = n[i]*10 + int(c-'0')
		}
	}
	if n[1] < 1 || n[1] > 12 || n[2] < 1 || n[2] > 31 || n[3] > 23 || n[4] > 59 || n[5] > 59 {
		return time.Time{}, errLayout
	}
	t := time.Date(n[0], time.Month(n[1]), n[2], n[3], n[4], n[5], 0, loc)
	if n[2] > 28 && t.Day() != n[2] && n[3] > 3 {
		return time.Time{}, errLayout // the 31st of a month that has 30
	}
	return t, nil
}

// utcText writes an instant as the service stores it, with a fraction only
// where there is one; false where the year has not four digits.
func utcText(t time.Time) (string, bool) {
	if t.Nanosecond() != 0 {
		return t.Format("2006-01-02T15:04:05.999999999Z"), fourDigits(t.Year())
	}
	return string(appendFixed(make([]byte, 0, 20), t, 'T', true)), fourDigits(t.Year())
}

// parseUTC reads what utcText wrote, and nothing else.
func parseUTC(s string) (time.Time, error) {
	t, err := parseFixed(s, 'T', true, time.UTC)
	if err != nil {
		if t, err = time.Parse(utcLayout, s); err != nil {
			return t, err
		}
	}
	if text, ok := utcText(t); !ok || text != s {
		return t, errLayout
	}
	return t, nil
}

func fourDigits(year int) bool { return year >= 0 && year <= 9999 }

var errLayout = fmt.Errorf("not in the fixed layout")

func appendFixed(b []byte, t time.Time, sep byte, z bool) []byte {
	year, month, day := t.Date()
	hour, minute, second := t.Clock()
	b = append(b, byte('0'+year/1000%10), byte('0'+year/100%10))
	b = append(two(b, year%100), '-')
	b = append(two(b, int(month)), '-')
	b = append(two(b, day), sep)
	b = append(two(b, hour), ':')
	b = append(two(b, minute), ':')
	b = two(b, second)
	if z {
		b = append(b, 'Z')
	}
	return b
}

func two(b []byte, n int) []byte { return append(b, byte('0'+n/10), byte('0'+n%10)) }

// Zoned returns a column that only has a time transform, for a database that
// calls it from SQL.
func Zoned(layout, zone string) (Column, error) {
	loc, err := time.LoadLocation(zone)
	if err != nil {
		return Column{}, err
	}
	return Column{transform: newZoned(layout, loc)}, nil
}
