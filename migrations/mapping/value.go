// Package mapping says how a table of the monolith becomes a table of the
// service, and back. It is pure: values in, values out.
//
// Start at [Compile], which turns a declared [Spec] into a [Plan] or into every
// problem it has, and at [Table.Forward] and [Table.Inverse]. The value model
// here is the reference semantics of every transform; a database that pushes a
// transform down into SQL must agree with it.
//
// Only transforms that can be inverted are accepted, because a rollback needs
// the way back, unless the capability gives up rollback in so many words.
package mapping

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math"
	"math/big"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// Kind is the kind of a [Value].
type Kind uint8

// The kinds. Decimal is exact and kept as text; Float is binary.
const (
	KindNull Kind = iota
	KindBool
	KindInt
	KindDecimal
	KindFloat
	KindText
	KindBytes
	KindTime
)

// Value is one column's value in the canonical model. The zero Value is NULL.
type Value struct {
	kind Kind
	n    int64
	f    float64
	s    string // text, decimal digits, or bytes
	t    time.Time
}

// Null returns NULL.
func Null() Value { return Value{} }

// Bool returns a boolean.
func Bool(b bool) Value {
	v := Value{kind: KindBool}
	if b {
		v.n = 1
	}
	return v
}

// Int returns an integer.
func Int(n int64) Value { return Value{kind: KindInt, n: n} }

// Float returns a binary floating-point number.
func Float(f float64) Value { return Value{kind: KindFloat, f: f} }

// Text returns a text.
func Text(s string) Value { return Value{kind: KindText, s: s} }

// Bytes returns a byte string.
func Bytes(b []byte) Value { return Value{kind: KindBytes, s: string(b)} }

// Time returns an instant.
func Time(t time.Time) Value { return Value{kind: KindTime, t: t} }

// Dec returns an exact decimal from its digits, such as "-12.50".
func Dec(s string) (Value, error) {
	if _, err := parseDecimal(s); err != nil {
		return Value{}, err
	}
	return Value{kind: KindDecimal, s: s}, nil
}

// Kind returns the value's kind.
func (v Value) Kind() Kind { return v.kind }

// IsNull reports whether the value is NULL.
func (v Value) IsNull() bool { return v.kind == KindNull }

// Int64 returns an integer or boolean's number, else 0.
func (v Value) Int64() int64 { return v.n }

// Float64 returns a Float's number, else 0.
func (v Value) Float64() float64 { return v.f }

// Text returns a text's, decimal's or byte string's content, else "".
func (v Value) Text() string { return v.s }

// Instant returns a Time's instant.
func (v Value) Instant() time.Time { return v.t }

// String renders the value for people; a text is not quoted.
func (v Value) String() string {
	switch v.kind {
	case KindNull:
		return "NULL"
	case KindBool:
		return strconv.FormatBool(v.n != 0)
	case KindInt:
		return strconv.FormatInt(v.n, 10)
	case KindFloat:
		return formatFloat(v.f)
	case KindBytes:
		return fmt.Sprintf("%d bytes", len(v.s))
	case KindTime:
		return v.t.UTC().Format(time.RFC3339Nano)
	}
	return v.s
}

// formatFloat writes the infinities as SQL does.
func formatFloat(f float64) string {
	switch {
	case math.IsInf(f, 1):
		return "Infinity"
	case math.IsInf(f, -1):
		return "-Infinity"
	}
	return strconv.FormatFloat(f, 'f', -1, 64)
}

// numeric reports whether the value is a number, or a boolean, which most
// databases store as one.
func (v Value) numeric() bool {
	return v.kind == KindInt || v.kind == KindDecimal || v.kind == KindFloat || v.kind == KindBool
}

// Equal reports whether two values are the same. A number is compared by value,
// whatever the kinds, because databases store one column in several: 12, 12.0,
// the decimal 12.00 and the text 12.00 in a column of texts are equal, and so
// are true and 1. Two texts are equal letter for letter only.
func (v Value) Equal(o Value) bool {
	switch {
	case v.kind == KindInt && o.kind == KindInt:
		return v.n == o.n
	case v.numeric() || o.numeric():
		a, errA := v.number()
		b, errB := o.number()
		if errA != nil && errB != nil {
			return v.String() == o.String() // NaN and the infinities have no digits
		}
		return errA == nil && errB == nil && a.equal(b)
	case v.kind != o.kind:
		return false
	case v.kind == KindTime:
		return v.t.Equal(o.t)
	}
	return v.s == o.s
}

// number is Decimal that also takes booleans.
func (v Value) number() (Decimal, error) {
	if v.kind == KindBool {
		return Int(v.n).Decimal()
	}
	return v.Decimal()
}

// Decimal returns a number as an exact decimal. A Float is taken as the
// shortest decimal that reads back as it, which is what a person who wrote
// 19.99 into a REAL column meant.
func (v Value) Decimal() (Decimal, error) {
	switch v.kind {
	case KindInt:
		return Decimal{unscaled: big.NewInt(v.n)}, nil
	case KindFloat:
		return parseDecimal(strconv.FormatFloat(v.f, 'f', -1, 64))
	case KindDecimal, KindText:
		return parseDecimal(v.s)
	}
	return Decimal{}, fmt.Errorf("%s is not a number", v)
}

