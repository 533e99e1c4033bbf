package tape

import (
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"maps"
	"net/url"
	"slices"
	"strings"
	"unicode"

	"stranglerfig/contract-tests/match"
)

// Redactor replaces secrets and personal data by pseudonyms. It is safe for
// concurrent use.
type Redactor struct {
	key   []byte
	extra []string
	paths []match.Path
}

// NewRedactor returns a redactor whose pseudonyms are made with key; the same
// key gives the same pseudonyms. Extra names further fields and headers that
// hold secrets; case and separators do not matter.
func NewRedactor(key []byte, extra []string) *Redactor {
	r := &Redactor{key: bytes.Clone(key)}
	for _, name := range extra {
		if path, err := match.ParsePath(name); err == nil && len(path) > 0 {
			r.paths = append(r.paths, path)
			continue
		}
		if name = separators.Replace(strings.ToLower(name)); name != "" {
			r.extra = append(r.extra, name)
		}
	}
	return r
}

// Redact returns the exchange without its secrets, and with the list of what
// was replaced. The exchange given is left as it is.
func (r *Redactor) Redact(e Exchange) Exchange {
	s := &session{Redactor: r, truncated: e.Truncated, seen: map[string]bool{}}
	for _, place := range e.Redacted {
		s.seen[place] = true
	}
	e.Request.Path = s.path("request.path", e.Request.Path)
	e.Request.Query = s.form("request.query", e.Request.Query)
	e.Request.Body, e.Request.Header = s.body("request.body", e.Request.Body, e.Request.Header)
	e.Request.Header = s.header("request.header", e.Request.Header)
	e.Response.Body, e.Response.Header = s.body("response.body", e.Response.Body, e.Response.Header)
	e.Response.Header = s.header("response.header", e.Response.Header)
	e.Redacted = slices.Sorted(maps.Keys(s.seen))
	return e
}

// session is the redaction of one exchange.
type session struct {
	*Redactor
	truncated bool
	seen      map[string]bool
}

func (s *session) note(place string) { s.seen[place] = true }

// scan replaces what looks like a secret and notes the place.
func (s *session) scan(place, text string) string {
	clean, changed := s.values(text)
	if changed {
		s.note(place)
	}
	return clean
}

// field replaces a value by its name, or else by its look.
func (s *session) field(place, name, value string) string {
	if !s.secretName(name) {
		return s.scan(place, value)
	}
	clean := s.secret(value)
	if clean != value {
		s.note(place)
	}
	return clean
}

// secret replaces a value known to be one; mail addresses stay addresses.
func (s *session) secret(value string) string {
	if mail.FindString(value) == value {
		return s.mail(value)
	}
	return s.pseudonym(value)
}

func (s *session) header(place string, header map[string][]string) map[string][]string {
	clean := make(map[string][]string, len(header))
	for name, values := range header {
		for _, value := range values {
			clean[name] = append(clean[name], s.headerValue(place+"."+name, name, value))
		}
	}
	return clean
}

func (s *session) headerValue(place, name, value string) string {
	secret := func(h string) bool { return strings.EqualFold(h, name) }
	switch {
	case strings.EqualFold(name, "Cookie"):
		s.note(place)
		return s.cookies(value)
	case strings.EqualFold(name, "Set-Cookie"):
		s.note(place)
		first, attributes, more := strings.Cut(value, ";")
		if more {
			attributes = ";" + attributes
		}
		return s.cookies(first) + attributes
	case slices.ContainsFunc(secretHeaders, secret) || s.secretName(name):
		s.note(place)
		if scheme, token, ok := strings.Cut(value, " "); ok && strings.HasSuffix(strings.ToLower(name), "authorization") {
			return scheme + " " + s.pseudonym(token)
		}
		return s.pseudonym(value)
	}
	// Referer and Location carry queries, and those fields with names.
	if before, query, ok := strings.Cut(value, "?"); ok && strings.Contains(query, "=") {
		return s.scan(place, before) + "?" + s.form(place, query)
	}
	return s.scan(place, value)
}

// cookies keeps the names, which tell how a client is logged in.
func (s *session) cookies(value string) string {
	parts := strings.Split(value, ";")
	for i, part := range parts {
		name, secret, ok := strings.Cut(strings.TrimSpace(part), "=")
		if !ok {
			parts[i] = s.pseudonym(strings.TrimSpace(part))
			continue
		}
		parts[i] = name + "=" + s.pseudonym(secret)
	}
	return strings.Join(parts, "; ")
}

