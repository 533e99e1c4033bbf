package match

import (
	"fmt"
	"regexp"
	"sync/atomic"
	"time"

	"github.com/dlclark/regexp2"
)

// pattern is an expression that must match a whole text.
//
// Pact's expressions are Java's, Ruby's or Oniguruma's. RE2 reads most of them
// and takes time linear in the text, so it is asked first; what it refuses
// (lookaround, backreferences) goes to a backtracking engine with a limit of
// time.
type pattern struct {
	linear       *regexp.Regexp
	backtracking *regexp2.Regexp
	late         atomic.Int32 // how often, one time after another, it took too long
}

// patience is how long a backtracking expression may look at one text. One
// that takes longer does not match, and the mismatch says so.
const patience = 100 * time.Millisecond

// tries is how many texts one after another an expression may take too long
// for. Then it is not tried any more, or a list of a thousand would take minutes.
const tries = 5

func newPattern(expression string) (*pattern, error) {
	whole := `\A(?:` + expression + `)\z`
	if _, err := regexp.Compile(expression); err == nil {
		linear, err := regexp.Compile(whole)
		return &pattern{linear: linear}, err
	}
	if _, err := regexp2.Compile(expression, regexp2.None); err != nil {
		return nil, fmt.Errorf("matcher regex: %w (accepted are RE2 expressions, and those of .NET with lookaround and backreferences)", err)
	}
	backtracking, err := regexp2.Compile(whole, regexp2.None)
	if err != nil {
		return nil, fmt.Errorf("matcher regex: %w", err)
	}
	backtracking.MatchTimeout = patience
	return &pattern{backtracking: backtracking}, nil
}

// matches reports whether the whole text matches; the error says that it could
// not be told in time.
func (p *pattern) matches(text string) (bool, error) {
	if p.linear != nil {
		return p.linear.MatchString(text), nil
	}
	if p.late.Load() >= tries {
		return false, fmt.Errorf("the expression took longer than %s for %d texts, and is not tried any more", patience, tries)
	}
	ok, err := p.backtracking.MatchString(text)
	if err != nil {
		p.late.Add(1)
		return false, fmt.Errorf("the expression took longer than %s", patience)
	}
	p.late.Store(0)
	return ok, nil
}

// group returns what the first group of the expression matched; the whole text
// if there is no group.
func (p *pattern) group(text string) (string, bool) {
	if p.linear != nil {
		groups := p.linear.FindStringSubmatch(text)
		return first(groups, text), groups != nil
	}
	if ok, err := p.matches(text); err != nil || !ok {
		return "", false
	}
	m, err := p.backtracking.FindStringMatch(text)
	if err != nil || m == nil {
		return "", false
	}
	groups := []string{m.String()}
	if g := m.GroupByNumber(1); g != nil && m.GroupCount() > 1 {
		groups = append(groups, g.String())
	}
	return first(groups, text), true
}

func first(groups []string, text string) string {
	if len(groups) > 1 {
		return groups[1]
	}
	return text
}
