package evidence

import (
	"encoding/json"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"stranglerfig/contract-tests/compare"
	"stranglerfig/contract-tests/verify"
)

// Cleaner takes secrets out of what is kept or shown, see tape.Redactor.
type Cleaner interface {
	// Value cleans a value that stands under a name.
	Value(name, value string) string
	// Text cleans a text, of JSON by the names of its members.
	Text(text string) string
}

// Details are what evidence of kind contract keeps of a verification: how many
// interactions had which verdict, and the report.
type Details struct {
	Verdicts map[verify.Verdict]int `json:"verdicts"`
	Report   verify.Report          `json:"report"`
}

// ContractDetails are the details of a report, cleaned, with as many of its
// differences as a reader looks at and without the answers.
func ContractDetails(r verify.Report, clean Cleaner) (json.RawMessage, error) {
	r = Clean(r.Brief(), clean)
	for n, i := range r.Interactions {
		r.Interactions[n].Parity, r.Interactions[n].Effects = first(i.Parity), first(i.Effects)
		for k, result := range i.Results {
			i.Results[k].Differences = first(result.Differences)
		}
	}
	return json.Marshal(Details{Verdicts: r.Verdicts(), Report: r})
}

// Clean returns a report without secrets in what it quotes of the sides'
// answers.
func Clean(r verify.Report, clean Cleaner) verify.Report {
	interactions := make([]verify.Interaction, len(r.Interactions))
	for n, i := range r.Interactions {
		i.Request, i.Reason = clean.Text(i.Request), clean.Text(i.Reason)
		i.Parity, i.Effects = cleaned(i.Parity, clean), cleaned(i.Effects, clean)
		i.Example = cleanExhibit(i.Example, clean)
		results := make([]verify.Result, len(i.Results))
		for k, result := range i.Results {
			result.Error, result.Sent = clean.Text(result.Error), clean.Value("", result.Sent)
			result.Differences = cleaned(result.Differences, clean)
			result.Answer = cleanExhibit(result.Answer, clean)
			results[k] = result
		}
		i.Results = results
		interactions[n] = i
	}
	r.Interactions = interactions
	return r
}

func cleanExhibit(e *verify.Exhibit, clean Cleaner) *verify.Exhibit {
	if e == nil {
		return nil
	}
	c := *e
	c.Header, c.Body = cleanFields(e.Header, clean), clean.Text(e.Body)
	return &c
}

// kept bounds how many differences of one answer are kept.
const kept = 10

// first cuts a list of differences and counts the rest.
func first(list []compare.Difference) []compare.Difference {
	if len(list) <= kept {
		return list
	}
	return append(slices.Clone(list[:kept]), compare.Difference{Kind: compare.More, Actual: strconv.Itoa(len(list) - kept)})
}

var lastName = regexp.MustCompile(`([^.\[\]'"]+)['"\]]*(?:\[[\d*]+\])*$`)

// placeName is the last name of a difference's path.
func placeName(path string) string {
	if found := lastName.FindStringSubmatch(path); found != nil {
		return found[1]
	}
	return ""
}

// cleaned cleans the values of differences: by the name of their place, such as
// $.body.user.password, else by their looks.
func cleaned(list []compare.Difference, clean Cleaner) []compare.Difference {
	out := make([]compare.Difference, len(list))
	for n, d := range list {
		name := placeName(d.Path)
		d.Path = clean.Text(d.Path)
		d.Expected, d.Actual = quoted(d.Expected, name, clean), quoted(d.Actual, name, clean)
		out[n] = d
	}
	return out
}

// quoted cleans a value that may be a JSON text or document. A text may hold a
// document as well, whose members' names tell what is secret; and it may have
// been cut, so that its last quote is missing.
func quoted(value, name string, clean Cleaner) string {
	if text, whole := unquoted(value); whole {
		return inQuotes(clean.Value(name, clean.Text(text)))
	} else if text != "" {
		return strings.TrimSuffix(inQuotes(clean.Value(name, clean.Text(text))), `"`) + ellipsis
	}
	return clean.Value(name, clean.Text(value))
}

// inQuotes is a text as JSON has it, but for what JSON escapes only for the sake
// of pages: they escape by themselves, and terminals show it as it is.
func inQuotes(text string) string {
	var b strings.Builder
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if e.Encode(text) != nil {
		return text // texts can always be encoded
	}
	return strings.TrimSuffix(b.String(), "\n")
}

// ellipsis ends a value that was cut.
const ellipsis = "…"

// unquoted returns the text of a JSON text, and whether it is whole. Of one that
// was cut it returns what is left, without an escape that was cut in two.
func unquoted(value string) (text string, whole bool) {
	if !strings.HasPrefix(value, `"`) {
		return "", false
	}
	if json.Unmarshal([]byte(value), &text) == nil {
		return text, true
	}
	left, cut := strings.CutSuffix(value, ellipsis)
	for range len(`\u0000`) {
		if cut && json.Unmarshal([]byte(left+`"`), &text) == nil {
			return text, false
		}
		left = left[:max(len(left)-1, 0)]
	}
	return "", false
}
