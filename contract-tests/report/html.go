package report

import (
	"bytes"
	_ "embed"
	"fmt"
	"html/template"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"stranglerfig/contract-tests/compare"
	"stranglerfig/contract-tests/verify"
)

//go:embed page.html
var pageText string

// page is what the template shows.
type page struct {
	Run
	When         string
	Counts       []count
	Interactions []shown
}

type count struct {
	Name string
	N    int
}

type shown struct {
	verify.Interaction
	Brief       string // the beginning of a long description, "" of others
	Meaning     string
	Errors      []string
	Differences []placed
	Pairs       []pair
	Open        bool
}

// placed is a difference and whose it is.
type placed struct {
	Who string
	compare.Difference
}

// pair is two messages side by side.
type pair struct {
	Left, Right string
	Rows        []Row
	Unaligned   bool
}

// HTML writes a run as one page: no scripts, nothing loaded from elsewhere.
func HTML(w io.Writer, r Run) error {
	p := page{Run: r, When: r.At.Local().Format(time.DateTime)}
	p.Counts = []count{{"evidence", r.Report.Passed}, {"failed", r.Report.Failed}, {"pending", r.Report.Pending},
		{"unreachable", r.Report.Unreachable}, {"unauthorized", r.Report.Unauthorized}, {"not exercised", r.Report.NotExercised}}
	for _, i := range r.Report.Interactions {
		p.Interactions = append(p.Interactions, show(i))
	}
	t, err := template.New("page").Parse(pageText)
	if err != nil {
		return fmt.Errorf("the page's template: %w", err)
	}
	var b bytes.Buffer
	if err := t.Execute(&b, p); err != nil {
		return fmt.Errorf("write the page: %w", err)
	}
	_, err = w.Write(verify.Visible(b.Bytes()))
	return err
}

func show(i verify.Interaction) shown {
	s := shown{Interaction: i, Brief: beginning(i.Description), Meaning: i.Verdict.Meaning(), Open: i.Verdict != verify.Evidence && i.Verdict != verify.NotExercised}
	for _, r := range i.Results {
		if r.Error != "" {
			s.Errors = append(s.Errors, r.Target+": "+r.Error)
		}
		for _, d := range r.Differences {
			s.Differences = append(s.Differences, placed{r.Target, d})
		}
		if len(r.Differences) > 0 && r.Answer != nil && i.Example != nil {
			names := slices.Sorted(maps.Keys(i.Example.Header))
			s.Pairs = append(s.Pairs, beside("the contract", i.Example, r.Target, r.Answer, names, r.Differences))
		}
	}
	for _, d := range i.Parity {
		s.Differences = append(s.Differences, placed{"between the sides", d})
	}
	for _, d := range i.Effects {
		s.Differences = append(s.Differences, placed{"in the databases", d})
	}
	if len(i.Parity) > 0 && len(i.Results) > 1 && i.Results[0].Answer != nil {
		for _, r := range i.Results[1:] {
			if r.Answer != nil {
				s.Pairs = append(s.Pairs, beside(i.Results[0].Target, i.Results[0].Answer, r.Target, r.Answer, told(i.Parity), i.Parity))
			}
		}
	}
	return s
}

// headline is how much of a description stands in the line that is always seen,
// in bytes.
const headline = 200

func beginning(text string) string {
	if len(text) <= headline {
		return ""
	}
	return strings.ToValidUTF8(text[:headline], "") + "…"
}

// told are the names of headers in which the sides differ, and the type.
func told(differences []compare.Difference) []string {
	names := []string{"Content-Type"}
	for _, d := range differences {
		if name, ok := strings.CutPrefix(d.Path, "$.header."); ok && !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return names
}

func beside(leftName string, left *verify.Exhibit, rightName string, right *verify.Exhibit, headers []string, differences []compare.Difference) pair {
	l, r := lines(left, headers), lines(right, headers)
	return pair{Left: leftName, Right: rightName, Rows: align(l, r, differences), Unaligned: max(len(l), len(r)) > longest}
}
