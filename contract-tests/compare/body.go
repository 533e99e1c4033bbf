package compare

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"stranglerfig/contract-tests/match"
)

const bodyPath = "$.body"

func (c *comparison) body() {
	if !c.exact && c.expected.Body == nil {
		return
	}
	expected, err := plain(c.expected)
	if err != nil {
		c.add(Difference{Path: bodyPath, Kind: Encoding, Expected: err.Error(), Actual: size(c.actual.Body)})
		return
	}
	actual, err := plain(c.actual)
	if err != nil {
		c.add(Difference{Path: bodyPath, Kind: Encoding, Expected: size(expected), Actual: err.Error()})
		return
	}
	if c.exact && bytes.Equal(expected, actual) {
		return
	}
	switch {
	case len(expected) == 0 && len(actual) == 0:
	case len(expected) == 0:
		c.add(Difference{Path: bodyPath, Kind: Extra, Actual: show(actual)})
	case len(actual) == 0:
		c.add(Difference{Path: bodyPath, Kind: Missing, Expected: show(expected)})
	default:
		c.content(expected, actual)
	}
}

// largest bounds what a compressed body may unfold to.
const largest = 64 << 20

// plain undoes gzip, so that two sides that compress differently can be
// compared.
func plain(m Message) ([]byte, error) {
	coding := strings.ToLower(strings.Join(values(m.Header, "Content-Encoding"), ","))
	if coding != "gzip" || len(m.Body) == 0 {
		return m.Body, nil
	}
	reader, err := gzip.NewReader(bytes.NewReader(m.Body))
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

// content compares two bodies that are there, by the kind of thing they are.
func (c *comparison) content(expected, actual []byte) {
	if rule := c.rules.For(nil); rule.Has(match.ContentType) {
		if err := rule.Match(match.Text(expected), match.Text(actual)); err != nil {
			c.add(Difference{Path: bodyPath, Kind: Type, Expected: match.Sniff(expected), Actual: match.Sniff(actual), Rule: rule.String()})
		}
		return
	}
	if c.speaksJSON() {
		if c.json(expected, actual) {
			return
		}
	}
	if textual(expected) && textual(actual) {
		c.text(string(expected), string(actual))
		return
	}
	c.binary(expected, actual)
}

// speaksJSON goes by what the answers say they are; if neither says, by trying.
func (c *comparison) speaksJSON() bool {
	for _, m := range []string{mediaOf(c.expected), mediaOf(c.actual)} {
		if m != "" {
			return m == "application/json" || strings.HasSuffix(m, "+json")
		}
	}
	return true
}

// json compares the bodies as documents. It reports false if the expected one
// is not JSON, so that they are compared as text instead.
func (c *comparison) json(expected, actual []byte) bool {
	want, err := decode(expected)
	if err != nil {
		return false
	}
	got, err := decode(actual)
	if err != nil {
		c.add(Difference{Path: bodyPath, Kind: Encoding, Expected: "JSON", Actual: "not JSON: " + show(actual)})
		return true
	}
	w := &walker{rules: c.rules, exact: c.exact, collector: &c.collector}
	w.value(want, got)
	return true
}

// decode reads exactly one JSON document, keeping numbers as they are written.
func decode(body []byte) (any, error) {
	d := json.NewDecoder(bytes.NewReader(body))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		return nil, err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("something follows the document")
	}
	return v, nil
}

// text compares line by line and stops at the first difference: what follows
// an inserted line would all be news otherwise.
func (c *comparison) text(expected, actual string) {
	if rule := c.rules.For(nil); !rule.Empty() {
		if err := rule.Match(match.Text(expected), match.Text(actual)); err != nil {
			c.add(Difference{Path: bodyPath, Kind: Value, Expected: expected, Actual: actual, Rule: rule.String()})
		}
		return
	}
	for line := 1; expected != actual; line++ {
		e, restExpected, moreExpected := strings.Cut(expected, "\n")
		a, restActual, moreActual := strings.Cut(actual, "\n")
		if e != a || moreExpected != moreActual {
			c.add(Difference{Path: fmt.Sprintf("%s:line %d", bodyPath, line), Kind: Value,
				Expected: shown(e, moreExpected), Actual: shown(a, moreActual)})
			return
		}
		expected, actual = restExpected, restActual
	}
}

// shown quotes a line, so that differing white space can be seen.
func shown(line string, ended bool) string {
	if ended {
		line += "\n"
	}
	return fmt.Sprintf("%q", clip(line))
}

func (c *comparison) binary(expected, actual []byte) {
	if bytes.Equal(expected, actual) {
		return
	}
	kind := Value
	if len(expected) != len(actual) {
		kind = Length
	}
	c.add(Difference{Path: bodyPath, Kind: kind, Expected: digest(expected), Actual: digest(actual)})
}

func digest(body []byte) string {
	return fmt.Sprintf("%s, sha256 %.16x", size(body), sha256.Sum256(body))
}

func size(body []byte) string { return fmt.Sprintf("%d bytes", len(body)) }

// show quotes a body if it is text, and describes it otherwise.
func show(body []byte) string {
	if textual(body) {
		return string(body)
	}
	return digest(body)
}

func textual(body []byte) bool {
	return utf8.Valid(body) && bytes.IndexByte(body, 0) < 0
}
