package main

import (
	"bytes"
	"io"
	"strings"
	"testing"
)

// TestEveryCaseOfTheComparatorIsWhatItIsSaidToBe, and has 2 KB.
func TestEveryCaseOfTheComparatorIsWhatItIsSaidToBe(t *testing.T) {
	cases, err := comparingCases()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range cases {
		if err := c.once(); err != nil {
			t.Errorf("%s: %v", c.name, err)
		}
		if c.plain && c.plainly() != nil {
			t.Errorf("%s: %v", c.name, c.plainly())
		}
		if n := len(c.expected.Body); n < 1700 || n > 2300 {
			t.Errorf("%s: %d bytes", c.name, n)
		}
		if rules := len(c.rules.Body()); rules != 0 && rules != 50 {
			t.Errorf("%s: %d rules", c.name, rules)
		}
	}
}

func TestTheBenchOfTheComparatorPrintsEachCaseAndItsTarget(t *testing.T) {
	var out bytes.Buffer
	// Whether the targets are met is for a run that lasts longer.
	if err := comparisons(t.Context(), []string{"--rounds", "1", "--each", "10ms"}, &out, io.Discard); err != nil && !strings.Contains(err.Error(), "target") && !strings.Contains(err.Error(), "there should be") {
		t.Fatal(err)
	}
	for _, want := range []string{"equal bytes", "JSON, 50 rules, differs", "of the target", "of json+reflect", "XML", "HTML", sampled, unsampled} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in\n%s", want, out.String())
		}
	}
}

func TestACaseBelowItsTargetIsNamed(t *testing.T) {
	cases := []comparing{{name: "fast", target: 100}, {name: "slow", target: 100}}
	measures := []measure{single("fast", ours, "/s", 1, 100), single("slow", plainly, "/s", 1, 500), single("slow", ours, "/s", 1, 99)}
	err := belowTarget(cases, measures)
	if err == nil || !strings.Contains(err.Error(), "slow: 99") || strings.Contains(err.Error(), "fast") {
		t.Errorf("%v", err)
	}
}
