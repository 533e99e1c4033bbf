package generator

import (
	"fmt"
	"math/rand/v2"
	"regexp/syntax"
	"strings"
)

// parseExpression reads a regular expression to make texts from.
func parseExpression(text string) (*syntax.Regexp, error) {
	parsed, err := syntax.Parse(text, syntax.Perl)
	if err != nil {
		return nil, fmt.Errorf("generator Regex: %w (accepted are RE2 expressions, which have no lookaround and no backreferences)", err)
	}
	return parsed.Simplify(), nil
}

// fromExpression makes a text that the whole expression matches. What may
// repeat without end does so up to four times more than it must.
func fromExpression(r *rand.Rand, text string) (string, error) {
	parsed, err := parseExpression(text)
	if err != nil {
		return "", err
	}
	var b strings.Builder
	if err := compose(&b, r, parsed); err != nil {
		return "", fmt.Errorf("generator Regex %q: %w", text, err)
	}
	return b.String(), nil
}

// endless is how often more a part repeats that need not end.
const endless = 4

func compose(b *strings.Builder, r *rand.Rand, re *syntax.Regexp) error {
	if b.Len() > most {
		return fmt.Errorf("makes texts longer than %d bytes", most)
	}
	switch re.Op {
	case syntax.OpLiteral:
		b.WriteString(string(re.Rune))
	case syntax.OpCharClass:
		c, ok := pick(r, re.Rune)
		if !ok {
			return fmt.Errorf("no character fits %s", re)
		}
		b.WriteRune(c)
	case syntax.OpAnyChar, syntax.OpAnyCharNotNL:
		b.WriteByte(alphanumeric[r.IntN(len(alphanumeric))])
	case syntax.OpCapture:
		return compose(b, r, re.Sub[0])
	case syntax.OpStar:
		return repeat(b, r, re.Sub[0], r.IntN(endless+1))
	case syntax.OpPlus:
		return repeat(b, r, re.Sub[0], 1+r.IntN(endless))
	case syntax.OpQuest:
		return repeat(b, r, re.Sub[0], r.IntN(2))
	case syntax.OpConcat:
		for _, part := range re.Sub {
			if err := compose(b, r, part); err != nil {
				return err
			}
		}
	case syntax.OpAlternate:
		return compose(b, r, re.Sub[r.IntN(len(re.Sub))])
	case syntax.OpEmptyMatch, syntax.OpBeginLine, syntax.OpEndLine, syntax.OpBeginText, syntax.OpEndText:
	default:
		return fmt.Errorf("%s cannot be made, only recognised", re)
	}
	return nil
}

func repeat(b *strings.Builder, r *rand.Rand, re *syntax.Regexp, times int) error {
	for range times {
		if err := compose(b, r, re); err != nil {
			return err
		}
	}
	return nil
}

// pick takes a character of a class, which is a list of pairs of first and
// last: a printable one of ASCII if there is one.
func pick(r *rand.Rand, class []rune) (rune, bool) {
	if c, ok := pickWithin(r, class, ' ', '~'); ok {
		return c, true
	}
	return pickWithin(r, class, 0, 0x10ffff)
}

func pickWithin(r *rand.Rand, class []rune, low, high rune) (rune, bool) {
	total := 0
	for i := 0; i+1 < len(class); i += 2 {
		total += max(0, int(min(class[i+1], high)-max(class[i], low))+1)
	}
	if total == 0 {
		return 0, false
	}
	n := r.IntN(total)
	for i := 0; i+1 < len(class); i += 2 {
		first := max(class[i], low)
		size := max(0, int(min(class[i+1], high)-first)+1)
		if n < size {
			return first + rune(n), true
		}
		n -= size
	}
	return 0, false
}
