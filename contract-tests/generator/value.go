package generator

import (
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Context is what generators need of the world.
type Context struct {
	Values map[string]any // what the provider states gave, by name; numbers are json.Number
	Now    time.Time
	Rand   *rand.Rand
	Base   string // of the target, such as http://127.0.0.1:9000, in place of the mock server's
}

// value makes a value: a string, a json.Number, a bool, or what a provider
// state gave.
func (g Generator) value(c Context) (any, error) {
	switch g.Kind {
	case RandomInt:
		low, high := g.bounds()
		return json.Number(strconv.Itoa(low + c.Rand.IntN(high-low+1))), nil
	case RandomDecimal:
		return decimal(c.Rand, length(g.Digits)), nil
	case RandomHexadecimal:
		return draw(c.Rand, "0123456789ABCDEF", length(g.Digits)), nil
	case RandomString:
		return draw(c.Rand, alphanumeric, length(g.Size)), nil
	case RandomBoolean:
		return c.Rand.IntN(2) == 1, nil
	case Regex:
		return fromExpression(c.Rand, g.Regex)
	case UUID:
		return uuid(c.Rand, g.Format), nil
	case Date, Time, DateTime:
		return g.instant(c.Now)
	case ProviderState:
		return g.fromState(c.Values)
	case MockServerURL:
		return g.address(c.Base)
	}
	return nil, g.check()
}

const alphanumeric = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

// length is how long a random text is if the file does not say.
func length(n *int) int {
	if n == nil {
		return 10
	}
	return *n
}

func draw(r *rand.Rand, alphabet string, n int) string {
	text := make([]byte, n)
	for i := range text {
		text[i] = alphabet[r.IntN(len(alphabet))]
	}
	return string(text)
}

// decimal is a number of n digits with a point somewhere between them; a single
// digit gets a zero behind the point, so that it is still a decimal.
func decimal(r *rand.Rand, n int) json.Number {
	if n == 1 {
		return json.Number(draw(r, "0123456789", 1) + ".0")
	}
	point := 1 + r.IntN(n-1)
	whole := draw(r, "123456789", 1) + draw(r, "0123456789", point-1)
	return json.Number(whole + "." + draw(r, "0123456789", n-point))
}

// uuid is a random one, version 4.
func uuid(r *rand.Rand, form string) string {
	high, low := r.Uint64()&^0xf000|0x4000, r.Uint64()&^(3<<62)|2<<62
	plain := fmt.Sprintf("%016x%016x", high, low)
	hyphenated := plain[:8] + "-" + plain[8:12] + "-" + plain[12:16] + "-" + plain[16:20] + "-" + plain[20:]
	switch form {
	case "simple":
		return plain
	case "upper-case-hyphenated":
		return strings.ToUpper(hyphenated)
	case "URN":
		return "urn:uuid:" + hyphenated
	}
	return hyphenated
}

var reference = regexp.MustCompile(`\$\{([^}]*)\}`)

// fromState fills in what provider states gave. A text without ${name} is a
// name itself.
func (g Generator) fromState(values map[string]any) (any, error) {
	text := g.Expression
	if !reference.MatchString(text) {
		text = "${" + text + "}"
	}
	if whole := reference.FindStringSubmatch(text); whole[0] == text {
		value, err := lookUp(values, whole[1])
		if err != nil {
			return nil, err
		}
		return cast(value, g.DataType)
	}
	filled, err := g.fill(values, plainText)
	if err != nil {
		return nil, err
	}
	return cast(filled, g.DataType)
}

// fill replaces each ${name} of the expression by its value, as write has it.
func (g Generator) fill(values map[string]any, write func(any) string) (string, error) {
	var missing error
	filled := reference.ReplaceAllStringFunc(g.Expression, func(found string) string {
		value, err := lookUp(values, reference.FindStringSubmatch(found)[1])
		if err != nil {
			missing = err
			return found
		}
		return write(value)
	})
	return filled, missing
}

func lookUp(values map[string]any, name string) (any, error) {
	name = strings.TrimSpace(name)
	value, ok := values[name]
	if !ok {
		return nil, fmt.Errorf("no provider state gave a value for ${%s} (given are: %s)", name, strings.Join(slices.Sorted(maps.Keys(values)), ", "))
	}
	return value, nil
}

// plainText is a value as it stands in a path, a header or a text.
func plainText(value any) string {
	switch v := value.(type) {
	case string:
		return v
	case nil:
		return ""
	}
	data, err := json.Marshal(value)
	if err != nil {
		return fmt.Sprint(value)
	}
	return string(data)
}

// cast makes of a value what the file asks for.
func cast(value any, dataType string) (any, error) {
	text := plainText(value)
	switch dataType {
	case "STRING":
		return text, nil
	case "INTEGER":
		if _, err := strconv.ParseInt(text, 10, 64); err == nil {
			return json.Number(text), nil
		}
	case "FLOAT", "DECIMAL":
		if _, err := strconv.ParseFloat(text, 64); err == nil && json.Valid([]byte(text)) {
			return json.Number(text), nil
		}
	case "BOOLEAN":
		if yes, err := strconv.ParseBool(strings.ToLower(text)); err == nil {
			return yes, nil
		}
	default:
		return value, nil
	}
	return nil, fmt.Errorf("a provider state gave %q, which is no %s", text, strings.ToLower(dataType))
}

// address is the example with the target in place of the mock server.
func (g Generator) address(base string) (string, error) {
	groups := regexp.MustCompile(g.Regex).FindStringSubmatch(g.Example)
	if len(groups) < 2 {
		return "", fmt.Errorf("generator MockServerURL: the example %q does not match %q with a group for the path", g.Example, g.Regex)
	}
	return strings.TrimSuffix(base, "/") + groups[1], nil
}
