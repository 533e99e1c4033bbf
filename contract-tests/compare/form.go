package compare

import (
	"maps"
	"net/url"
	"slices"
	"strings"

	"stranglerfig/contract-tests/match"
)

// form compares two bodies of application/x-www-form-urlencoded: the values of
// each name, in their order.
func (c *comparison) form(expected, actual string) (errExpected, errActual error) {
	e, errExpected := url.ParseQuery(strings.TrimRight(expected, "\r\n"))
	a, errActual := url.ParseQuery(strings.TrimRight(actual, "\r\n"))
	if errExpected != nil || errActual != nil {
		return errExpected, errActual
	}
	for _, name := range slices.Sorted(maps.Keys(e)) {
		c.member(name, func(found *match.Found) {
			values, ok := a[name]
			switch {
			case ok:
				c.texts(c.where(), e[name], values, found.List)
			case !found.Has(match.Absent):
				c.report(Missing, strings.Join(e[name], ", "), "", "")
			}
		})
	}
	for _, name := range slices.Sorted(maps.Keys(a)) {
		if _, known := e[name]; !known {
			c.member(name, func(found *match.Found) { c.extra(found, strings.Join(a[name], ", ")) })
		}
	}
	return nil, nil
}

// member does something one step further down.
func (c *comparison) member(name string, do func(found *match.Found)) {
	c.path = append(c.path, match.Field(name))
	c.cursor.Field(name)
	do(c.cursor.Found())
	c.cursor.Leave()
	c.path = c.path[:len(c.path)-1]
}

// extra reports what only the actual side has, where that is an offence: where
// a rule says absent, or nothing further is allowed and no rule speaks of it.
func (c *comparison) extra(found *match.Found, actual string) {
	switch {
	case found.Has(match.Absent):
		c.report(Extra, "", actual, found.String())
	case c.exact, c.closed && (found.Empty() || found.Cascaded):
		c.report(Extra, "", actual, "")
	}
}
