package money_test

import (
	"encoding/json"
	"errors"
	"testing"

	"stranglerfig/extracted/catalog/money"
)

func TestAmountsAreReadExactly(t *testing.T) {
	for text, want := range map[string]money.Cents{
		"0": 0, "12": 1200, "12.3": 1230, "12.30": 1230, "0.05": 5, "-5.01": -501, "007": 700, "99999999.99": money.Max,
	} {
		if got, err := money.Parse(text); err != nil || got != want {
			t.Errorf("Parse(%q) = %d, %v; want %d", text, got, err, want)
		}
	}
}

func TestWhatIsNoAmountIsRefused(t *testing.T) {
	for text, want := range map[string]error{
		"": money.ErrDecimals, ".5": money.ErrDecimals, "5.": money.ErrDecimals, "1.234": money.ErrDecimals,
		"1e2": money.ErrDecimals, "+1": money.ErrDecimals, "--1": money.ErrDecimals, "1,5": money.ErrDecimals,
		"100000000": money.ErrTooLarge,
	} {
		if got, err := money.Parse(text); !errors.Is(err, want) {
			t.Errorf("Parse(%q) = %d, %v; want %v", text, got, err, want)
		}
	}
}

func TestAmountsAreShownAsTheCallersKnowThem(t *testing.T) {
	for cents, want := range map[money.Cents][2]string{
		1230: {"12.3", "12.30"}, 1200: {"12", "12.00"}, 5: {"0.05", "0.05"}, -501: {"-5.01", "-5.01"},
		money.Max: {"99999999.99", "99999999.99"},
	} {
		number, err := json.Marshal(cents)
		if err != nil || string(number) != want[0] || cents.String() != want[1] {
			t.Errorf("%d is shown as %s and %s, want %v (%v)", cents, number, cents, want, err)
		}
	}
}
