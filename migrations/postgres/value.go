package postgres

import (
	"encoding/hex"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgtype"

	"stranglerfig/migrations/mapping"
)

// kinds says which of PostgreSQL's own types can be moved, and as what. What is
// made of them can be moved too, as a text: arrays, enumerations, ranges,
// composites, and domains as what they are over. So can the types of extensions,
// whose text form a dump relies on as well. Types that are missing here mean
// something else elsewhere: an amount of money depends on a setting, an object
// identifier on the database.
//
// Times are texts, because that is what the mapping's reference semantics
// compare: an instant is written as 2006-01-02T15:04:05.999999Z, everything
// else in PostgreSQL's own ISO spelling.
var kinds = map[uint32]mapping.Kind{
	pgtype.BoolOID:        mapping.KindBool,
	pgtype.Int2OID:        mapping.KindInt,
	pgtype.Int4OID:        mapping.KindInt,
	pgtype.Int8OID:        mapping.KindInt,
	pgtype.NumericOID:     mapping.KindDecimal,
	pgtype.Float4OID:      mapping.KindFloat,
	pgtype.Float8OID:      mapping.KindFloat,
	pgtype.ByteaOID:       mapping.KindBytes,
	pgtype.TextOID:        mapping.KindText,
	pgtype.VarcharOID:     mapping.KindText,
	pgtype.BPCharOID:      mapping.KindText,
	pgtype.UUIDOID:        mapping.KindText,
	pgtype.JSONOID:        mapping.KindText,
	pgtype.JSONBOID:       mapping.KindText,
	pgtype.JSONPathOID:    mapping.KindText,
	pgtype.XMLOID:         mapping.KindText,
	pgtype.DateOID:        mapping.KindText,
	pgtype.TimeOID:        mapping.KindText,
	pgtype.TimetzOID:      mapping.KindText,
	pgtype.TimestampOID:   mapping.KindText,
	pgtype.TimestamptzOID: mapping.KindText,
	pgtype.IntervalOID:    mapping.KindText,
	pgtype.BitOID:         mapping.KindText,
	pgtype.VarbitOID:      mapping.KindText,
	pgtype.InetOID:        mapping.KindText,
	pgtype.CIDROID:        mapping.KindText,
	pgtype.MacaddrOID:     mapping.KindText,
	pgtype.Macaddr8OID:    mapping.KindText,
	pgtype.TSVectorOID:    mapping.KindText,
	tsqueryOID:            mapping.KindText,
	pgtype.PointOID:       mapping.KindText,
	pgtype.LineOID:        mapping.KindText,
	pgtype.LsegOID:        mapping.KindText,
	pgtype.BoxOID:         mapping.KindText,
	pgtype.PathOID:        mapping.KindText,
	pgtype.PolygonOID:     mapping.KindText,
	pgtype.CircleOID:      mapping.KindText,
}

// tsqueryOID is one that pgtype does not name.
const tsqueryOID = 3615

// kindOf returns the kind of a type's values; a type that is not listed is a
// text, since preflight refuses what cannot be one.
func kindOf(oid uint32) mapping.Kind {
	if kind, ok := kinds[oid]; ok {
		return kind
	}
	return mapping.KindText
}

// settings make the server write values the way decode reads them and read what
// is written here the way it is meant, whatever its own defaults, those of the
// database or of the role are.
var settings = map[string]string{
	"datestyle":          "ISO, YMD",
	"intervalstyle":      "postgres",
	"timezone":           "UTC",
	"extra_float_digits": "1",
	"bytea_output":       "hex",
	"client_encoding":    "UTF8",
	"xmlbinary":          "base64",

	"standard_conforming_strings": "on",
	"array_nulls":                 "on",
	"xmloption":                   "content",

	// A copy, the build of an index and a fence have bounds of their own.
	"statement_timeout":                   "0",
	"lock_timeout":                        "0",
	"idle_in_transaction_session_timeout": "0",
	"default_transaction_isolation":       "read committed",
	"default_transaction_read_only":       "off",
	"default_transaction_deferrable":      "off",
	// What is built again is where it was before.
	"default_tablespace": "",
	// Rows that a policy hides are an error, and not left out.
	"row_security": "off",
}

