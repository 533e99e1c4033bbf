package compare

import (
	"maps"
	"net/textproto"
	"slices"
	"strings"

	"stranglerfig/contract-tests/match"
)

// compared lists the headers that Exact mode looks at: those a client acts on,
// and those that a rule speaks of. The others tell of the server, the connection
// or the moment.
var compared = [...]string{
	"Content-Type", "Content-Encoding", "Location", "Content-Disposition", "ETag", "Cache-Control",
	"Content-Language", "Content-Range", "Allow", "Vary", "Link", "Retry-After", "WWW-Authenticate",
	"Access-Control-Allow-Origin",
}

// values returns a header's values, whatever the case of its name.
func values(header map[string][]string, name string) []string {
	if v, ok := header[name]; ok {
		return v
	}
	for key, v := range header {
		if len(key) == len(name) && strings.EqualFold(key, name) {
			return v
		}
	}
	return nil
}

// sameHeaders is the fast path for two maps of headers: one look at each.
func sameHeaders(expected, actual map[string][]string) bool {
	e, a := pick(expected), pick(actual)
	for i := range e {
		if !slices.Equal(e[i], a[i]) {
			return false
		}
	}
	return true
}

// pick takes the values of the compared headers out of a map, and those of the
// cookies, which must be the same for the fast path.
func pick(header map[string][]string) (picked [len(compared) + 1][]string) {
	for key, v := range header {
		for i, name := range compared {
			if len(key) == len(name) && strings.EqualFold(key, name) {
				picked[i] = v
			}
		}
		if len(key) == len(setCookie) && strings.EqualFold(key, setCookie) {
			picked[len(compared)] = v
		}
	}
	return picked
}

const setCookie = "Set-Cookie"

// cookieNames returns the sorted names of the cookies an answer sets. Their
// values are sessions and differ by nature.
func cookieNames(cookies []string) []string {
	var names []string
	for _, cookie := range cookies {
		name, _, _ := strings.Cut(cookie, "=")
		names = append(names, strings.TrimSpace(name))
	}
	slices.Sort(names)
	return names
}

func (c *comparison) headers(expected, actual map[string][]string, sameBody bool) {
	if c.exact {
		c.exactHeaders(expected, actual, sameBody)
		return
	}
	for _, name := range slices.Sorted(maps.Keys(expected)) {
		c.header(name, expected[name], values(actual, name))
	}
	for _, name := range c.rules.HeaderNames() {
		if (match.Found{List: c.rules.Header(name)}).Has(match.Absent) && values(expected, name) == nil {
			c.header(textproto.CanonicalMIMEHeaderKey(name), nil, values(actual, name))
		}
	}
}

func (c *comparison) exactHeaders(expected, actual map[string][]string, sameBody bool) {
	e, a := pick(expected), pick(actual)
	for i, name := range compared {
		// An entity tag follows from the body. Where both sides send one and the
		// bodies differ, the tags must differ too, and only the body is news.
		if name == "ETag" && len(e[i]) > 0 && len(a[i]) > 0 && !sameBody {
			continue
		}
		if len(e[i])+len(a[i]) > 0 {
			c.header(name, e[i], a[i])
		}
	}
	for _, name := range c.rules.HeaderNames() {
		if !slices.ContainsFunc(compared[:], func(n string) bool { return strings.EqualFold(n, name) }) {
			c.header(textproto.CanonicalMIMEHeaderKey(name), values(expected, name), values(actual, name))
		}
	}
	if e, a := cookieNames(e[len(compared)]), cookieNames(a[len(compared)]); !slices.Equal(e, a) {
		c.add(Difference{Path: "$.header." + setCookie, Kind: Header,
			Expected: strings.Join(e, ", "), Actual: strings.Join(a, ", ")})
	}
}

// header compares one header; an absent one is told from an empty one.
func (c *comparison) header(name string, expected, actual []string) {
	d := Difference{Path: "$.header." + name, Kind: Header,
		Expected: strings.Join(expected, ", "), Actual: strings.Join(actual, ", ")}
	list := c.rules.Header(name)
	forbidden := match.Found{List: list}.Has(match.Absent)
	switch {
	case len(expected) == 0 && len(actual) == 0:
	case len(actual) == 0 && forbidden:
	case len(expected) == 0 || forbidden:
		if c.exact || forbidden {
			d.Kind, d.Rule = Extra, list.String()
			c.add(d)
		}
	case len(actual) == 0:
		d.Kind = Missing
		c.add(d)
	default:
		c.headerValue(name, list, d, expected, actual)
	}
}

func (c *comparison) headerValue(name string, list match.List, d Difference, all, theirs []string) {
	if list.Empty() {
		if !c.sameValue(name, d.Expected, d.Actual) {
			c.add(d)
		}
		return
	}
	if len(all) > 1 || len(theirs) > 1 {
		c.texts(d.Path, all, theirs, list) // each of the lines
		return
	}
	expected, actual := match.Text(d.Expected), match.Text(d.Actual)
	if err := list.Match(expected, actual); err != nil {
		d.Rule = d.Path + ": " + err.Error()
		c.add(d)
		return
	}
	c.identify(list, at(d.Path), expected, actual)
}

func (c *comparison) sameValue(name, expected, actual string) bool {
	if strings.EqualFold(name, "Content-Type") || strings.EqualFold(name, "Accept") {
		return slices.EqualFunc(commaSeparated(expected), commaSeparated(actual), func(e, a string) bool {
			return sameMedia(e, a, c.exact)
		})
	}
	if c.exact && (strings.EqualFold(name, "Vary") || strings.EqualFold(name, "Allow")) {
		return slices.Equal(words(expected), words(actual))
	}
	if c.exact && !strings.EqualFold(name, "Cache-Control") {
		return expected == actual
	}
	return slices.Equal(commaSeparated(expected), commaSeparated(actual))
}

// words is a list whose order and case mean nothing.
func words(value string) []string {
	list := commaSeparated(strings.ToLower(value))
	slices.Sort(list)
	return slices.Compact(list)
}

func commaSeparated(value string) []string {
	parts := strings.Split(value, ",")
	for i := range parts {
		parts[i] = strings.TrimSpace(parts[i])
	}
	return parts
}

// sameMedia compares media types: the type itself and every expected
// parameter, and if both ways, no further ones.
func sameMedia(expected, actual string, bothWays bool) bool {
	main, want := media(expected)
	other, got := media(actual)
	if main != other || bothWays && len(want) != len(got) {
		return false
	}
	for name, value := range want {
		have, ok := got[name]
		if !ok || value != have && !(name == "charset" && strings.EqualFold(value, have)) {
			return false
		}
	}
	return true
}

// media takes a media type apart, leniently: what a broken server sent must
// still be comparable.
func media(value string) (main string, parameters map[string]string) {
	parts := strings.Split(value, ";")
	for _, p := range parts[1:] {
		name, v, _ := strings.Cut(strings.TrimSpace(p), "=")
		if name == "" {
			continue
		}
		if parameters == nil {
			parameters = map[string]string{}
		}
		parameters[strings.ToLower(strings.TrimSpace(name))] = strings.Trim(strings.TrimSpace(v), `"`)
	}
	main = strings.TrimSpace(parts[0])
	if strings.Contains(main, "/") {
		main = strings.ToLower(main)
	}
	return main, parameters
}
