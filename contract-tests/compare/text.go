package compare

import (
	"fmt"
	"strings"

	"stranglerfig/contract-tests/match"
)

// text compares line by line and stops at the first difference: what follows
// an inserted line would all be news otherwise. Ends of lines count, but where
// nothing else differs they are one difference and not one in each line.
func (c *comparison) text(expected, actual string) {
	if found := c.cursor.Found(); !found.Empty() {
		if err := found.Match(match.Text(expected), match.Text(actual)); err != nil {
			c.report(kindOf(err), expected, actual, violated(found, err))
			return
		}
		c.identify(found.List, c.where, match.Text(expected), match.Text(actual))
		return
	}
	if expected == actual {
		return
	}
	if e, a := lineEnds(expected), lineEnds(actual); e != a && unixLines(expected) == unixLines(actual) {
		c.report(Encoding, e, a, "")
		return
	}
	e, a := unixLines(expected), unixLines(actual)
	for line := 1; e != a; line++ {
		first, restExpected, moreExpected := strings.Cut(e, "\n")
		second, restActual, moreActual := strings.Cut(a, "\n")
		if first != second || moreExpected != moreActual {
			c.line(line, shown(first, moreExpected), shown(second, moreActual))
			return
		}
		e, a = restExpected, restActual
	}
}

func (c *comparison) line(n int, expected, actual string) {
	c.add(Difference{Path: fmt.Sprintf("%s:line %d", c.where(), n), Kind: Value, Expected: expected, Actual: actual})
}

func unixLines(text string) string { return strings.ReplaceAll(text, "\r\n", "\n") }

// lineEnds says how a text ends its lines.
func lineEnds(text string) string {
	switch all, crlf := strings.Count(text, "\n"), strings.Count(text, "\r\n"); {
	case all == 0:
		return "no line ends"
	case crlf == 0:
		return "lines end in LF"
	case crlf == all:
		return "lines end in CRLF"
	}
	return "lines end in LF and in CRLF"
}

// shown quotes a line, so that differing white space can be seen.
func shown(line string, ended bool) string {
	if ended {
		line += "\n"
	}
	return fmt.Sprintf("%q", clip(line))
}
