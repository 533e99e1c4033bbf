package report

import (
	"encoding/xml"
	"fmt"
	"io"
	"strings"
	"time"

	"stranglerfig/contract-tests/compare"
	"stranglerfig/contract-tests/verify"
)

// The elements are those that the machines agree on: Jenkins' and the Maven
// Surefire plugin's.
type (
	junitSuites struct {
		XMLName xml.Name `xml:"testsuites"`
		Suite   junitSuite
	}
	junitSuite struct {
		XMLName  xml.Name    `xml:"testsuite"`
		Name     string      `xml:"name,attr"`
		Tests    int         `xml:"tests,attr"`
		Failures int         `xml:"failures,attr"`
		Errors   int         `xml:"errors,attr"`
		Skipped  int         `xml:"skipped,attr"`
		At       string      `xml:"timestamp,attr"`
		Cases    []junitCase `xml:"testcase"`
	}
	junitCase struct {
		Class   string      `xml:"classname,attr"`
		Name    string      `xml:"name,attr"`
		Failure *junitCause `xml:"failure"`
		Error   *junitCause `xml:"error"`
		Skipped *junitCause `xml:"skipped"`
	}
	junitCause struct {
		Type    string `xml:"type,attr,omitempty"`
		Message string `xml:"message,attr"`
		Text    string `xml:",chardata"`
	}
)

// JUnit writes a run as JUnit's XML, a test case for each interaction: one that
// a side could not be reached for, or that was not let in, is an error, one that was not exercised or is
// pending is skipped.
func JUnit(w io.Writer, r Run) error {
	s := junitSuite{Name: "contract of " + r.Capability, At: r.At.UTC().Format(time.RFC3339)}
	for _, i := range r.Report.Interactions {
		c := caseOf(r, i)
		s.Tests++
		switch {
		case c.Failure != nil:
			s.Failures++
		case c.Error != nil:
			s.Errors++
		case c.Skipped != nil:
			s.Skipped++
		}
		s.Cases = append(s.Cases, c)
	}
	if _, err := io.WriteString(w, xml.Header); err != nil {
		return fmt.Errorf("write JUnit: %w", err)
	}
	e := xml.NewEncoder(w)
	e.Indent("", "  ")
	if err := e.Encode(junitSuites{Suite: s}); err != nil {
		return fmt.Errorf("write JUnit: %w", err)
	}
	_, err := io.WriteString(w, "\n")
	return err
}

func caseOf(r Run, i verify.Interaction) junitCase {
	c := junitCase{Class: i.Route, Name: i.Description}
	if c.Class == "" {
		c.Class = i.Request
	}
	if c.Name == "" {
		c.Name = i.Key
	}
	cause := &junitCause{Type: string(i.Verdict), Message: i.Verdict.Meaning(), Text: because(i)}
	switch {
	case i.Verdict == verify.Evidence:
	case i.Verdict == verify.NotExercised:
		c.Skipped = &junitCause{Message: i.Reason}
	case i.Pending:
		c.Skipped = &junitCause{Message: "pending: " + string(i.Verdict) + ": " + cause.Message}
	case i.Verdict == verify.Unreachable, i.Verdict == verify.Unauthorized:
		c.Error = cause
	default:
		c.Failure = cause
	}
	return c
}

// because lists what is wrong, a line for each.
func because(i verify.Interaction) string {
	var b strings.Builder
	tell := func(who string, list []compare.Difference) {
		for _, d := range list {
			fmt.Fprintf(&b, "%s: %s\n", who, d)
		}
	}
	for _, r := range i.Results {
		if r.Error != "" {
			fmt.Fprintf(&b, "%s: %s\n", r.Target, r.Error)
		}
		tell(r.Target, r.Differences)
	}
	tell("between the sides", i.Parity)
	tell("in the databases", i.Effects)
	return b.String()
}
