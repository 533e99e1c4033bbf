package compare

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"

	"stranglerfig/contract-tests/match"
)

const bodyPath = "$.body"

// where is the path of the walk, for reports.
func (c *comparison) where() string { return bodyPath + c.path.String()[1:] }

func (c *comparison) report(kind Kind, expected, actual, rule string) {
	if c.full() {
		c.dropped++
		return
	}
	c.add(Difference{Path: c.where(), Kind: kind, Expected: expected, Actual: actual, Rule: rule})
}

// violated names a rule and what it asks for.
func violated(found *match.Found, err error) string { return found.String() + ", " + err.Error() }

func kindOf(err error) Kind {
	var m *match.Mismatch
	if errors.As(err, &m) {
		switch m.Aspect {
		case match.OfType:
			return Type
		case match.OfLength:
			return Length
		}
	}
	return Value
}

// body compares the bodies, however they are compressed.
func (c *comparison) body(expected, actual part) {
	if !c.exact && expected.body == nil {
		return
	}
	e, err := expected.unpacked()
	if err != nil {
		c.report(Encoding, err.Error(), size(actual.body), "")
		return
	}
	a, err := actual.unpacked()
	if err != nil {
		c.report(Encoding, size(e), err.Error(), "")
		return
	}
	expected.body, actual.body = e, a
	c.part(expected, actual)
}

// part compares two contents at the cursor.
func (c *comparison) part(expected, actual part) {
	switch {
	case len(expected.body) == 0 && len(actual.body) == 0:
	case len(expected.body) == 0:
		c.report(Extra, "", show(actual.body), "")
	case len(actual.body) == 0:
		c.report(Missing, show(expected.body), "", "")
	case bytes.Equal(expected.body, actual.body) && expected.sameCharset(actual) && !c.rules.NamesIDs() && (c.exact || !c.cursor.Below()):
	default:
		c.content(expected, actual)
	}
}

// largestRead bounds what is read as a document, and largestMarkup what is read
// as XML or HTML, which take more memory. Beyond it, bodies are compared as
// bytes.
const largestRead, largestMarkup = 16 << 20, 4 << 20

// content compares two contents that are there, by the kind of thing they are.
func (c *comparison) content(expected, actual part) {
	found := c.cursor.Found()
	if found.Has(match.ContentType) {
		if err := found.Match(match.Text(expected.body), match.Text(actual.body)); err != nil {
			c.report(Type, match.Sniff(expected.body), match.Sniff(actual.body), found.String())
		}
		return
	}
	f, ok := c.family(expected, actual)
	if !ok {
		return
	}
	most := largestRead
	if f == xmlText || f == htmlText {
		most = largestMarkup
	}
	if max(len(expected.body), len(actual.body)) > most {
		c.binary(expected.body, actual.body)
		return
	}
	switch f {
	case byteText:
		c.binary(expected.body, actual.body)
		return
	case multiple:
		c.sections(expected, actual)
		return
	}
	e, errExpected := expected.text(f)
	a, errActual := actual.text(f)
	switch {
	case errExpected == nil && errActual == nil:
		c.document(f, e, a)
	case f == plainText && expected.sameCharset(actual), errExpected != nil && errActual != nil:
		c.binary(expected.body, actual.body)
	default:
		c.report(Encoding, orFamily(f, errExpected), orFamily(f, errActual), "")
	}
}

func orFamily(f family, err error) string {
	if err != nil {
		return err.Error()
	}
	return string(f)
}

// family decides what both contents are read as: what they say they are, and if
// only one says it, that one. If they say different things, that is the
// difference, unless a rule admits the other content type.
func (c *comparison) family(expected, actual part) (family, bool) {
	e, a := expected.declared(), actual.declared()
	switch {
	case e == unknown && a == unknown:
		if e, a = expected.guessed(), actual.guessed(); e == a {
			return e, true
		}
	case e == unknown:
		if g := expected.guessed(); structured(g) && structured(a) && (g == jsonText) != (a == jsonText) {
			e = g
			break // a page where JSON is due says nothing about the JSON
		}
		return a, true
	case a == unknown || a == e || !c.rules.Header("Content-Type").Empty():
		return e, true
	}
	c.report(Type, string(e), string(a), "")
	return unknown, false
}

// structured reports whether one can tell content of the family by its looks.
func structured(f family) bool { return f == jsonText || f == xmlText || f == htmlText }

// document compares texts that are written in one language. An expected text
// that is not what it says it is is compared as text.
func (c *comparison) document(f family, e, a string) {
	var errExpected, errActual error
	switch f {
	case jsonText:
		errExpected, errActual = c.json(e, a)
	case xmlText:
		if c.asText() {
			c.text(e, a)
			return
		}
		errExpected, errActual = c.xml(e, a)
	case htmlText:
		if c.asText() {
			c.text(e, a)
			return
		}
		errExpected, errActual = c.html(e, a)
	case form:
		errExpected, errActual = c.form(e, a)
	default:
		c.text(e, a)
		return
	}
	switch {
	case errExpected != nil:
		c.text(e, a)
	case errActual != nil:
		c.report(Encoding, string(f), "not "+string(f)+": "+errActual.Error(), "")
	}
}

// asText reports whether a matcher of texts was written for a document as a
// whole, which can only mean its text.
func (c *comparison) asText() bool {
	found := c.cursor.Found()
	for _, k := range []match.Kind{match.Regex, match.Include, match.SemVer, match.Date, match.Time, match.DateTime, match.OneOfFormats} {
		if found.Has(k) {
			return true
		}
	}
	return false
}

func (c *comparison) binary(expected, actual []byte) {
	if found := c.cursor.Found(); found.Has(match.Type) || found.Has(match.NotEmpty) {
		return // bytes of whatever kind, as long as there are any
	}
	if bytes.Equal(expected, actual) {
		return
	}
	kind := Value
	if len(expected) != len(actual) {
		kind = Length
	}
	c.report(kind, digest(expected), digest(actual), "")
}

func digest(body []byte) string {
	return fmt.Sprintf("%s, sha256 %.16x", size(body), sha256.Sum256(body))
}

func size(body []byte) string { return counted(len(body), "bytes") }

// show quotes a body if it is text, and describes it otherwise.
func show(body []byte) string {
	if textual(body) {
		return string(body)
	}
	return digest(body)
}
