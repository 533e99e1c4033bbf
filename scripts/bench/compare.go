package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"reflect"
	"slices"
	"strings"
	"time"

	"stranglerfig/contract-tests/compare"
	"stranglerfig/contract-tests/match"
)

// comparing is one case of the bench of the comparator: two answers, and how
// they are compared.
type comparing struct {
	name             string
	expected, actual compare.Message
	rules            match.Rules
	mode             compare.Mode
	found            int     // differences there are
	target           float64 // comparisons a second and core there should be, 0 for none
	plain            bool    // also compare as one would without a comparator
}

// plainly names what a case is held against: both bodies decoded by
// encoding/json and held against each other by reflect, without any rule.
const plainly = "json+reflect"

// comparisons runs the bench of the comparator.
func comparisons(ctx context.Context, args []string, out, errs io.Writer) error {
	flags := flag.NewFlagSet("compare", flag.ContinueOnError)
	flags.SetOutput(errs)
	rounds := flags.Int("rounds", 5, "timed rounds of each case")
	each := flags.Duration("each", 300*time.Millisecond, "how long a round lasts")
	asJSON := flags.Bool("json", false, "print one JSON object a line")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if flags.NArg() > 0 || *rounds < 1 || *each < 10*time.Millisecond {
		return errors.New("compare takes no arguments, --rounds of at least 1 and --each of at least 10ms")
	}
	cases, err := comparingCases()
	if err != nil {
		return err
	}
	measures, err := measureComparisons(ctx, cases, *rounds, *each)
	if err != nil {
		return err
	}
	live, slow := measureLive(*rounds, *each)
	measures = append(measures, live...)
	if *asJSON {
		err = printJSON(out, measures)
	} else {
		err = printTableOf(out, "bytes", measures)
	}
	return errors.Join(err, belowTarget(cases, measures), slow)
}

// comparingCases makes the cases up. Bodies have about 2 KB.
func comparingCases() ([]comparing, error) {
	one, other := invoicesJSON(0), invoicesJSON(1)
	rules, err := fiftyRules("$.invoices[*].%s")
	if err != nil {
		return nil, err
	}
	noisy, err := fiftyRules("$.page.invoices.invoice['@%s']")
	if err != nil {
		return nil, err
	}
	last := []byte(strings.Replace(string(other), `"page":1`, `"page":2`, 1))
	return []comparing{
		{name: "equal bytes", expected: answerOf("application/json", one), actual: answerOf("application/json", one), mode: compare.Exact, target: 300_000, plain: true},
		{name: "JSON, 50 rules, within them", expected: answerOf("application/json", one), actual: answerOf("application/json", other), rules: rules, mode: compare.Exact, target: 20_000},
		{name: "JSON, 50 rules, differs", expected: answerOf("application/json", one), actual: answerOf("application/json", last), rules: rules, mode: compare.Exact, found: 1, target: 20_000, plain: true},
		{name: "JSON, 50 rules, an example", expected: answerOf("application/json", one), actual: answerOf("application/json", last), rules: rules, found: 1, target: 20_000},
		{name: "JSON, no rules, differs", expected: answerOf("application/json", one), actual: answerOf("application/json", other), mode: compare.Exact, found: 1 + compare.DefaultLimit, plain: true},
		{name: "XML, 50 rules, differs", expected: answerOf("application/xml", invoicesXML(0)), actual: answerOf("application/xml", invoicesXML(1)), rules: noisy, mode: compare.Exact, found: 1},
		{name: "HTML, differs", expected: answerOf("text/html", invoicesHTML(0)), actual: answerOf("text/html", invoicesHTML(1)), mode: compare.Exact, found: 1},
	}, nil
}

func answerOf(media string, body []byte) compare.Message {
	return compare.Message{Status: 200, Body: body, Header: map[string][]string{
		"Content-Type": {media}, "Cache-Control": {"no-store"}, "Etag": {`"5f2c"`}, "Date": {"Thu, 01 Jan 2026 00:00:00 GMT"},
		"Vary": {"Accept-Encoding"}, "X-Request-Id": {"b0e1"}, "Server": {"shop"},
	}}
}

// fields of an invoice that a rule lets differ.
var fields = []string{"id", "number", "customer", "amount", "due", "note"}

// fiftyRules lets the fields of invoices differ, and speaks of others that no
// invoice has, as the rules of a large contract do.
func fiftyRules(format string) (match.Rules, error) {
	var rules match.Rules
	kinds := map[string]match.Matcher{
		"id": {Kind: match.Regex, Value: `\d+`}, "number": {Kind: match.Regex, Value: `INV-\d{6}`},
		"amount": {Kind: match.Regex, Value: `\d+\.\d\d`}, "due": {Kind: match.Date}, "customer": {Kind: match.Type}, "note": {Kind: match.Include, Value: "n"},
	}
	for i := range 50 {
		name, m := fmt.Sprintf("field%d", i), match.Matcher{Kind: match.Type}
		if i < len(fields) {
			name, m = fields[i], kinds[fields[i]]
		}
		path, err := match.ParsePath(fmt.Sprintf(format, name))
		if err != nil {
			return rules, err
		}
		if m, err = match.New(m); err != nil {
			return rules, err
		}
		rules = rules.WithBody(path, m)
	}
	return rules, nil
}

