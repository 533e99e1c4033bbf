package generator

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// most bounds digits, sizes and what an expression may repeat.
const most = 10_000

// exact is the largest integer up to which a float of 64 bits has them all.
const exact = 1 << 53

var (
	dataTypes = []string{"", "RAW", "STRING", "INTEGER", "FLOAT", "DECIMAL", "BOOLEAN"}
	uuidForms = []string{"", "simple", "lower-case-hyphenated", "upper-case-hyphenated", "URN"}
)

// check refuses a generator that could never make a value; the error says what
// is accepted.
func (g Generator) check() error {
	switch g.Kind {
	case RandomInt:
		low, high := g.bounds()
		if low > high {
			return fmt.Errorf("generator RandomInt: min %d is above max %d", low, high)
		}
		if low < -exact || high > exact {
			return fmt.Errorf("generator RandomInt: from %d to %d (accepted: within ±%d, which every reader of JSON keeps)", low, high, exact)
		}
	case RandomDecimal, RandomHexadecimal:
		return g.checkLength("digits", g.Digits)
	case RandomString:
		return g.checkLength("size", g.Size)
	case Regex:
		_, err := parseExpression(g.Regex)
		return err
	case UUID:
		if !slices.Contains(uuidForms, g.Format) {
			return fmt.Errorf("generator Uuid: format is %q (accepted: %s)", g.Format, strings.Join(uuidForms[1:], ", "))
		}
	case Date, Time, DateTime:
		return g.checkInstant()
	case ProviderState:
		if g.Expression == "" {
			return fmt.Errorf("generator ProviderState: needs an expression, such as ${id}")
		}
		if !slices.Contains(dataTypes, g.DataType) {
			return fmt.Errorf("generator ProviderState: dataType is %q (accepted: %s)", g.DataType, strings.Join(dataTypes[1:], ", "))
		}
	case MockServerURL:
		if _, err := regexp.Compile(g.Regex); err != nil {
			return fmt.Errorf("generator MockServerURL: %w (accepted are RE2 expressions)", err)
		}
	case RandomBoolean:
	case "":
		return fmt.Errorf("a generator has no \"type\" (accepted: %s)", names())
	default:
		return fmt.Errorf("unknown generator %q (accepted: %s)", g.Kind, names())
	}
	return nil
}

func (g Generator) checkLength(what string, n *int) error {
	if n != nil && (*n < 1 || *n > most) {
		return fmt.Errorf("generator %s: %s is %d (accepted: 1 to %d)", g.Kind, what, *n, most)
	}
	return nil
}

func names() string {
	var all []string
	for _, k := range Kinds() {
		all = append(all, string(k))
	}
	return strings.Join(all, ", ")
}

// bounds are RandomInt's.
func (g Generator) bounds() (low, high int) {
	high = 1<<31 - 1
	if g.Min != nil {
		low = *g.Min
	}
	if g.Max != nil {
		high = *g.Max
	}
	return low, high
}
