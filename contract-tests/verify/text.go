package verify

import (
	"bytes"
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode"

	"stranglerfig/contract-tests/compare"
)

// Meaning tells in a phrase what a verdict says, empty where it says it itself.
func (v Verdict) Meaning() string { return meaning[v] }

var meaning = map[Verdict]string{
	ServiceBug:    "the service does not honour the contract",
	ContractWrong: "the monolith itself does not honour the contract: correct it, or sign the change off",
	Stale:         "no side honours the contract: record it anew, or set up its state",
	Differs:       "every side honours the contract, but their answers differ",
	Unreachable:   "a side gave no answer",
	Unauthorized:  "the request was not let in, which tells of its credentials and not of the sides",
}

// Text writes the report for people: a line for each interaction, and under
// those that are no evidence, why.
func (r Report) Text(w io.Writer) error {
	var b strings.Builder
	fmt.Fprintf(&b, "%s relies on %s, verified on %s\n\n", r.Consumer, r.Provider, strings.Join(r.Targets, ", "))
	for _, i := range r.Interactions {
		i.text(&b)
	}
	fmt.Fprintf(&b, "\n%s: %d passed, %d failed, %d pending, %d unreachable, %d unauthorized, %d not exercised\n",
		r.Verdict, r.Passed, r.Failed, r.Pending, r.Unreachable, r.Unauthorized, r.NotExercised)
	if r.Verdict == Insufficient {
		fmt.Fprintf(&b, "%s\n", r.Lacks())
	}
	for _, target := range r.ShutOut() {
		fmt.Fprintf(&b, "every answer of the %s that failed is 401 or 403: the requests may lack credentials for it\n", target)
	}
	if r.Seed != 0 {
		fmt.Fprintf(&b, "generators drew from the seed %d\n", r.Seed)
	}
	_, err := io.WriteString(w, strings.Map(harmless, b.String()))
	return err
}

// Lacks says why a run that is insufficient could not judge.
func (r Report) Lacks() string {
	all := len(r.Interactions)
	switch {
	case r.Unreachable > 0:
		return fmt.Sprintf("%d of %d interactions got no answer", r.Unreachable, all)
	case r.Unauthorized > 0:
		return fmt.Sprintf("%d of %d interactions were not let in (401 or 403): their requests lack credentials", r.Unauthorized, all)
	case r.Pending > 0:
		return fmt.Sprintf("none of %d interactions passed, and %d are pending, which are held against nobody", all, r.Pending)
	}
	return fmt.Sprintf("none of %d interactions was exercised", all)
}

// ShutOut lists the targets that failed, and always by letting nobody in.
func (r Report) ShutOut() []string {
	return slices.DeleteFunc(slices.Clone(r.Targets), func(target string) bool {
		failed, refused := 0, 0
		for _, i := range r.Interactions {
			for _, result := range i.Results {
				if result.Target != target || result.Honours() {
					continue
				}
				failed++
				if turnsAway(result.Status) {
					refused++
				}
			}
		}
		return failed == 0 || refused < failed
	})
}

// harmless replaces what would steer a terminal: the report quotes what others
// wrote and what sides answered.
func harmless(c rune) rune {
	if unicode.IsControl(c) && c != '\n' || turnsAround(c) {
		return unicode.ReplacementChar
	}
	return c
}

// turnsAround reports characters that are not seen and make others stand in
// another order than they are read in: with one, a value looks like another.
func turnsAround(c rune) bool {
	return c == '\u061c' || c == '\u200e' || c == '\u200f' || c >= '\u202a' && c <= '\u202e' || c >= '\u2066' && c <= '\u2069'
}

// Visible writes such characters as \u202e, for pages that quote what others
// wrote.
func Visible(page []byte) []byte {
	if !bytes.ContainsFunc(page, turnsAround) {
		return page
	}
	var b bytes.Buffer
	for _, c := range string(page) {
		if turnsAround(c) {
			fmt.Fprintf(&b, `\u%04x`, c)
		} else {
			b.WriteRune(c)
		}
	}
	return b.Bytes()
}

// line is a text on one line, so that it cannot pass for another interaction.
func line(text string) string { return strings.ReplaceAll(text, "\n", " ") }

func (i Interaction) text(b *strings.Builder) {
	pending := ""
	if i.Pending {
		pending = " (pending)"
	}
	fmt.Fprintf(b, "%-14s %s: %s%s\n", i.Verdict, line(i.Request), line(i.Description), pending)
	if why := i.Verdict.Meaning(); why != "" {
		fmt.Fprintf(b, "  %s\n", why)
	}
	if i.Reason != "" {
		fmt.Fprintf(b, "  %s\n", i.Reason)
	}
	for _, r := range i.Results {
		if r.Error != "" {
			fmt.Fprintf(b, "  %s: %s\n", r.Target, strings.ReplaceAll(r.Error, "\n", "\n    "))
		}
		differences(b, r.Target, r.Differences)
	}
	differences(b, "between the sides", i.Parity)
	differences(b, "in the databases", i.Effects)
}

func differences(b *strings.Builder, who string, list []compare.Difference) {
	for _, d := range list {
		if d.Kind == compare.More {
			fmt.Fprintf(b, "  %s: %s more differences\n", who, d.Actual)
			continue
		}
		fmt.Fprintf(b, "  %s: %s\n", who, d)
	}
}