// decode reads a value of a type from PostgreSQL's text format; nil is NULL.
func decode(oid uint32, text []byte) (mapping.Value, error) {
	if text == nil {
		return mapping.Null(), nil
	}
	s := string(text)
	switch kindOf(oid) {
	case mapping.KindBool:
		return mapping.Bool(s == "t"), nil
	case mapping.KindInt:
		n, err := strconv.ParseInt(s, 10, 64)
		return mapping.Int(n), err
	case mapping.KindFloat:
		f, err := strconv.ParseFloat(s, 64)
		if math.IsNaN(f) {
			return mapping.Text(s), err // other databases would store NULL
		}
		return mapping.Float(f), err
	case mapping.KindDecimal:
		if v, err := mapping.Dec(s); err == nil {
			return v, nil
		}
		return mapping.Text(s), nil // NaN, an infinity, or digits without end
	case mapping.KindBytes:
		b, err := hex.DecodeString(strings.TrimPrefix(s, `\x`))
		return mapping.Bytes(b), err
	}
	switch oid {
	case pgtype.TimestamptzOID:
		s = instant(s)
	case pgtype.BPCharOID:
		s = strings.TrimRight(s, " ") // padding, which says only how wide the column is
	}
	return mapping.Text(s), nil
}

// instant rewrites "2006-01-02 15:04:05.5+00" with a T and a Z. Infinities and
// years before Christ have no such spelling and stay as they are.
func instant(s string) string {
	day, clock, ok := strings.Cut(s, " ")
	clock, utc := strings.CutSuffix(clock, "+00")
	if !ok || !utc {
		return s
	}
	return day + "T" + clock + "Z"
}

// encode writes a value as a text that PostgreSQL reads into any type that can
// hold it.
func encode(v mapping.Value) string {
	switch v.Kind() {
	case mapping.KindBool, mapping.KindInt:
		return strconv.FormatInt(v.Int64(), 10)
	case mapping.KindFloat:
		return encodeFloat(v.Float64())
	case mapping.KindBytes:
		return `\x` + hex.EncodeToString([]byte(v.Text()))
	case mapping.KindTime:
		return v.Instant().UTC().Format(time.RFC3339Nano)
	}
	return v.Text()
}

// encodeFloat spells infinities as PostgreSQL does.
func encodeFloat(f float64) string {
	switch {
	case math.IsInf(f, 1):
		return "Infinity"
	case math.IsInf(f, -1):
		return "-Infinity"
	}
	return strconv.FormatFloat(f, 'g', -1, 64)
}

// encodeFor writes a value for a column of a type. Only numbers and booleans
// are written differently from one type to another: other databases keep a
// boolean as a number, and a whole number as a floating one.
func encodeFor(oid uint32, v mapping.Value) string {
	switch v.Kind() {
	case mapping.KindInt:
		if oid == pgtype.BoolOID && (v.Int64() == 0 || v.Int64() == 1) {
			return strconv.FormatBool(v.Int64() == 1)
		}
	case mapping.KindFloat:
		if f := v.Float64(); kindOf(oid) == mapping.KindInt && f == math.Trunc(f) && math.Abs(f) < 1<<53 {
			return strconv.FormatInt(int64(f), 10)
		}
	case mapping.KindBool:
		if oid == pgtype.BoolOID || kindOf(oid) == mapping.KindText {
			return strconv.FormatBool(v.Int64() != 0)
		}
	}
	return encode(v)
}

// array writes one column of rows as an array literal, which travels as a
// single parameter however many rows there are.
func array(oid uint32, rows [][]mapping.Value, column int) string {
	var b strings.Builder
	b.WriteByte('{')
	for i, row := range rows {
		if i > 0 {
			b.WriteByte(',')
		}
		if row[column].IsNull() {
			b.WriteString("NULL")
			continue
		}
		b.WriteByte('"')
		escape.WriteString(&b, encodeFor(oid, row[column]))
		b.WriteByte('"')
	}
	b.WriteByte('}')
	return b.String()
}

var escape = strings.NewReplacer(`\`, `\\`, `"`, `\"`)

// valueError names the column whose value cannot be moved.
func valueError(table, column string, err error) error {
	return fmt.Errorf("table %s, column %s: %w: leave the column out of the mapping or correct the value", table, column, err)
}
