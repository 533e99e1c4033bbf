package match

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/netip"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"
)

// Format is a form that identifiers, moments and other generated texts have.
type Format string

// The formats, the narrowest first.
const (
	UUID    Format = "uuid"    // RFC 9562, in its form with dashes, of any version
	ULID    Format = "ulid"    // 26 characters of Crockford's base 32, upper case
	RFC3339 Format = "rfc3339" // a moment with its offset; fractions of a second are free
	Day     Format = "date"    // yyyy-MM-dd
	Clock   Format = "time"    // HH:mm:ss; fractions of a second are free
	JWT     Format = "jwt"     // three parts of base64url, of which the first is a JSON object
	Address Format = "ip"      // an IPv4 or IPv6 address
	Mail    Format = "email"   // a bare address
	Link    Format = "url"     // an absolute URL with a host
	Version Format = "semver"  // a semantic version
	Whole   Format = "integer" // an integer in decimal digits
	Numeral Format = "number"  // any number that JSON could write
	Hex     Format = "hex"     // 8 hexadecimal digits or more
	Base64  Format = "base64"  // 16 characters or more, of either alphabet, padded or not
)

// Formats lists every format there is, the narrowest first.
func Formats() []Format {
	return []Format{UUID, ULID, RFC3339, Day, Clock, JWT, Address, Mail, Link, Version, Whole, Numeral, Hex, Base64}
}

// FormatsOf returns the formats that a text has, the narrowest first.
func FormatsOf(text string) []Format {
	var all []Format
	for _, f := range Formats() {
		if f.Has(text) {
			all = append(all, f)
		}
	}
	return all
}

var (
	uuidForm   = regexp.MustCompile(`^[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$`)
	ulidForm   = regexp.MustCompile(`^[0-7][0-9A-HJKMNP-TV-Z]{25}$`)
	wholeForm  = regexp.MustCompile(`^-?(?:0|[1-9][0-9]*)$`)
	numberForm = regexp.MustCompile(`^-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?$`)
	mailForm   = regexp.MustCompile(`^[^@\s<>",;]+@[^@\s<>",;]+\.[^@\s<>",;]+$`)
	hexForm    = regexp.MustCompile(`^[0-9a-fA-F]{8,}$`)
	base64Form = regexp.MustCompile(`^(?:[A-Za-z0-9+/]{16,}|[A-Za-z0-9_-]{16,})={0,2}$`)
)

// longestFormatted bounds what is looked at: a longer text has no format.
const longestFormatted = 16 << 10

// Has reports whether a text is written in the format.
func (f Format) Has(text string) bool {
	if text == "" || len(text) > longestFormatted {
		return false
	}
	switch f {
	case UUID:
		return uuidForm.MatchString(text)
	case ULID:
		return ulidForm.MatchString(text)
	case RFC3339:
		return readsAs(time.RFC3339Nano, text)
	case Day:
		return readsAs(time.DateOnly, text)
	case Clock:
		return readsAs(time.TimeOnly, text)
	case JWT:
		return isToken(text)
	case Address:
		_, err := netip.ParseAddr(text)
		return err == nil
	case Mail:
		return mailForm.MatchString(text)
	case Link:
		u, err := url.Parse(text)
		return err == nil && u.Scheme != "" && u.Host != ""
	case Version:
		return semver.MatchString(text)
	case Whole:
		return wholeForm.MatchString(text)
	case Numeral:
		return numberForm.MatchString(text)
	case Hex:
		return hexForm.MatchString(text)
	case Base64:
		return base64Form.MatchString(text) && len(strings.TrimRight(text, "="))%4 != 1
	}
	return false
}

func readsAs(layout, text string) bool {
	_, err := time.Parse(layout, text)
	return err == nil
}

// isToken tells a JWT by its header; the signature may be empty.
func isToken(text string) bool {
	parts := strings.Split(text, ".")
	if len(parts) != 3 || parts[1] == "" {
		return false
	}
	for _, p := range parts[1:] {
		if _, err := base64.RawURLEncoding.DecodeString(p); err != nil {
			return false
		}
	}
	header, err := base64.RawURLEncoding.DecodeString(parts[0])
	var object map[string]any
	return err == nil && json.Unmarshal(header, &object) == nil && object != nil
}

func checkFormats(m Matcher) error {
	if len(m.Formats) == 0 {
		return fmt.Errorf("matcher oneOfFormats: needs formats (accepted: %s)", joinFormats(Formats()))
	}
	for _, f := range m.Formats {
		if !slices.Contains(Formats(), f) {
			return fmt.Errorf("matcher oneOfFormats: unknown format %q (accepted: %s)", f, joinFormats(Formats()))
		}
	}
	return nil
}

func joinFormats(list []Format) string {
	var names []string
	for _, f := range list {
		names = append(names, string(f))
	}
	return strings.Join(names, ", ")
}