// invoicesJSON is a page of invoices; another seed makes other values in every
// field that a rule covers.
func invoicesJSON(seed int) []byte {
	var lines []string
	for i := range 17 {
		lines = append(lines, fmt.Sprintf(`{"id":%d,"number":"INV-%06d","customer":"Ada %d","amount":%d.%02d,"due":"2026-01-%02d","note":"n%d","state":"open"}`,
			i+100*seed, i+1000*seed, seed, i+seed, i, 1+i+seed, seed))
	}
	return []byte(`{"page":1,"invoices":[` + strings.Join(lines, ",") + `]}`)
}

// invoicesXML is the same in XML; with another seed one text differs as well.
func invoicesXML(seed int) []byte {
	var b strings.Builder
	fmt.Fprintf(&b, `<?xml version="1.0" encoding="UTF-8"?><page n="1"><total>%d</total><invoices>`, seed)
	for i := range 17 {
		fmt.Fprintf(&b, `<invoice id="%d" number="INV-%06d" customer="Ada %d" amount="%d.%02d" due="2026-01-%02d" note="n%d"><state>open</state></invoice>`,
			i+100*seed, i+1000*seed, seed, i+seed, i, 1+i+seed, seed)
	}
	b.WriteString(`</invoices></page>`)
	return []byte(b.String())
}

// invoicesHTML is a table of them; with another seed its heading differs.
func invoicesHTML(seed int) []byte {
	var b strings.Builder
	fmt.Fprintf(&b, "<!doctype html>\n<html><head><title>Invoices</title></head><body>\n<h1>Page %d</h1>\n<table>\n", seed)
	for i := range 17 {
		fmt.Fprintf(&b, "<tr class=\"open %d\"><td>%d</td><td>INV-%06d</td><td>Ada</td><td>%d.00</td><td>2026-01-02</td></tr>\n", i, i, i, i)
	}
	b.WriteString("</table></body></html>\n")
	return []byte(b.String())
}

// measureComparisons lets the cases take turns.
func measureComparisons(ctx context.Context, cases []comparing, rounds int, each time.Duration) ([]measure, error) {
	rates, plain := make([][]float64, len(cases)), make([][]float64, len(cases))
	for range rounds {
		for i, c := range cases {
			if err := ctx.Err(); err != nil {
				return nil, err
			}
			rate, err := perSecond(each, c.once)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", c.name, err)
			}
			rates[i] = append(rates[i], rate)
			if !c.plain {
				continue
			}
			if rate, err = perSecond(each, c.plainly); err != nil {
				return nil, fmt.Errorf("%s: %w", c.name, err)
			}
			plain[i] = append(plain[i], rate)
		}
	}
	var all []measure
	for i, c := range cases {
		m := spread(c.name, ours, "/s", len(c.expected.Body), rates[i])
		m.RatioTo = map[string]float64{}
		if c.target > 0 {
			m.RatioTo["the target"] = m.Value / c.target
		}
		if c.plain {
			m.RatioTo[plainly] = m.Value / median(plain[i])
			all = append(all, m, spread(c.name, plainly, "/s", len(c.expected.Body), plain[i]))
			continue
		}
		all = append(all, m)
	}
	return all, nil
}

// once compares, and makes sure that what is measured is what is meant.
func (c comparing) once() error {
	if found := compare.Responses(c.expected, c.actual, c.rules, compare.Options{Mode: c.mode}); len(found) != c.found {
		return fmt.Errorf("%d differences, and not %d: %v", len(found), c.found, found)
	}
	return nil
}

// plainly compares the bodies alone.
func (c comparing) plainly() error {
	var expected, actual any
	if err := errors.Join(json.Unmarshal(c.expected.Body, &expected), json.Unmarshal(c.actual.Body, &actual)); err != nil {
		return err
	}
	if reflect.DeepEqual(expected, actual) != (c.found == 0) {
		return errors.New("reflect is of another opinion")
	}
	return nil
}

// perSecond is how often something can be done in a second of processor time,
// that of the garbage it leaves included: what else the machine does does not
// count.
func perSecond(each time.Duration, do func() error) (float64, error) {
	begun, before := time.Now(), processorTime()
	n := 0
	for time.Since(begun) < each {
		for range 100 {
			if err := do(); err != nil {
				return 0, err
			}
		}
		n += 100
	}
	return float64(n) / (processorTime() - before).Seconds(), nil
}

// belowTarget says which cases are slower than they should be.
func belowTarget(cases []comparing, measures []measure) error {
	var problems []error
	for _, c := range cases {
		at := slices.IndexFunc(measures, func(m measure) bool { return m.Case == c.name && m.Name == ours })
		if m := measures[at]; m.Value < c.target {
			problems = append(problems, fmt.Errorf("%s: %.0f comparisons a second and core, and there should be %.0f", c.name, m.Value, c.target))
		}
	}
	return errors.Join(problems...)
}
