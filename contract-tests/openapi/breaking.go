package openapi

import (
	"fmt"
	"slices"
	"strings"

	"github.com/oasdiff/oasdiff/checker"
	"github.com/oasdiff/oasdiff/diff"
	"github.com/oasdiff/oasdiff/load"
)

// Change is one thing that is different in a later description.
type Change struct {
	Level     string `json:"level"` // Breaks, MayBreak or Harmless
	Operation string `json:"operation,omitempty"`
	ID        string `json:"id"` // of the sort of change
	Text      string `json:"text"`
}

// The levels of a change.
const (
	Breaks   = "breaks"    // clients that relied on the earlier description fail
	MayBreak = "may-break" // clients may fail, and the description cannot tell
	Harmless = "harmless"
)

// String is the change on one line.
func (c Change) String() string {
	if c.Operation == "" {
		return c.Level + ": " + c.Text
	}
	return c.Level + ": " + c.Operation + ": " + c.Text
}

// Breaking compares two descriptions and lists every change, the breaking ones
// first. What breaks is decided by the checks of oasdiff.
func Breaking(old, later *Description) ([]Change, error) {
	config := diff.NewConfig()
	found, sources, err := diff.GetWithOperationsSourcesMap(config,
		&load.SpecInfo{Url: old.path, Spec: old.doc}, &load.SpecInfo{Url: later.path, Spec: later.doc})
	if err != nil {
		return nil, fmt.Errorf("compare descriptions: %w", err)
	}
	say := checker.NewLocalizer("en")
	var changes []Change
	for _, c := range checker.CheckBackwardCompatibilityUntilLevel(checker.NewConfig(checker.GetAllChecks()), found, sources, checker.INFO) {
		changes = append(changes, Change{Level: level(c.GetLevel()), Operation: strings.TrimSpace(c.GetOperation() + " " + c.GetPath()),
			ID: c.GetId(), Text: c.GetUncolorizedText(say)})
	}
	order := []string{Breaks, MayBreak, Harmless}
	slices.SortStableFunc(changes, func(a, b Change) int {
		if d := slices.Index(order, a.Level) - slices.Index(order, b.Level); d != 0 {
			return d
		}
		return strings.Compare(a.String(), b.String())
	})
	return changes, nil
}

func level(l checker.Level) string {
	switch l {
	case checker.ERR:
		return Breaks
	case checker.WARN:
		return MayBreak
	}
	return Harmless
}
