package http1

import (
	"net/netip"
	"strings"
)

// kind says what a field is about.
type kind uint8

const (
	plain   kind = iota
	hop          // about this connection alone, and not passed on
	framing      // how the body is framed
)

// Bits of the table of bytes.
const (
	inName  = 1 << iota // may stand in a field's name or a method
	inValue             // may stand in a value
	inHost              // may stand in a host and port
)

// classes says where each byte may stand: RFC 9110, 5.1 and 5.5; RFC 3986,
// 3.2.2.
var classes = makeClasses()

func makeClasses() (t [256]uint8) {
	mark := func(bit uint8, set string) {
		for i := range len(set) {
			t[set[i]] |= bit
		}
	}
	const letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
	mark(inName|inHost, letters)
	mark(inName, "!#$%&'*+-.^_`|~")
	mark(inHost, "-._~!$&'()*+,;=:[]%")
	for c := 0x20; c < 256; c++ {
		if c != 0x7f {
			t[c] |= inValue
		}
	}
	t['\t'] |= inValue
	return t
}

// all reports whether every byte of a text is of a class.
func all(text string, class uint8) bool {
	for i := 0; i < len(text); i++ {
		if classes[text[i]]&class == 0 {
			return false
		}
	}
	return true
}

func lower(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		return c | 0x20
	}
	return c
}

// SameName reports whether two names of fields, or other words of the
// protocol, are the same whatever their case.
func SameName(a, b string) bool {
	return len(a) == len(b) && HasPrefix(a, b)
}

// HasPrefix reports whether a word begins with another whatever their case.
func HasPrefix(text, prefix string) bool {
	if len(text) < len(prefix) {
		return false
	}
	for i := 0; i < len(prefix); i++ {
		if text[i] != prefix[i] && lower(text[i]) != lower(prefix[i]) {
			return false
		}
	}
	return true
}

// SpellsLike reports whether a name is another one to CGI and its heirs, which
// read _ in a name as -; see [SameName].
func SpellsLike(a, b string) bool { return len(a) == len(b) && BeginsLike(a, b) }

// BeginsLike reports whether a name begins with another one to such a reader.
func BeginsLike(name, prefix string) bool {
	if len(name) < len(prefix) {
		return false
	}
	for i := 0; i < len(prefix); i++ {
		if c := name[i]; c != prefix[i] && lower(c) != lower(prefix[i]) && !(c == '_' && prefix[i] == '-') {
			return false
		}
	}
	return true
}

// trim takes the blanks off both ends.
func trim(text string) string {
	for len(text) > 0 && blank(text[0]) {
		text = text[1:]
	}
	for len(text) > 0 && blank(text[len(text)-1]) {
		text = text[:len(text)-1]
	}
	return text
}

func blank(c byte) bool { return c == ' ' || c == '\t' }

// words calls f with each element of a list such as Connection's.
func words(list string, f func(word string) error) error {
	for list != "" {
		word := list
		if i := comma(list); i >= 0 {
			word, list = list[:i], list[i+1:]
		} else {
			list = ""
		}
		if word = trim(word); word != "" {
			if err := f(word); err != nil {
				return err
			}
		}
	}
	return nil
}

func comma(text string) int {
	for i := 0; i < len(text); i++ {
		if text[i] == ',' {
			return i
		}
	}
	return -1
}

// get returns the first value of a field.
func get(fields []Field, name string) string {
	for i := range fields {
		if SameName(fields[i].Name, name) {
			return fields[i].Value
		}
	}
	return ""
}

// PerHop reports whether a field is about one connection alone (RFC 9110,
// 7.6.1), or is taken by some backends for one that it is not: Proxy, of which
// CGI makes HTTP_PROXY, and other spellings of what frames a body.
func PerHop(name string) bool {
	switch len(name) {
	case 2:
		return SameName(name, "TE")
	case 5:
		return SameName(name, "Proxy")
	case 7:
		return SameName(name, "Upgrade")
	case 10:
		return SameName(name, "Connection") || SpellsLike(name, "Keep-Alive")
	case 14:
		return SpellsLike(name, "HTTP2-Settings") || misspells(name, "Content-Length")
	case 16:
		return SpellsLike(name, "Proxy-Connection")
	case 17:
		return misspells(name, "Transfer-Encoding")
	case 18:
		return SpellsLike(name, "Proxy-Authenticate")
	case 19:
		return SpellsLike(name, "Proxy-Authorization")
	case 25:
		return SpellsLike(name, "Proxy-Authentication-Info")
	}
	return false
}

func misspells(name, meant string) bool { return SpellsLike(name, meant) && !SameName(name, meant) }

// isHost reports whether a text is a name or an address, and perhaps a port:
// RFC 3986, 3.2.2 and 3.2.3.
func isHost(text string) bool {
	if text == "" || !all(text, inHost) {
		return false
	}
	name, rest := text, ""
	if text[0] == '[' {
		end := strings.IndexByte(text, ']')
		if end < 0 {
			return false
		}
		if address, err := netip.ParseAddr(text[1:end]); err != nil || !address.Is6() {
			return false
		}
		rest = text[end+1:]
	} else {
		if colon := strings.IndexByte(text, ':'); colon >= 0 {
			name, rest = text[:colon], text[colon:]
		}
		if name == "" || strings.ContainsAny(name, "[]") {
			return false
		}
	}
	return rest == "" || rest[0] == ':' && isPort(rest[1:])
}

// isPort reports whether a text is the number of a port, or nothing.
func isPort(text string) bool {
	if text == "" {
		return true
	}
	n, ok := length(text)
	return ok && len(text) <= 5 && n <= 65535
}

// significant takes the zeros off the front of a length, which some would take
// for the mark of an octal number.
func significant(digits string) string {
	for len(digits) > 1 && digits[0] == '0' {
		digits = digits[1:]
	}
	return digits
}

// length reads a Content-Length: digits and nothing else, at most 18 of them.
func length(text string) (n int64, ok bool) {
	if text == "" || len(text) > 18 {
		return 0, false
	}
	for i := 0; i < len(text); i++ {
		if text[i] < '0' || text[i] > '9' {
			return 0, false
		}
		n = n*10 + int64(text[i]-'0')
	}
	return n, true
}
