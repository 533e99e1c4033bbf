package main

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
)

// measure is one number of a bench.
type measure struct {
	Case  string  `json:"case"`
	Name  string  `json:"name"`
	Rows  int     `json:"rows"`
	Value float64 `json:"value"` // the median where there are rounds
	Unit  string  `json:"unit"`

	// RatioTo is Value divided by that of another measure, by its name.
	RatioTo map[string]float64 `json:"ratio_to,omitempty"`
	// Ratios are those of each round, smallest first.
	Ratios []float64 `json:"ratios,omitempty"`
	// RatiosTo are those of each round where there are several others.
	RatiosTo map[string][]float64 `json:"ratios_to,omitempty"`
	// Rounds are the values of each round, smallest first.
	Rounds []float64 `json:"rounds,omitempty"`
	// NotMeasured is why there is no value.
	NotMeasured string `json:"not_measured,omitempty"`
}

// single is a measure without rounds.
func single(which, name, unit string, rows int, value float64) measure {
	return measure{Case: which, Name: name, Unit: unit, Rows: rows, Value: value}
}

// spread is a measure of several rounds.
func spread(which, name, unit string, rows int, values []float64) measure {
	m := single(which, name, unit, rows, median(values))
	m.Rounds = sorted(values)
	return m
}

// median of at least one value.
func median(values []float64) float64 {
	s := sorted(values)
	return (s[(len(s)-1)/2] + s[len(s)/2]) / 2
}

func sorted(values []float64) []float64 {
	s := slices.Clone(values)
	slices.Sort(s)
	return s
}

// ratios of values that were measured next to each other, smallest first.
func ratios(a, b []float64) []float64 {
	all := make([]float64, len(a))
	for i := range a {
		all[i] = a[i] / b[i]
	}
	return sorted(all)
}

// printJSON prints one object a line.
func printJSON(out io.Writer, measures []measure) error {
	to := json.NewEncoder(out)
	for _, m := range measures {
		if err := to.Encode(m); err != nil {
			return err
		}
	}
	return nil
}

// printTable prints a table for people.
func printTable(out io.Writer, measures []measure) error { return printTableOf(out, "rows", measures) }

// printTableOf prints a table of things that are not rows.
func printTableOf(out io.Writer, things string, measures []measure) error {
	t := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintf(t, "case\tname\t%s\tvalue\tlowest to highest\tratio\n", things)
	for _, m := range measures {
		fmt.Fprintf(t, "%s\t%s\t%d\t%s\t%s\t%s\n", m.Case, m.Name, m.Rows, amount(m.Value, m.Unit), m.between(), m.ratio())
	}
	return t.Flush()
}

// between is the spread of the rounds.
func (m measure) between() string {
	if len(m.Rounds) == 0 {
		return "-"
	}
	return amount(m.Rounds[0], m.Unit) + " to " + amount(m.Rounds[len(m.Rounds)-1], m.Unit)
}

func (m measure) ratio() string {
	var parts []string
	for _, name := range slices.Sorted(maps.Keys(m.RatioTo)) {
		parts = append(parts, fmt.Sprintf("%.2f of %s", m.RatioTo[name], name))
	}
	if len(m.Ratios) > 0 {
		parts = append(parts, fmt.Sprintf("(%.2f to %.2f by round)", m.Ratios[0], m.Ratios[len(m.Ratios)-1]))
	}
	if len(parts) == 0 {
		return "-"
	}
	return strings.Join(parts, " ")
}

// amount is a value with its unit, memory in MiB.
func amount(value float64, unit string) string {
	if unit == "bytes" {
		return mebibytes(int64(value))
	}
	return fmt.Sprintf("%.0f %s", value, unit)
}

func mebibytes(n int64) string { return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20)) }
