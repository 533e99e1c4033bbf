package compare

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"golang.org/x/net/html/charset"
	"golang.org/x/text/encoding/unicode"
)

// part is content with the headers that say what it is: a body, or a part of a
// multipart body.
type part struct {
	header map[string][]string
	body   []byte
}

func (m Message) part() part { return part{m.Header, m.Body} }

// family is what a body is read as.
type family string

const (
	unknown   family = ""
	jsonText  family = "JSON"
	xmlText   family = "XML"
	htmlText  family = "HTML"
	form      family = "a form"
	multiple  family = "multipart"
	plainText family = "text"
	byteText  family = "bytes"
)

// declared is what the headers call the content; unknown if they say nothing
// that is understood.
func (p part) declared() family {
	m := mediaOf(p.header)
	switch {
	case m == "":
		return unknown
	case m == "application/json", m == "text/json", strings.HasSuffix(m, "+json"):
		return jsonText
	case m == "application/xml", m == "text/xml", strings.HasSuffix(m, "+xml"):
		return xmlText
	case m == "text/html":
		return htmlText
	case m == "application/x-www-form-urlencoded":
		return form
	case strings.HasPrefix(m, "multipart/"):
		return multiple
	case strings.HasPrefix(m, "text/"):
		return plainText
	case m == "application/octet-stream", strings.HasPrefix(m, "image/"), strings.HasPrefix(m, "audio/"),
		strings.HasPrefix(m, "video/"), strings.HasPrefix(m, "font/"):
		return byteText
	}
	return unknown
}

// guessed is what the content looks like.
func (p part) guessed() family {
	if p.isWide() {
		text, err := p.text(plainText)
		if err != nil {
			return byteText
		}
		p.body = []byte(text)
	}
	trimmed := bytes.TrimLeft(p.body, " \t\r\n\ufeff")
	switch {
	case len(trimmed) == 0:
		return plainText
	case bytes.HasPrefix(trimmed, []byte("<?xml")):
		return xmlText
	case hasPrefixFold(trimmed, "<!doctype html"), hasPrefixFold(trimmed, "<html"):
		return htmlText
	case trimmed[0] == '{', trimmed[0] == '[', isJSON(trimmed):
		return jsonText
	case textual(p.body):
		return plainText
	}
	return byteText
}

func hasPrefixFold(text []byte, prefix string) bool {
	return len(text) >= len(prefix) && strings.EqualFold(string(text[:len(prefix)]), prefix)
}

// mediaOf returns the media type without parameters, "" if there is none.
func mediaOf(header map[string][]string) string {
	v := values(header, "Content-Type")
	if len(v) == 0 {
		return ""
	}
	main, _ := media(v[0])
	return main
}

// parameter returns a parameter of the media type.
func (p part) parameter(name string) string {
	v := values(p.header, "Content-Type")
	if len(v) == 0 {
		return ""
	}
	_, parameters := media(v[0])
	return parameters[name]
}

// largest bounds what a compressed body may unfold to.
const largest = 64 << 20

// unpacked undoes gzip, so that two sides that compress differently can be
// compared.
func (p part) unpacked() ([]byte, error) {
	coding := strings.ToLower(strings.Join(values(p.header, "Content-Encoding"), ","))
	if coding == "" || coding == "identity" || len(p.body) == 0 {
		return p.body, nil
	}
	if coding != "gzip" && coding != "x-gzip" {
		return nil, fmt.Errorf("compressed as %s, of which only gzip is undone", coding)
	}
	reader, err := gzip.NewReader(bytes.NewReader(p.body))
	if err != nil {
		return nil, fmt.Errorf("not gzip as its Content-Encoding says: %w", err)
	}
	body, err := io.ReadAll(io.LimitReader(reader, largest+1))
	if err != nil {
		return nil, fmt.Errorf("broken gzip: %w", err)
	}
	if len(body) > largest {
		return nil, fmt.Errorf("more than %d bytes when unpacked", largest)
	}
	return body, nil
}

// text decodes the content to UTF-8. What names no character set is UTF-8,
// unless a mark at its beginning or the document itself says otherwise. The
// error says what is wrong with it.
func (p part) text(f family) (string, error) {
	label := strings.ToLower(p.parameter("charset"))
	if bytes.HasPrefix(p.body, []byte("\xef\xbb\xbf")) {
		return valid(string(p.body[3:]))
	}
	if p.isWide() {
		return wide(p.body, unicode.UseBOM)
	}
	switch {
	case label == "" && f == xmlText:
		label = declaration(p.body)
	case label == "" && f == htmlText:
		_, label, _ = charset.DetermineEncoding(p.body, "")
	}
	switch label {
	case "", "utf-8", "utf8", "us-ascii", "ascii":
		return valid(string(p.body))
	case "utf-16":
		return wide(p.body, unicode.IgnoreBOM)
	}
	encoding, _ := charset.Lookup(label)
	if encoding == nil {
		return "", fmt.Errorf("in the character set %q, which is unknown", label)
	}
	decoded, err := encoding.NewDecoder().Bytes(p.body)
	if err != nil {
		return "", fmt.Errorf("not %s as it says: %w", label, err)
	}
	return string(decoded), nil
}

// isWide reports whether the content begins with the mark of UTF-16.
func (p part) isWide() bool {
	return bytes.HasPrefix(p.body, []byte("\xff\xfe")) || bytes.HasPrefix(p.body, []byte("\xfe\xff"))
}

// sameCharset reports whether equal bytes are equal texts.
func (p part) sameCharset(other part) bool {
	label := func(p part) string {
		if name := strings.ToLower(p.parameter("charset")); name != "utf-8" && name != "utf8" {
			return name
		}
		return ""
	}
	return label(p) == label(other)
}

// wide decodes UTF-16, which is big-endian if nothing says otherwise (RFC 2781).
func wide(body []byte, policy unicode.BOMPolicy) (string, error) {
	if len(body)%2 != 0 {
		return "", fmt.Errorf("not UTF-16 as it says: %d bytes, which is odd", len(body))
	}
	decoded, err := unicode.UTF16(unicode.BigEndian, policy).NewDecoder().Bytes(body)
	return string(decoded), err
}

func valid(text string) (string, error) {
	if utf8.ValidString(text) {
		return text, nil
	}
	for i := 0; ; {
		r, n := utf8.DecodeRuneInString(text[i:])
		if r == utf8.RuneError && n <= 1 {
			return "", fmt.Errorf("not UTF-8 at byte %d", i+1)
		}
		i += n
	}
}

// declaration is the encoding that an XML declaration names.
func declaration(body []byte) string {
	head, _, found := bytes.Cut(body[:min(len(body), 256)], []byte("?>"))
	if !found || !bytes.HasPrefix(head, []byte("<?xml")) {
		return ""
	}
	_, rest, found := strings.Cut(string(head), "encoding")
	rest = strings.TrimLeft(rest, " \t\r\n=")
	if !found || rest == "" || rest[0] != '"' && rest[0] != '\'' {
		return ""
	}
	name, _, _ := strings.Cut(rest[1:], rest[:1])
	return strings.ToLower(name)
}

func textual(body []byte) bool {
	return utf8.Valid(body) && bytes.IndexByte(body, 0) < 0
}
