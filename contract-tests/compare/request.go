package compare

import (
	"maps"
	"net/url"
	"slices"
	"strings"

	"stranglerfig/contract-tests/match"
)

// Request is a request. Methods and the names of headers are compared without
// regard to case. A nil Body of the expected request leaves the body unchecked.
type Request struct {
	Method string
	Path   string
	Query  map[string][]string
	// RawQuery is the query as it is written. Pact's version 1 compares queries
	// so, apart from escapes; in later versions the order of parameters is free.
	// If the expected request has one, Query is not looked at.
	RawQuery string
	Header   map[string][]string
	Body     []byte
}

// Requests compares two requests. In a request nothing is allowed that the
// expected one does not mention, apart from headers: what a provider makes of a
// further parameter or member nobody can tell. Differences come in the order
// method, path, query, headers, body.
func Requests(expected, actual Request, rules match.Rules, o Options) []Difference {
	c := begin(rules, o)
	defer c.end()
	c.closed = true
	if !strings.EqualFold(expected.Method, actual.Method) {
		c.add(Difference{Path: "$.method", Kind: Method, Expected: expected.Method, Actual: actual.Method})
	}
	c.address(expected.Path, actual.Path)
	if expected.RawQuery != "" {
		c.rawQuery(expected, actual)
	} else {
		c.query(expected.Query, actual.Query)
	}
	c.headers(expected.Header, actual.Header, string(expected.Body) == string(actual.Body))
	c.body(part{header: expected.Header, body: expected.Body}, part{header: actual.Header, body: actual.Body})
	return c.conclude()
}

func (c *comparison) address(expected, actual string) {
	d := Difference{Path: "$.path", Kind: Value, Expected: expected, Actual: actual}
	list := c.rules.Path()
	if list.Empty() {
		if expected != actual {
			c.add(d)
		}
		return
	}
	if err := list.Match(match.Text(expected), match.Text(actual)); err != nil {
		d.Rule = d.Path + ": " + err.Error()
		c.add(d)
		return
	}
	c.identify(list, at(d.Path), match.Text(expected), match.Text(actual))
}

// rawQuery compares queries as texts, in which each character may be escaped.
func (c *comparison) rawQuery(expected, actual Request) {
	raw := actual.RawQuery
	if raw == "" {
		raw = url.Values(actual.Query).Encode()
	}
	e, errExpected := url.QueryUnescape(expected.RawQuery)
	a, errActual := url.QueryUnescape(raw)
	if errExpected != nil || errActual != nil {
		e, a = expected.RawQuery, raw
	}
	if e != a {
		c.add(Difference{Path: "$.query", Kind: Value, Expected: e, Actual: a})
	}
}

// query compares parameters by name, and those of one name by their place.
func (c *comparison) query(expected, actual map[string][]string) {
	for _, name := range slices.Sorted(maps.Keys(expected)) {
		values, ok := actual[name]
		path := "$.query" + match.Path{match.Field(name)}.String()[1:]
		if !ok {
			c.add(Difference{Path: path, Kind: Missing, Expected: strings.Join(expected[name], ", ")})
			continue
		}
		c.texts(path, expected[name], values, c.rules.Query(name))
	}
	for _, name := range slices.Sorted(maps.Keys(actual)) {
		if _, ok := expected[name]; !ok {
			path := "$.query" + match.Path{match.Field(name)}.String()[1:]
			c.add(Difference{Path: path, Kind: Extra, Actual: strings.Join(actual[name], ", ")})
		}
	}
}

// texts compares several values of one name. Under a rule their number is free,
// within the rule's own bounds.
func (c *comparison) texts(path string, expected, actual []string, list match.List) {
	if list.Empty() {
		if !slices.Equal(expected, actual) {
			c.add(Difference{Path: path, Kind: kindOfTexts(expected, actual), Expected: strings.Join(expected, ", "), Actual: strings.Join(actual, ", ")})
		}
		return
	}
	whole := match.Found{List: list}
	if m, ok := whole.Get(match.Type); ok {
		if err := m.Match(match.Array(len(expected)), match.Array(len(actual))); err != nil {
			c.add(Difference{Path: path, Kind: Length, Expected: counted(len(expected), "values"), Actual: counted(len(actual), "values"), Rule: path + ": " + err.Error()})
			return
		}
	}
	for i, value := range actual {
		if len(expected) == 0 {
			return // an empty example says nothing of values
		}
		example := expected[min(i, len(expected)-1)]
		if err := list.Match(match.Text(example), match.Text(value)); err != nil {
			c.add(Difference{Path: path, Kind: kindOf(err), Expected: example, Actual: value, Rule: path + ": " + err.Error()})
			continue
		}
		c.identify(list, at(path), match.Text(example), match.Text(value))
	}
}

func kindOfTexts(expected, actual []string) Kind {
	if len(expected) != len(actual) {
		return Length
	}
	if slices.Equal(slices.Sorted(slices.Values(expected)), slices.Sorted(slices.Values(actual))) {
		return Order
	}
	return Value
}

// Event is an asynchronous message. A nil Body of the expected one leaves the
// body unchecked.
type Event struct {
	Metadata map[string]string
	Body     []byte
}

// contentType is the one piece of metadata whose meaning is known.
const contentType = "contentType"

// Events compares two messages as [Responses] compares answers: what the
// expected one does not mention is free. Metadata of the name contentType says
// what the body is.
func Events(expected, actual Event, rules match.Rules, o Options) []Difference {
	c := begin(rules, o)
	defer c.end()
	for _, name := range slices.Sorted(maps.Keys(expected.Metadata)) {
		c.metadata(name, expected.Metadata[name], actual.Metadata)
	}
	c.body(expected.part(), actual.part())
	return c.conclude()
}

func (e Event) part() part {
	p := part{body: e.Body}
	for name, value := range e.Metadata {
		if strings.EqualFold(strings.ReplaceAll(name, "-", ""), contentType) {
			p.header = map[string][]string{"Content-Type": {value}}
		}
	}
	return p
}

func (c *comparison) metadata(name, expected string, all map[string]string) {
	actual, ok := all[name]
	d := Difference{Path: "$.metadata" + match.Path{match.Field(name)}.String()[1:], Kind: Value, Expected: expected, Actual: actual}
	list := c.rules.Metadata(name)
	switch {
	case !ok:
		d.Kind = Missing
		c.add(d)
	case !list.Empty():
		c.texts(d.Path, []string{expected}, []string{actual}, list)
	case name == contentType && sameMedia(expected, actual, c.exact):
	case expected != actual:
		c.add(d)
	}
}
