package compare

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"mime/multipart"
	"slices"

	"stranglerfig/contract-tests/match"
)

// section is one part of a multipart body.
type section struct {
	part
	name, file string
}

// mostSections bounds the parts of a multipart body that are looked at.
const mostSections = 1000

// sections compares the parts of two multipart bodies, each by its own type.
// Parts are told apart by their names; those without, or of one name, by their
// place.
func (c *comparison) sections(expected, actual part) {
	e, err := expected.sections()
	if err != nil {
		c.binary(expected.body, actual.body)
		return
	}
	a, err := actual.sections()
	if err != nil {
		c.report(Encoding, string(multiple), "not "+string(multiple)+": "+err.Error(), "")
		return
	}
	names := append(slices.Collect(maps.Keys(e)), slices.Collect(maps.Keys(a))...)
	slices.Sort(names)
	for _, name := range slices.Compact(names) {
		c.member(name, func(found *match.Found) { c.namesakes(e[name], a[name], found) })
	}
}

// namesakes compares the parts of one name.
func (c *comparison) namesakes(expected, actual []section, found *match.Found) {
	for i := range max(len(expected), len(actual)) {
		switch {
		case i >= len(actual):
			if !found.Has(match.Absent) {
				c.report(Missing, show(expected[i].body), "", "")
			}
		case i >= len(expected):
			c.extra(found, show(actual[i].body))
		default:
			c.section(expected[i], actual[i])
		}
	}
}

func (c *comparison) section(expected, actual section) {
	if expected.file != actual.file {
		c.member("@filename", func(found *match.Found) {
			if found.Empty() || found.Match(match.Text(expected.file), match.Text(actual.file)) != nil {
				c.report(Value, expected.file, actual.file, found.String())
			}
		})
	}
	c.body(expected.part, actual.part)
}

// sections reads a multipart body; the boundary is the one its type names.
func (p part) sections() (map[string][]section, error) {
	boundary := p.parameter("boundary")
	if boundary == "" {
		return nil, errors.New("its Content-Type names no boundary")
	}
	all := map[string][]section{}
	reader := multipart.NewReader(bytes.NewReader(p.body), boundary)
	for n := 0; ; n++ {
		next, err := reader.NextPart()
		if errors.Is(err, io.EOF) && n > 0 {
			return all, nil
		}
		if err != nil {
			return nil, fmt.Errorf("part %d: %w", n+1, err)
		}
		if n == mostSections {
			return nil, fmt.Errorf("more than %d parts", mostSections)
		}
		body, err := io.ReadAll(next)
		if err != nil {
			return nil, fmt.Errorf("part %d: %w", n+1, err)
		}
		s := section{part{next.Header, body}, next.FormName(), next.FileName()}
		all[s.name] = append(all[s.name], s)
	}
}
