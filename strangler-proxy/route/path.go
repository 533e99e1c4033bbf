package route

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// MaxPath bounds a request path, in bytes as sent.
const MaxPath = 8 << 10

// Canonical brings an escaped request path into the one form that is both
// routed and forwarded: escapes of unreserved characters decoded, the others
// in upper case, bytes that a path cannot hold escaped, dot segments resolved
// (no further up than the root), all of it once. It refuses what stacks read
// differently and nobody needs: NUL and other control bytes, backslashes, '#'
// and broken escapes.
func Canonical(path string) (string, error) {
	if len(path) > MaxPath {
		return "", fmt.Errorf("the path is longer than %d bytes", MaxPath)
	}
	if path == "" || path[0] != '/' {
		return "", errors.New("the path does not begin with /")
	}
	if plain(path) {
		return path, nil
	}
	decoded, err := normalizeEscapes(path)
	if err != nil {
		return "", err
	}
	return resolveDots(decoded), nil
}

// plain reports whether a path is canonical as it is: the usual case, which
// must cost one look at each byte.
func plain(path string) bool {
	for i := 0; i < len(path); i++ {
		c := path[i]
		switch {
		case c == '.' && path[i-1] == '/':
			return false
		case c == '/' || unreserved(c) || subDelimiter(c):
		default:
			return false
		}
	}
	return true
}

func normalizeEscapes(path string) (string, error) {
	var b strings.Builder
	b.Grow(len(path))
	for i := 0; i < len(path); i++ {
		c := path[i]
		switch {
		case c == '%':
			if i+2 >= len(path) || !isHex(path[i+1]) || !isHex(path[i+2]) {
				return "", fmt.Errorf("%q is a broken escape", path[i:min(i+3, len(path))])
			}
			d := unhex(path[i+1])<<4 | unhex(path[i+2])
			if d < 0x20 || d == 0x7f || d == '\\' {
				return "", fmt.Errorf("the escaped byte %%%02X is not allowed in a path", d)
			}
			if unreserved(d) {
				b.WriteByte(d)
			} else {
				fmt.Fprintf(&b, "%%%02X", d)
			}
			i += 2
		case c <= 0x20 || c == 0x7f || c == '\\' || c == '#' || c == '?':
			return "", fmt.Errorf("the byte %#02x is not allowed in a path", c)
		case c == '/' || unreserved(c) || subDelimiter(c):
			b.WriteByte(c)
		default:
			// Sent raw by careless clients; forwarded as the escape it means.
			fmt.Fprintf(&b, "%%%02X", c)
		}
	}
	return b.String(), nil
}

// resolveDots removes "." and ".." segments as RFC 3986, 5.2.4 does. Empty
// segments are kept: whether // means / is for the profile to say.
func resolveDots(path string) string {
	if !strings.Contains(path, "/.") {
		return path
	}
	segments := strings.Split(path[1:], "/")
	var out []string
	for i, s := range segments {
		last := i == len(segments)-1
		switch s {
		case ".":
			if last {
				out = append(out, "")
			}
		case "..":
			if len(out) > 0 {
				out = out[:len(out)-1]
			}
			if last {
				out = append(out, "")
			}
		default:
			out = append(out, s)
		}
	}
	return "/" + strings.Join(out, "/")
}

// readings returns a normal path and the others that some stack would take it
// for, where it is not known how the applications read it: escaped slashes
// decoded (unless keepSlashes says that they are part of their segment),
// parameters after ';' cut off, doubled slashes merged, in any order and
// combination. A request whose reading meets an owned route, while the path
// itself meets another or none, would slip past that route's owner.
func (t *Table) readings(path string, keepSlashes bool) []string {
	var ways []func(string) string
	p := t.profile
	if p.Parameters != Distinct {
		ways = append(ways, cutParameters)
	}
	if p.DoubleSlash != Distinct { // other readings may double slashes
		ways = append(ways, mergeSlashes)
	}
	if p.EncodedSlash == Refuse && !keepSlashes {
		ways = append(ways, decodeSlashes)
	}
	all := []string{path}
	for i := 0; i < len(all); i++ {
		for _, way := range ways {
			if next := resolveDots(way(all[i])); !slices.Contains(all, next) {
				all = append(all, next)
			}
		}
	}
	return all
}

// turned returns a path, of which it is not known how the applications read the
// end, without the slash at its end, or with one where that
// could meet a route; "" where there is no such path.
func (t *Table) turned(path string) string {
	switch {
	case path == "/" || t.profile.TrailingSlash != Refuse:
		return ""
	case path[len(path)-1] == '/':
		return bare(path)
	case t.slashed:
		return path + "/"
	}
	return ""
}

func decodeSlashes(path string) string { return strings.ReplaceAll(path, "%2F", "/") }

func cutParameters(path string) string {
	if !strings.Contains(path, ";") && !strings.Contains(path, "%3B") {
		return path
	}
	segments := strings.Split(strings.ReplaceAll(path, "%3B", ";"), "/")
	for i, s := range segments {
		segments[i], _, _ = strings.Cut(s, ";")
	}
	return strings.Join(segments, "/")
}

func mergeSlashes(path string) string {
	for strings.Contains(path, "//") {
		path = strings.ReplaceAll(path, "//", "/")
	}
	return path
}

func unreserved(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '-' || c == '.' || c == '_' || c == '~'
}

func subDelimiter(c byte) bool { return strings.IndexByte("!$&'()*+,;=:@", c) >= 0 }

func isHex(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c && c <= 'f' || 'A' <= c && c <= 'F'
}

func unhex(c byte) byte {
	switch {
	case c <= '9':
		return c - '0'
	case c >= 'a':
		return c - 'a' + 10
	}
	return c - 'A' + 10
}