// Decimal is unscaled / 10^scale, exactly.
type Decimal struct {
	unscaled *big.Int
	scale    int
}

// maxDigits bounds a decimal, against a column full of nonsense.
const maxDigits = 1000

func parseDecimal(s string) (Decimal, error) {
	whole, frac, _ := strings.Cut(s, ".")
	digits := whole + frac
	if len(digits) == 0 || len(digits) > maxDigits || strings.ContainsAny(strings.TrimLeft(digits, "+-"), "+-_eExX") || strings.ContainsAny(frac, "+-") {
		return Decimal{}, fmt.Errorf("%q is not a decimal number", s)
	}
	n, ok := new(big.Int).SetString(digits, 10)
	if !ok {
		return Decimal{}, fmt.Errorf("%q is not a decimal number", s)
	}
	return Decimal{n, len(frac)}, nil
}

var ten = big.NewInt(10)

// rescale returns the unscaled number at another scale, if it is exact.
func (d Decimal) rescale(scale int) (*big.Int, bool) {
	n := new(big.Int).Set(d.unscaled)
	for s := d.scale; s < scale; s++ {
		n.Mul(n, ten)
	}
	rest := new(big.Int)
	for s := d.scale; s > scale; s-- {
		if n.QuoRem(n, ten, rest); rest.Sign() != 0 {
			return nil, false
		}
	}
	return n, true
}

func (d Decimal) equal(o Decimal) bool {
	scale := max(d.scale, o.scale)
	a, _ := d.rescale(scale)
	b, _ := o.rescale(scale)
	return a.Cmp(b) == 0
}

// Unscaled returns the number times 10^scale as an int64, if it is one.
func (d Decimal) Unscaled(scale int) (int64, bool) {
	n, ok := d.rescale(scale)
	if !ok || !n.IsInt64() {
		return 0, false
	}
	return n.Int64(), true
}

// FormatUnscaled writes n / 10^scale with exactly scale decimals.
func FormatUnscaled(n int64, scale int) string {
	s := strconv.FormatInt(n, 10)
	if scale <= 0 {
		return s
	}
	sign := ""
	if s[0] == '-' {
		sign, s = "-", s[1:]
	}
	if pad := scale + 1 - len(s); pad > 0 {
		s = strings.Repeat("0", pad) + s
	}
	return sign + s[:len(s)-scale] + "." + s[len(s)-scale:]
}

// EncodeKey writes key values as unambiguous text: a JSON list whose elements
// carry their kind where JSON does not.
func EncodeKey(key []Value) string {
	parts := make([]any, len(key))
	for i, v := range key {
		switch v.kind {
		case KindNull:
			parts[i] = nil
		case KindBool:
			parts[i] = v.n != 0
		case KindInt:
			parts[i] = json.Number(strconv.FormatInt(v.n, 10))
		case KindText:
			parts[i] = v.s
			if !utf8.ValidString(v.s) { // which JSON would replace
				parts[i] = map[string]string{"text": base64.StdEncoding.EncodeToString([]byte(v.s))}
			}
		case KindDecimal:
			parts[i] = map[string]string{"dec": v.s}
		case KindFloat:
			parts[i] = map[string]string{"float": strconv.FormatFloat(v.f, 'g', -1, 64)}
		case KindBytes:
			parts[i] = map[string]string{"bytes": base64.StdEncoding.EncodeToString([]byte(v.s))}
		case KindTime:
			parts[i] = map[string]string{"time": v.t.UTC().Format(time.RFC3339Nano)}
		}
	}
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(parts); err != nil {
		panic(err) // only the kinds above are encoded
	}
	return strings.TrimSpace(b.String())
}

// DecodeKey reads what EncodeKey wrote.
func DecodeKey(text string) ([]Value, error) {
	if !utf8.ValidString(text) {
		return nil, fmt.Errorf("key %q is not UTF-8, so it cannot be told from others: correct it in the database", text)
	}
	dec := json.NewDecoder(strings.NewReader(text))
	dec.UseNumber()
	var parts []any
	if err := dec.Decode(&parts); err != nil {
		return nil, fmt.Errorf("key %q: %w", text, err)
	}
	key := make([]Value, len(parts))
	for i, p := range parts {
		v, err := decodePart(p)
		if err != nil {
			return nil, fmt.Errorf("key %q: %w", text, err)
		}
		key[i] = v
	}
	return key, nil
}

func decodePart(p any) (Value, error) {
	switch p := p.(type) {
	case nil:
		return Null(), nil
	case bool:
		return Bool(p), nil
	case string:
		return Text(p), nil
	case json.Number:
		n, err := p.Int64()
		if err != nil {
			f, err := p.Float64()
			return Float(f), err
		}
		return Int(n), nil
	case map[string]any:
		for kind, raw := range p {
			s, _ := raw.(string)
			switch kind {
			case "dec":
				return Dec(s)
			case "float":
				f, err := strconv.ParseFloat(s, 64)
				return Float(f), err
			case "text":
				b, err := base64.StdEncoding.DecodeString(s)
				return Text(string(b)), err
			case "bytes":
				b, err := base64.StdEncoding.DecodeString(s)
				return Bytes(b), err
			case "time":
				t, err := time.Parse(time.RFC3339Nano, s)
				return Time(t), err
			}
		}
	}
	return Value{}, fmt.Errorf("%v is not a key value", p)
}