// path looks into each segment, decoded.
func (s *session) path(place, path string) string {
	segments := strings.Split(path, "/")
	for i, segment := range segments {
		plain, err := url.PathUnescape(segment)
		if err != nil {
			segments[i] = s.scan(place, segment)
			continue
		}
		clean := s.scan(place, plain)
		if i > 0 && s.secretName(segments[i-1]) && random(plain) {
			clean = s.secret(plain)
			s.note(place)
		}
		if clean != plain {
			segments[i] = url.PathEscape(clean)
		}
	}
	return strings.Join(segments, "/")
}

// random reports whether a path's segment looks generated, as a token is,
// rather than chosen.
func random(segment string) bool {
	return len(segment) >= 16 && strings.ContainsAny(segment, "0123456789") &&
		strings.ContainsFunc(segment, unicode.IsLetter)
}

// form looks into a query or a form's content, keeping its order.
func (s *session) form(place, text string) string {
	if text == "" {
		return text
	}
	pairs := strings.Split(text, "&")
	for i, pair := range pairs {
		name, value, ok := strings.Cut(pair, "=")
		plainName, plain := s.unescaped(name), s.unescaped(value)
		if !ok {
			if clean := s.scan(place, plainName); clean != plainName {
				pairs[i] = url.QueryEscape(clean)
			}
			continue
		}
		if clean := s.field(place+"."+plainName, plainName, plain); clean != plain {
			pairs[i] = name + "=" + url.QueryEscape(clean)
		}
	}
	return strings.Join(pairs, "&")
}

// unescaped decodes a field. A plus is a blank, unless it is part of a secret:
// many clients forget to escape the plus in a mail address.
func (s *session) unescaped(text string) string {
	if strings.Contains(text, "+") {
		literal, err := url.PathUnescape(text)
		if _, secret := s.values(literal); err == nil && secret {
			return literal
		}
	}
	if plain, err := url.QueryUnescape(text); err == nil {
		return plain
	}
	return text
}

// body redacts a body by the kind of thing it is. Compression is undone, and
// the header says so afterwards.
func (s *session) body(place string, body Body, header map[string][]string) (Body, map[string][]string) {
	if len(body) == 0 {
		return body, header
	}
	switch coding := strings.ToLower(get(header, "Content-Encoding")); coding {
	case "", "identity":
	case "gzip":
		plain, ok := s.unzip(body)
		if !ok {
			s.note(place)
			return nil, header
		}
		body, header = plain, without(header, "Content-Encoding", "Content-Length")
	default:
		s.note(place)
		return nil, header
	}
	media, _, _ := strings.Cut(strings.ToLower(get(header, "Content-Type")), ";")
	media = strings.TrimSpace(media)
	first := bytes.TrimLeft(body, " \t\r\n")
	switch {
	case media == "application/x-www-form-urlencoded":
		return Body(s.form(place, s.whole(string(body), "&"))), header
	case media == "application/json", strings.HasSuffix(media, "+json"),
		len(first) > 0 && (first[0] == '{' || first[0] == '['):
		if clean, ok := s.json(place, body); ok {
			return clean, header
		}
	}
	return Body(s.text(place, s.whole(string(body), " \t\r\n<>,;"))), header
}

func get(header map[string][]string, name string) string {
	for key, values := range header {
		if strings.EqualFold(key, name) {
			return strings.Join(values, ",")
		}
	}
	return ""
}

func without(header map[string][]string, names ...string) map[string][]string {
	clean := maps.Clone(header)
	maps.DeleteFunc(clean, func(key string, _ []string) bool {
		return slices.ContainsFunc(names, func(name string) bool { return strings.EqualFold(key, name) })
	})
	return clean
}

// largest bounds what a compressed body may unfold to.
const largest = 16 << 20

func (s *session) unzip(body Body) (Body, bool) {
	reader, err := gzip.NewReader(bytes.NewReader(body))
	if err != nil {
		return nil, false
	}
	plain, err := io.ReadAll(io.LimitReader(reader, largest))
	if err != nil && !(s.truncated && errors.Is(err, io.ErrUnexpectedEOF)) {
		return nil, false
	}
	return plain, true
}

// whole drops what follows the last separator of a truncated text: half a
// secret no longer looks like one.
func (s *session) whole(text, separators string) string {
	if !s.truncated {
		return text
	}
	return text[:strings.LastIndexAny(text, separators)+1]
}

// Value returns a value without what is secret in it: all of it where the name
// it stands under, a field's or a header's, says so, else what looks like a
// secret.
func (r *Redactor) Value(name, value string) string {
	s := &session{Redactor: r, seen: map[string]bool{}}
	return s.headerValue("", name, value)
}

// Text returns a text without its secrets: of JSON by the names of its members,
// of another text by names and looks as far as they can be seen.
func (r *Redactor) Text(text string) string {
	s := &session{Redactor: r, seen: map[string]bool{}}
	clean, _ := s.body("", Body(text), nil)
	return string(clean)
}
