// Package money keeps amounts as whole cents, whatever the database or the
// caller of the API thinks an amount looks like.
package money

import (
	"database/sql/driver"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
)

// Cents is an amount of euro cents.
type Cents int64

// Max is the largest amount a DECIMAL(10,2) column holds.
const Max Cents = 99_999_999_99

// ErrDecimals is what Parse answers when the text is no amount.
var ErrDecimals = errors.New("must be an amount with at most two decimals")

// ErrTooLarge is what Parse answers beyond Max.
var ErrTooLarge = errors.New("must be at most 99999999.99")

// Parse reads plain decimal text such as 12, 12.3, 12.30 or -5 exactly.
func Parse(text string) (Cents, error) {
	digits, negative := strings.CutPrefix(text, "-")
	whole, fraction, dotted := strings.Cut(digits, ".")
	if !allDigits(whole) || dotted && !allDigits(fraction) || len(fraction) > 2 {
		return 0, ErrDecimals
	}
	whole = strings.TrimLeft(whole, "0")
	if len(whole) > 8 {
		return 0, ErrTooLarge
	}
	n, err := strconv.ParseInt("0"+whole+fraction+"00"[len(fraction):], 10, 64)
	if err != nil {
		return 0, ErrDecimals
	}
	if negative {
		n = -n
	}
	return Cents(n), nil
}

func allDigits(s string) bool {
	for _, r := range s {
		if r < '0' || r > '9' {
			return false
		}
	}
	return s != ""
}

// String writes the amount with two decimals: 12.30.
func (c Cents) String() string {
	sign := ""
	if c < 0 {
		sign, c = "-", -c
	}
	return fmt.Sprintf("%s%d.%02d", sign, c/100, c%100)
}

// MarshalJSON writes the amount as a number without trailing zeros: 12.3.
func (c Cents) MarshalJSON() ([]byte, error) {
	return json.Marshal(float64(c) / 100)
}

// Value hands the database decimal text, which both dialects store exactly.
func (c Cents) Value() (driver.Value, error) { return c.String(), nil }

// Scan reads a decimal column, which SQLite may hold as an integer, as a
// floating-point number or as text.
func (c *Cents) Scan(value any) error {
	switch v := value.(type) {
	case int64:
		*c = Cents(v * 100)
	case float64:
		*c = Cents(math.Round(v * 100))
	case string:
		return c.scanText(v)
	case []byte:
		return c.scanText(string(v))
	default:
		return fmt.Errorf("an amount cannot be read from %T", value)
	}
	return nil
}

func (c *Cents) scanText(text string) error {
	parsed, err := Parse(text)
	if err != nil {
		return fmt.Errorf("amount %q in the database %w", text, err)
	}
	*c = parsed
	return nil
}
