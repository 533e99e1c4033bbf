package main

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
)

// print prints a contest as a table: a line for each contender, and below a
// line of ratios for each but the first.
func (c *contest) print(out io.Writer) error {
	fmt.Fprintf(out, "\n%s: %s\n", c.name, c.about)
	t := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	header := []string{""}
	for _, m := range c.metrics {
		header = append(header, m.name+", "+m.unit)
	}
	fmt.Fprintln(t, strings.Join(append(header, "errors"), "\t"))
	for _, e := range c.contenders {
		fmt.Fprintln(t, strings.Join(c.line(e), "\t"))
	}
	for _, e := range c.contenders[1:] {
		if line := c.ratioLine(e); line != nil {
			fmt.Fprintln(t, strings.Join(line, "\t"))
		}
	}
	return t.Flush()
}

// line is a contender's.
func (c *contest) line(e *contender) []string {
	cells := []string{e.name}
	for _, m := range c.metrics {
		cells = append(cells, between(e.of(m)))
	}
	return append(cells, e.trouble())
}

// ratioLine is the first contender's numbers divided by those of another; nil
// where one of them has none.
func (c *contest) ratioLine(other *contender) []string {
	first := c.contenders[0]
	if first.absent != nil || other.absent != nil {
		return nil
	}
	cells := []string{first.name + " / " + other.name}
	for _, m := range c.metrics {
		cell := "-"
		if a, b := first.of(m), other.of(m); len(a) > 0 && len(b) > 0 {
			cell = figure(median(a)/median(b)) + spreadOf(ratios(a, b))
		}
		cells = append(cells, cell)
	}
	return append(cells, "")
}

// of returns a contender's values of a metric, round by round; none where it
// has none.
func (e *contender) of(m metric) []float64 {
	var values []float64
	for _, round := range e.found {
		if v, ok := round[m.name]; ok {
			values = append(values, v)
		}
	}
	return values
}

// between is the median of values with the lowest and the highest.
func between(values []float64) string {
	if len(values) == 0 {
		return "-"
	}
	return figure(median(values)) + spreadOf(values)
}

func spreadOf(values []float64) string {
	s := sorted(values)
	return fmt.Sprintf(" (%s to %s)", figure(s[0]), figure(s[len(s)-1]))
}

// figure is a number with three digits that say something.
func figure(v float64) string {
	switch size := max(v, -v); {
	case size < 10:
		return fmt.Sprintf("%.2f", v)
	case size < 100:
		return fmt.Sprintf("%.1f", v)
	}
	return fmt.Sprintf("%.0f", v)
}

// printJSON prints one object a line: each metric of each contender, how many
// requests failed, and who was not measured and why.
func (c *contest) printJSON(out io.Writer) error {
	return printJSON(out, c.measures())
}

// measures are the numbers of a contest, for machines.
func (c *contest) measures() []measure {
	var all []measure
	for i, e := range c.contenders {
		if e.absent != nil {
			m := single(c.name, e.name, "", 0, 0)
			m.NotMeasured = firstLine(e.absent)
			all = append(all, m)
		}
		for _, m := range c.metrics {
			values := e.of(m)
			if len(values) == 0 {
				continue
			}
			found := spread(c.name+": "+m.name, e.name, m.unit, c.load.Requests, values)
			if i == 0 && e.absent == nil {
				c.addRatios(&found, m)
			}
			all = append(all, found)
		}
		total := 0
		for _, n := range e.errors {
			total += n
		}
		all = append(all,
			single(c.name+": errors", e.name, "requests", c.load.Requests, float64(total)),
			single(c.name+": ended connections", e.name, "answers", c.load.Requests, float64(e.ended)))
	}
	return all
}

// addRatios adds the first contender's ratios to all others that were measured.
func (c *contest) addRatios(to *measure, m metric) {
	first := c.contenders[0].of(m)
	for _, e := range c.contenders[1:] {
		values := e.of(m)
		if e.absent != nil || len(values) == 0 {
			continue
		}
		if to.RatioTo == nil {
			to.RatioTo, to.RatiosTo = map[string]float64{}, map[string][]float64{}
		}
		to.RatioTo[e.name] = median(first) / median(values)
		to.RatiosTo[e.name] = ratios(first, values)
	}
}

// failed lists what a bench must not end well with: requests that failed, and
// contenders that are there and could not be measured.
func (c *contest) failed() []error {
	var wrong []error
	for _, e := range c.contenders {
		if _, fine := errors.AsType[leftOut](e.absent); e.absent != nil && !fine {
			wrong = append(wrong, fmt.Errorf("%s: %s was not measured: %w", c.name, e.name, e.absent))
		}
		if len(e.errors) > 0 {
			wrong = append(wrong, fmt.Errorf("%s: %s failed requests: %s", c.name, e.name, failures(e.errors)))
		}
	}
	return wrong
}
